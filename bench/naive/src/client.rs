//! The obvious design: the etcd-client crate on tokio's multi_thread runtime, and
//! `block_on` from the callers' threads.

use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, ConnectOptions, Error, GetOptions, Txn, TxnOp};
use tokio::runtime::{Builder, Runtime};

pub type Pair = (Vec<u8>, Vec<u8>);

pub struct Client {
    runtime: Runtime,
    etcd: etcd_client::Client,
}

impl Client {
    pub fn open(endpoint: &str) -> Result<Client, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
        let etcd = runtime.block_on(etcd_client::Client::connect([endpoint], Some(options)))?;
        Ok(Client { runtime, etcd })
    }

    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut kv = self.etcd.kv_client();
        let mut answer = self.runtime.block_on(kv.get(key, None))?;
        Ok(answer.take_kvs().pop().map(|pair| pair.into_key_value().1))
    }

    pub fn put(&self, key: &str, value: &str) -> Result<(), Error> {
        let mut kv = self.etcd.kv_client();
        self.runtime.block_on(kv.put(key, value, None))?;
        Ok(())
    }

    pub fn tas(&self, key: &str, test: &str, set: &str) -> Result<bool, Error> {
        let txn = Txn::new()
            .when([Compare::value(key, CompareOp::Equal, test)])
            .and_then([TxnOp::put(key, set, None)]);
        let mut kv = self.etcd.kv_client();
        Ok(self.runtime.block_on(kv.txn(txn))?.succeeded())
    }

    /// From `first` to `last`, both included.
    pub fn range(&self, first: &str, last: &str) -> Result<Vec<Pair>, Error> {
        let options = GetOptions::new().with_range(format!("{last}\0"));
        let mut kv = self.etcd.kv_client();
        let mut answer = self.runtime.block_on(kv.get(first, Some(options)))?;
        Ok(answer.take_kvs().into_iter().map(|pair| pair.into_key_value()).collect())
    }

    /// Registered on return; tells when each put of `key` was heard of.
    pub fn watch(&self, key: &str) -> Result<Receiver<Instant>, Error> {
        let mut etcd = self.etcd.clone();
        let mut stream = self.runtime.block_on(etcd.watch(key, None))?;
        self.runtime.block_on(stream.message())?; // it is registered
        let (heard, hears) = channel();
        self.runtime.spawn(async move {
            while let Ok(Some(answer)) = stream.message().await {
                for _ in answer.events() {
                    let _ = heard.send(Instant::now());
                }
            }
        });
        Ok(hears)
    }
}
