//! Makes connections: name look-up, TCP, TLS, and HTTP/2 up to the server's first
//! word, all within one time limit. Until then nothing was asked of the server.

use super::address::Address;
use super::connection::{Connection, Driver};
use super::look_up::look_up;
use super::socket::{Flow, Socket};
use super::tls::Tls;
use super::token::Token;
use super::wire::{is_tls, Line, Wire};
use crate::backend::etcd::io::Io;
use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::sync::Lock;
use crate::sys;
use bytes::Bytes;
use socket2::TcpKeepalive;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Large answers must not wait for windows.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
const HEADERS_MOST: u32 = 64 << 10;

pub struct Dialer {
    pub url: Url,
    tls: Option<Tls>,
    keepalive: Duration,
    driver: Driver,
    token: Option<Arc<Token>>,
    io: Weak<Io>,
    looking_up: Arc<AtomicBool>,
}

impl Dialer {
    /// Checks everything that can be checked without the network.
    pub fn new(
        url: Url,
        options: &Options,
        driver: Driver,
        token: Option<Arc<Token>>,
        io: Weak<Io>,
    ) -> Result<Self> {
        let tls = if url.tls { Some(Tls::new(&url, options)?) } else { None };
        let keepalive = options.keepalive;
        Ok(Self { url, tls, keepalive, driver, token, io, looking_up: Arc::default() })
    }

    pub async fn dial(&self) -> Result<Arc<Connection>> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        match timeout_at(deadline.into(), self.connect(deadline)).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::Unavailable("not connected in time".into())),
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<Arc<Connection>> {
        let addresses = self.addresses().await?;
        let tcp = reach(&addresses, deadline, self.probes()).await.map_err(unavailable)?;
        let flow = Arc::new(Flow::new(tcp));
        let ready = sys::watch(&flow.tcp).map_err(unavailable)?;
        let socket = Socket(flow.clone());
        let line = match &self.tls {
            None => Line::Plain(socket),
            Some(tls) => {
                let connector = tokio_rustls::TlsConnector::from(tls.config()?);
                let mut handshake = pin!(connector.connect(tls.server_name.clone(), socket));
                let shaken = drive(&ready, &flow, |cx| handshake.as_mut().poll(cx)).await;
                Line::Tls(Box::new(shaken.and_then(|shaken| shaken).map_err(|e| {
                    if is_tls(&e) {
                        Error::Tls(e.to_string())
                    } else {
                        unavailable(e)
                    }
                })?))
            }
        };
        let tls_error = Arc::new(Mutex::default());
        self.greet(Wire::new(line, flow.clone(), tls_error.clone()), ready, flow).await.map_err(
            |why| match tls_error.hold().take() {
                Some(why) => Error::Tls(why),
                None => Error::Unavailable(why),
            },
        )
    }

    /// HTTP/2's own beginning. The server's settings show that it is alive and
    /// speaks HTTP/2; no request is risked before.
    async fn greet(
        &self,
        wire: Wire,
        ready: Ready,
        flow: Arc<Flow>,
    ) -> std::result::Result<Arc<Connection>, String> {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADERS_MOST)
            .enable_push(false)
            .initial_max_send_streams(0); // until the settings say otherwise
        let mut handshake = pin!(builder.handshake::<_, Bytes>(wire));
        let shaken = drive(&ready, &flow, |cx| handshake.as_mut().poll(cx)).await;
        let (requests, mut http2) =
            shaken.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let greeted = drive(&ready, &flow, |cx| match pin!(&mut http2).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err("closed by the server".to_owned())),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e.to_string())),
            Poll::Pending if requests.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        });
        greeted.await.map_err(|e| e.to_string())??;
        drop(ready);
        let to = Address::new(&self.url, self.token.clone());
        let (keepalive, driver, io) = (self.keepalive, self.driver, self.io.clone());
        Ok(Connection::start(to, flow, http2, requests, keepalive, driver, io))
    }

    /// The kernel's own, which find a host that is gone while nothing is asked of it:
    /// etcd allows no pings of HTTP/2 then.
    fn probes(&self) -> TcpKeepalive {
        let every = Duration::from_secs(1);
        TcpKeepalive::new().with_time(self.keepalive).with_interval(every).with_retries(3)
    }

    /// Asked at each connect: a name may have moved.
    async fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let (host, port) = (self.url.host.trim_matches(['[', ']']), self.url.port);
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        // A look-up may hang for long; more of them would not help.
        if self.looking_up.swap(true, Ordering::Acquire) {
            return Err(Error::Unavailable("the name look-up does not end".into()));
        }
        let looking_up = LookingUp(self.looking_up.clone());
        let host = host.to_owned();
        look_up(move || {
            let found = (host.as_str(), port).to_socket_addrs();
            drop(looking_up);
            let found = found.map_err(|e| Error::Unavailable(format!("name look-up: {e}")))?;
            Ok(found.collect())
        })
        .await
    }
}

struct LookingUp(Arc<AtomicBool>);

impl Drop for LookingUp {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn unavailable(error: io::Error) -> Error {
    Error::Unavailable(error.to_string())
}

/// A connection to the first address that takes one; each gets its share of the time.
async fn reach(
    addresses: &[SocketAddr],
    deadline: Instant,
    keepalive: TcpKeepalive,
) -> io::Result<std::net::TcpStream> {
    let mut failure = io::Error::other("the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / (addresses.len() - at) as u32;
        match timeout_at(until.into(), TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                tcp.set_nodelay(true)?;
                let tcp = tcp.into_std()?;
                socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
                return Ok(tcp);
            }
            Ok(Err(e)) => failure = io::Error::new(e.kind(), format!("{address}: {e}")),
            Err(_) => failure = io::Error::other(format!("{address}: no answer")),
        }
    }
    Err(failure)
}

/// A socket that the runtime watches.
pub type Ready = AsyncFd<Arc<std::net::TcpStream>>;

/// Polls until there is a result, whenever the socket has news.
async fn drive<T>(
    ready: &Ready,
    flow: &Flow,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> io::Result<T> {
    loop {
        if let Poll::Ready(result) = poll(&mut Context::from_waker(Waker::noop())) {
            return Ok(result);
        }
        news(ready, flow).await?;
    }
}

/// Waits until the socket can be read, or written where that had to stop.
pub async fn news(ready: &Ready, flow: &Flow) -> io::Result<()> {
    let interest = match flow.is_write_blocked() {
        true => Interest::READABLE | Interest::WRITABLE,
        false => Interest::READABLE,
    };
    let mut guard = ready.ready(interest).await?;
    if guard.ready().is_readable() {
        flow.set_readable();
    }
    guard.clear_ready();
    Ok(())
}
