//! What HTTP/2 is spoken over: a socket or TLS on one. Answers to the server's
//! pings are held back for a moment, to ride on a later write.
//!
//! etcd pings with each request that finds no ping unanswered, to measure the
//! line; answered at once, each costs both sides a packet and a wake-up per call.

use super::socket::{Flow, Socket};
use crate::sync::Lock;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// How long an answer to a ping is held back, at least while there is traffic.
pub const HOLD: Duration = Duration::from_millis(20);

/// Length 8, type PING, flag ACK, stream 0.
const PONG_HEAD: [u8; 9] = [0, 0, 8, 6, 1, 0, 0, 0, 0];
const PONG_LEN: usize = PONG_HEAD.len() + 8;

pub enum Line {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

#[derive(Clone, Copy)]
struct Held {
    pong: [u8; PONG_LEN],
    since: Instant,
    sent: usize,
}

pub struct Wire {
    line: Line,
    held: Option<Held>,
    flow: Arc<Flow>,
    /// The last write ended inside a frame.
    cut: bool,
    /// What TLS had against the peer, which HTTP/2 passes on without its kind.
    tls_error: Arc<Mutex<Option<String>>>,
}

impl Wire {
    pub fn new(line: Line, flow: Arc<Flow>, tls_error: Arc<Mutex<Option<String>>>) -> Self {
        Self { line, held: None, flow, cut: false, tls_error }
    }

    fn set_held(&mut self, held: Option<Held>) {
        self.flow.set_pong_held(held.is_some());
        self.held = held;
    }

    fn note_tls<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            if is_tls(error) {
                *self.tls_error.hold() = Some(error.to_string());
            }
        }
        outcome
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bytes),
            Line::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
        };
        self.note_tls(written)
    }

    /// Whether this write is an answer to a ping and nothing else, and now held.
    fn hold(&mut self, bytes: &[IoSlice<'_>]) -> bool {
        let mut bytes = bytes.iter().filter(|part| !part.is_empty());
        let (Some(pong), None, None) = (bytes.next(), bytes.next(), self.held) else {
            return false;
        };
        match <[u8; PONG_LEN]>::try_from(&pong[..]) {
            Ok(pong) if pong.starts_with(&PONG_HEAD) => {
                self.set_held(Some(Held { pong, since: Instant::now(), sent: 0 }));
                true
            }
            _ => false,
        }
    }

    fn release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(held) = self.held {
            let sent =
                held.sent + ready!(self.write(cx, &[IoSlice::new(&held.pong[held.sent..])]))?;
            self.set_held((sent < PONG_LEN).then_some(Held { sent, ..held }));
        }
        Poll::Ready(Ok(()))
    }
}

pub fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Line::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        self.note_tls(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.held.is_some_and(|held| held.sent > 0) {
            ready!(self.release(cx))?;
        }
        if !self.cut && self.hold(bytes) {
            return Poll::Ready(Ok(PONG_LEN));
        }
        let written = ready!(self.write(cx, bytes))?;
        self.cut = written < bytes.iter().map(|part| part.len()).sum();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Comes when HTTP/2 has written whole frames.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_some_and(|held| held.sent > 0 || held.since.elapsed() >= HOLD) {
            ready!(self.release(cx))?;
        }
        match &mut self.line {
            Line::Plain(_) => Poll::Ready(Ok(())),
            Line::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.line {
            Line::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Line::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
