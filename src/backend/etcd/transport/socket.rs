//! A TCP socket that never waits. Whoever drives the connection waits for it, by
//! whatever means that thread has, and says so here.

use crate::sys;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const BUDGET: u64 = 4 << 20;

/// What is known of a socket from outside.
pub struct Flow {
    pub tcp: Arc<TcpStream>,
    born: Instant,
    /// Something is there to be read, as far as anyone has seen.
    readable: AtomicBool,
    /// The present driver may read.
    may_read: AtomicBool,
    /// The last write had to stop.
    write_blocked: AtomicBool,
    /// An answer to a ping waits to be written.
    pong_held: AtomicBool,
    /// What may be read until the driver looks around.
    budget: AtomicU64,
    received_bytes: AtomicU64,
    /// When, in nanoseconds after `born`.
    received_at: AtomicU64,
}

impl Flow {
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            tcp: Arc::new(tcp),
            born: Instant::now(),
            readable: AtomicBool::new(false),
            may_read: AtomicBool::new(true),
            write_blocked: AtomicBool::new(false),
            pong_held: AtomicBool::new(false),
            budget: AtomicU64::new(BUDGET),
            received_bytes: AtomicU64::new(0),
            received_at: AtomicU64::new(0),
        }
    }

    pub fn set_readable(&self) {
        self.readable.store(true, Ordering::Relaxed);
    }

    pub fn is_readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed)
    }

    /// A new driver.
    pub fn set_may_read(&self, may: bool) {
        self.may_read.store(may, Ordering::Relaxed);
        self.budget.store(BUDGET, Ordering::Relaxed);
    }

    pub fn set_pong_held(&self, held: bool) {
        self.pong_held.store(held, Ordering::Relaxed);
    }

    pub fn is_pong_held(&self) -> bool {
        self.pong_held.load(Ordering::Relaxed)
    }

    pub fn is_write_blocked(&self) -> bool {
        self.write_blocked.load(Ordering::Relaxed)
    }

    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub fn received_at(&self) -> Instant {
        self.born + Duration::from_nanos(self.received_at.load(Ordering::Relaxed))
    }

    /// Waits for the socket on the calling thread.
    pub fn wait(&self, time: Duration) {
        let room = if self.is_write_blocked() { libc::POLLOUT } else { 0 };
        if sys::wait_ready(&self.tcp, libc::POLLIN | room, time) {
            self.set_readable();
        }
    }

    /// Waits on the calling thread until more can be written.
    pub fn wait_for_room(&self, time: Duration) {
        sys::wait_ready(&self.tcp, libc::POLLOUT, time);
    }

    fn receive(&self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !(self.may_read.load(Ordering::Relaxed) && self.readable.load(Ordering::Relaxed)) {
            return Poll::Pending;
        }
        let budget = self.budget.load(Ordering::Relaxed);
        if budget == 0 {
            return Poll::Pending; // a peer that never stops must not hold the driver
        }
        let room = buf.remaining();
        loop {
            match sys::receive(&self.tcp, buf) {
                Ok(got) => {
                    // A short read took all there was.
                    if got > 0 && got < room {
                        self.readable.store(false, Ordering::Relaxed);
                    }
                    let left = budget.saturating_sub(got as u64);
                    self.budget.store(left, Ordering::Relaxed);
                    self.received_bytes.fetch_add(got as u64, Ordering::Relaxed);
                    let age = self.born.elapsed().as_nanos() as u64;
                    self.received_at.store(age, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.readable.store(false, Ordering::Relaxed);
                    return Poll::Pending;
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn send(&self, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let sent = socket2::SockRef::from(&*self.tcp)
                .send_vectored_with_flags(bytes, libc::MSG_NOSIGNAL);
            let blocked = matches!(&sent, Err(e) if e.kind() == ErrorKind::WouldBlock);
            self.write_blocked.store(blocked, Ordering::Relaxed);
            match sent {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                _ if blocked => return Poll::Pending,
                sent => return Poll::Ready(sent),
            }
        }
    }
}

/// The end that the protocols write to and read from.
pub struct Socket(pub Arc<Flow>);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.receive(buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.send(&[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.send(bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It may be gone already.
        let _ = self.0.tcp.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
