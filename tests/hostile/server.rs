//! A server that plays etcd well, until it is told not to: it can lie in its answers,
//! or leave new connections to a script that writes what it likes.

use crate::frames::Peer;
use crate::world::{bytes, fields, is_in, number, World, KEEP_ALIVE, WATCH};
use ::bytes::{Buf, Bytes, BytesMut};
use etcd_client::proto::{PbEvent, PbWatchResponse};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use prost::Message;
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Its threads' name: what they use is not the library's.
pub const THREAD: &str = "server";

/// What takes the place of a good answer.
pub enum Reply {
    Message(Vec<u8>),
    /// These bytes, and these trailers.
    Raw(Vec<u8>, &'static [(&'static str, &'static str)]),
    /// This HTTP status, with these headers and nothing else.
    Head(u16, &'static [(&'static str, &'static str)]),
    Reset(Reason),
    /// Nothing, here and later on this stream, but pings are answered.
    Nothing,
}

type Lie = Arc<dyn Fn(Vec<u8>) -> Reply + Send + Sync>;
pub type Script = Arc<dyn Fn(&mut Peer) -> io::Result<()> + Send + Sync>;

pub struct Server {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<()>,
    conduct: Mutex<Conduct>,
    connections: Mutex<Vec<TcpStream>>,
    streams: AtomicUsize,
    asked: Arc<AtomicUsize>,
    over: AtomicBool,
}

#[derive(Default)]
struct Conduct {
    lies: HashMap<&'static str, Lie>,
    script: Option<Script>,
    says_goodbye: bool,
    greets_after: Duration,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            world: Mutex::default(),
            changed: watch::channel(()).0,
            conduct: Mutex::default(),
            connections: Mutex::default(),
            streams: AtomicUsize::new(0),
            asked: Arc::default(),
            over: AtomicBool::new(false),
        });
        let (send, receive) = std::sync::mpsc::channel();
        let serving = shared.clone();
        spawn(move || {
            let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
            send.send(runtime.handle().clone()).expect("the handle is wanted");
            let mut news = serving.changed.subscribe();
            runtime.block_on(async {
                while !serving.over.load(Ordering::SeqCst) {
                    news.changed().await.expect("it changes");
                }
            });
        });
        let runtime = receive.recv().expect("a runtime");
        let accepting = shared.clone();
        spawn(move || accepting.accept(&listener, &runtime));
        Self { endpoint, shared }
    }

    /// Answers of this method are lies from now on.
    pub fn reply(
        &self,
        method: &'static str,
        lie: impl Fn(Vec<u8>) -> Reply + Send + Sync + 'static,
    ) {
        self.shared.conduct.lock().unwrap().lies.insert(method, Arc::new(lie));
    }

    /// The same, by a change of the good answer.
    pub fn lie<M: Message + Default>(
        &self,
        method: &'static str,
        change: impl Fn(&mut M) + Send + Sync + 'static,
    ) {
        self.reply(method, move |good| {
            let mut answer = M::decode(&good[..]).expect("its own answer");
            change(&mut answer);
            Reply::Message(answer.encode_to_vec())
        });
    }

    /// The connections there are end; new ones are the script's.
    pub fn perform(&self, script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) {
        self.shared.conduct.lock().unwrap().script = Some(Arc::new(script));
        self.cut();
    }

    /// A GOAWAY comes with each answer.
    pub fn say_goodbye(&self) {
        self.shared.conduct.lock().unwrap().says_goodbye = true;
    }

    /// New connections are served so much later.
    pub fn greet_after(&self, time: Duration) {
        self.shared.conduct.lock().unwrap().greets_after = time;
    }

    /// It is good again. Connections that a script has end.
    pub fn behave(&self) {
        let former = std::mem::take(&mut *self.shared.conduct.lock().unwrap());
        if former.script.is_some() {
            self.cut();
        }
    }

    pub fn has_script(&self) -> bool {
        self.shared.conduct.lock().unwrap().script.is_some()
    }

    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub fn revision(&self) -> i64 {
        self.shared.world.lock().unwrap().revision
    }

    /// Whole requests that scripts have seen.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Connections that were made since the last cut.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Streams that were opened on good connections.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        self.cut();
        self.shared.changed.send_replace(());
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name(THREAD.into()).spawn(run).expect("a thread");
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener, runtime: &Handle) {
        for connection in listener.incoming() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let connection = connection.expect("a connection");
            let held = connection.try_clone().expect("another descriptor");
            let (script, after) = {
                let conduct = self.conduct.lock().unwrap();
                self.connections.lock().unwrap().push(held);
                (conduct.script.clone(), conduct.greets_after)
            };
            let asked = self.asked.clone();
            match script {
                Some(script) => spawn(move || {
                    let mut peer = Peer::new(connection, asked);
                    let _ = script(&mut peer);
                    peer.close();
                }),
                None => {
                    connection.set_nonblocking(true).expect("non-blocking");
                    connection.set_nodelay(true).expect("no delay");
                    let (shared, runtime) = (self.clone(), runtime.clone());
                    let serve = move || {
                        std::thread::sleep(after);
                        drop(runtime.spawn(async move {
                            let _ = shared.serve(connection).await;
                        }));
                    };
                    match after.is_zero() {
                        true => serve(),
                        false => spawn(serve),
                    }
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, connection: TcpStream) -> Result<(), h2::Error> {
        let io = tokio::net::TcpStream::from_std(connection).expect("a socket");
        let mut connection = h2::server::handshake(io).await?;
        while let Some(accepted) = connection.accept().await {
            let (request, respond) = accepted?;
            self.streams.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(self.clone().handle(request, respond));
            if self.conduct.lock().unwrap().says_goodbye {
                connection.graceful_shutdown();
            }
        }
        Ok(())
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Option<()> {
        let method = request.uri().path().to_owned();
        let mut asked = Messages { body: request.into_body(), bytes: BytesMut::new() };
        if method == WATCH || method == KEEP_ALIVE {
            let mut stream = respond.send_response(head(200, &[]), false).ok()?;
            return match method == WATCH {
                true => self.watch(&mut asked, &mut stream).await,
                false => loop {
                    let message = asked.next().await?;
                    let good = self.world.lock().unwrap().answer(KEEP_ALIVE, &message);
                    self.send(KEEP_ALIVE, good, &mut stream).await?;
                },
            };
        }
        let message = asked.next().await?;
        let good = self.world.lock().unwrap().answer(&method, &message);
        self.changed.send_replace(());
        let (data, end) = match self.reply(&method, good) {
            Reply::Message(message) => (framed(&message), &[("grpc-status", "0")][..]),
            Reply::Raw(data, end) => (data, end),
            Reply::Head(status, headers) => {
                respond.send_response(head(status, headers), true).ok()?;
                return None;
            }
            Reply::Reset(reason) => {
                respond.send_reset(reason);
                return None;
            }
            Reply::Nothing => std::future::pending().await,
        };
        let mut stream = respond.send_response(head(200, &[]), false).ok()?;
        stream.send_data(data.into(), false).ok()?;
        stream.send_trailers(headers(end)).ok()
    }

    fn reply(&self, method: &str, good: Vec<u8>) -> Reply {
        let lie = self.conduct.lock().unwrap().lies.get(method).cloned();
        lie.map_or_else(|| Reply::Message(good.clone()), |lie| lie(good.clone()))
    }

    /// A message on a stream; none when that is over.
    async fn send(
        &self,
        method: &str,
        good: Vec<u8>,
        stream: &mut SendStream<Bytes>,
    ) -> Option<()> {
        match self.reply(method, good) {
            Reply::Message(message) => stream.send_data(framed(&message).into(), false).ok(),
            Reply::Raw(data, end) => {
                stream.send_data(data.into(), false).ok()?;
                if end.is_empty() {
                    return Some(());
                }
                let _ = stream.send_trailers(headers(end));
                None
            }
            Reply::Nothing => std::future::pending().await,
            Reply::Head(..) | Reply::Reset(_) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                None
            }
        }
    }

    async fn watch(&self, asked: &mut Messages, stream: &mut SendStream<Bytes>) -> Option<()> {
        let mut news = self.changed.subscribe();
        let mut watches: Vec<Watch> = Vec::new();
        loop {
            tokio::select! {
                message = asked.next() => {
                    let message = fields(&message?);
                    if let Some(create) = bytes(&message, 1) {
                        let watch = Watch::new(&fields(&create), &self.world.lock().unwrap());
                        self.send(WATCH, watch.answer(self, true, Vec::new()), stream).await?;
                        watches.push(watch);
                    }
                    if let Some(cancel) = bytes(&message, 2) {
                        let id = number(&fields(&cancel), 1);
                        watches.retain(|watch| watch.id != id);
                    }
                }
                changed = news.changed() => changed.ok()?,
            }
            for watch in &mut watches {
                let (events, next) = {
                    let world = self.world.lock().unwrap();
                    (watch.events(&world), world.revision + 1)
                };
                if !events.is_empty() {
                    self.send(WATCH, watch.answer(self, false, events), stream).await?;
                }
                watch.next = watch.next.max(next);
            }
        }
    }
}

struct Watch {
    id: i64,
    key: Vec<u8>,
    end: Vec<u8>,
    next: i64,
}

impl Watch {
    fn new(create: &[(u64, crate::world::Field)], world: &World) -> Self {
        let start = number(create, 3);
        Self {
            id: number(create, 7),
            key: bytes(create, 1).unwrap_or_default(),
            end: bytes(create, 2).unwrap_or_default(),
            next: if start > 0 { start } else { world.revision + 1 },
        }
    }

    fn events(&self, world: &World) -> Vec<PbEvent> {
        let wanted = world.events.iter().filter(|event| {
            let kv = event.kv.as_ref().expect("its key");
            kv.mod_revision >= self.next && is_in(&kv.key, &self.key, &self.end)
        });
        wanted.cloned().collect()
    }

    fn answer(&self, shared: &Shared, created: bool, events: Vec<PbEvent>) -> Vec<u8> {
        let header = shared.world.lock().unwrap().header();
        PbWatchResponse { header, watch_id: self.id, created, events, ..Default::default() }
            .encode_to_vec()
    }
}

/// The messages of a stream.
struct Messages {
    body: RecvStream,
    bytes: BytesMut,
}

impl Messages {
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(&[_, a, b, c, d]) = self.bytes.first_chunk() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.bytes.len() >= 5 + length {
                    self.bytes.advance(5);
                    return Some(self.bytes.split_to(length).to_vec());
                }
            }
            let data = self.body.data().await?.ok()?;
            let _ = self.body.flow_control().release_capacity(data.len());
            self.bytes.extend_from_slice(&data);
        }
    }
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn head(status: u16, its: &'static [(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    *response.headers_mut() = headers(its);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn headers(all: &'static [(&'static str, &'static str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    all.iter().map(header).collect()
}
