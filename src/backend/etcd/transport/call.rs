//! One unary gRPC call: a message out, a message back.

use crate::sync::{wait_until, Lock};
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{HeaderMap, StatusCode};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use thiserror::Error;

/// Before each gRPC message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;
/// Larger answers hand their share of the windows back at once.
const SMALL: usize = 16 << 10;
/// etcd sends no larger message, whatever its settings are.
const MOST: usize = i32::MAX as usize;

/// Why there is no answer, by what the server can have seen.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CallError {
    /// The server has not acted on it and will not.
    #[error("{0}")]
    NotSeen(String),
    /// The server's own words.
    #[error("{0}")]
    Refused(String),
    /// Lost on the way, there or back.
    #[error("{0}")]
    Broken(String),
}

impl CallError {
    pub fn of(error: &h2::Error) -> Self {
        let refused = error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away();
        if error.is_remote() && refused {
            // HTTP/2 gives a GOAWAY to those streams only that it says were not seen.
            Self::NotSeen(error.to_string())
        } else {
            Self::Broken(error.to_string())
        }
    }
}

pub type Outcome = Result<Bytes, CallError>;

/// What to do with the outcome: keep it for a thread that waits, or pass it on.
pub enum Done {
    Keep,
    Tell(Box<dyn FnOnce(Outcome) + Send>),
}

pub struct Call {
    pub number: u64,
    stream: Mutex<Stream>,
    /// On the list of calls that have news.
    listed: AtomicBool,
    news: Arc<News>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

/// The calls of a connection that have news.
#[derive(Default)]
pub struct News(Mutex<Vec<Arc<Call>>>);

impl News {
    pub fn take(&self) -> Vec<Arc<Call>> {
        std::mem::take(&mut self.0.hold())
    }
}

enum Stream {
    Head(ResponseFuture),
    Body { stream: RecvStream, got: Collected },
    Over,
}

struct Progress {
    done: Option<Done>,
    outcome: Option<Outcome>,
    /// A thread sleeps on it.
    waiting: bool,
    /// That thread is to look around.
    poked: bool,
}

/// What a call asks of the driver.
#[derive(PartialEq, Eq)]
pub enum Step {
    Waits,
    /// HTTP/2 has something to write: windows that were given back.
    Flush,
    Over,
}

impl Call {
    pub fn new(number: u64, response: ResponseFuture, news: Arc<News>, done: Done) -> Arc<Self> {
        Arc::new(Self {
            number,
            stream: Mutex::new(Stream::Head(response)),
            listed: AtomicBool::new(false),
            news,
            progress: Mutex::new(Progress {
                done: Some(done),
                outcome: None,
                waiting: false,
                poked: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Takes what has arrived.
    pub fn proceed(self: &Arc<Self>) -> (Step, Option<Outcome>) {
        self.listed.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.clone());
        let mut stream = self.stream.hold();
        match stream.poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                let flush = matches!(&*stream, Stream::Body { got, .. } if got.len() > 0);
                (if flush { Step::Flush } else { Step::Waits }, None)
            }
            Poll::Ready(outcome) => {
                *stream = Stream::Over;
                let large = matches!(&outcome, Ok(message) if message.len() > SMALL);
                (if large { Step::Flush } else { Step::Over }, Some(outcome))
            }
        }
    }

    /// The first outcome counts.
    pub fn finish(&self, outcome: Outcome) {
        let mut progress = self.progress.hold();
        match progress.done.take() {
            None => {}
            Some(Done::Keep) => {
                progress.outcome = Some(outcome);
                self.wake_waiting(&progress);
            }
            Some(Done::Tell(tell)) => {
                drop(progress);
                tell(outcome);
                // One may wait here for what is told there.
                self.wake_waiting(&self.progress.hold());
            }
        }
    }

    fn wake_waiting(&self, progress: &Progress) {
        // Telling nobody would be a system call too.
        if progress.waiting {
            self.changed.notify_one();
        }
    }

    /// Lets go of it; the server is told that nobody waits. False where it was over:
    /// its outcome was told or kept.
    pub fn abandon(&self) -> bool {
        let abandoned = {
            let mut progress = self.progress.hold();
            self.wake_waiting(&progress);
            progress.done.take().is_some()
        };
        let stream = std::mem::replace(&mut *self.stream.hold(), Stream::Over);
        drop(stream);
        abandoned
    }

    pub fn is_over(&self) -> bool {
        self.progress.hold().done.is_none()
    }

    pub fn take(&self) -> Option<Outcome> {
        self.progress.hold().outcome.take()
    }

    /// Makes the waiting thread look around.
    pub fn poke(&self) {
        let mut progress = self.progress.hold();
        progress.poked = true;
        self.wake_waiting(&progress);
    }

    /// Waits for the outcome, a poke or the time.
    pub fn wait(&self, until: Instant) {
        let mut progress = self.progress.hold();
        progress.waiting = true;
        while progress.done.is_some() && !progress.poked {
            let (next, in_time) = wait_until(&self.changed, progress, Some(until));
            progress = next;
            if !in_time {
                break;
            }
        }
        progress.waiting = false;
        progress.poked = false;
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        if !self.listed.swap(true, Ordering::SeqCst) {
            self.news.clone().0.hold().push(self);
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match self {
                Self::Over => return Poll::Pending,
                Self::Head(response) => {
                    let Poll::Ready(response) = Pin::new(response).poll(cx) else {
                        return Poll::Pending;
                    };
                    let (head, stream) = match response {
                        Ok(response) => response.into_parts(),
                        Err(e) => return Poll::Ready(Err(CallError::of(&e))),
                    };
                    if head.status != StatusCode::OK {
                        let why = format!("HTTP status {}", head.status);
                        return Poll::Ready(Err(CallError::Broken(why)));
                    }
                    // An answer without a message has its status here.
                    if let Some(Err(refused)) = status(&head.headers) {
                        return Poll::Ready(Err(refused));
                    }
                    *self = Self::Body { stream, got: Collected::default() };
                }
                Self::Body { stream, got } => {
                    while let Poll::Ready(data) = stream.poll_data(cx) {
                        let taken = match data {
                            Some(Ok(data)) => {
                                let _ = stream.flow_control().release_capacity(data.len());
                                got.push(data)
                            }
                            Some(Err(e)) => Err(CallError::of(&e)),
                            None => return Self::end(stream, got, cx),
                        };
                        if let Err(e) = taken {
                            return Poll::Ready(Err(e));
                        }
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn end(stream: &mut RecvStream, got: &mut Collected, cx: &mut Context<'_>) -> Poll<Outcome> {
        let trailers = match stream.poll_trailers(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(CallError::of(&e))),
        };
        let status = trailers.as_ref().and_then(status);
        Poll::Ready(match status {
            Some(Ok(())) => message(std::mem::take(got).into()),
            Some(Err(refused)) => Err(refused),
            None => Err(CallError::Broken("an answer without a status".into())),
        })
    }
}

/// The gRPC status in these headers, if it is there.
fn status(headers: &HeaderMap) -> Option<Result<(), CallError>> {
    let code = headers.get("grpc-status")?;
    if code == "0" {
        return Some(Ok(()));
    }
    let text = headers.get("grpc-message").map_or(&b""[..], |text| text.as_bytes());
    let text = match percent_decoded(text) {
        text if text.is_empty() => format!("gRPC status {}", code.as_bytes().escape_ascii()),
        text => text,
    };
    Some(Err(CallError::Refused(text)))
}

fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                at += 3;
            }
            None => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The one message of an answer, without its prefix.
fn message(mut body: Bytes) -> Outcome {
    let broken = |why: &str| Err(CallError::Broken(why.into()));
    let Some(&[compressed, a, b, c, d]) = body.first_chunk() else {
        return broken("an answer without a message");
    };
    if compressed != 0 {
        return broken("a compressed answer, which nobody asked for");
    }
    if u32::from_be_bytes([a, b, c, d]) as usize != body.len() - PREFIX {
        return broken("an answer of another length than it says");
    }
    Ok(body.split_off(PREFIX))
}

/// An answer's bytes; those of a small one are never copied.
#[derive(Default)]
enum Collected {
    #[default]
    Nothing,
    One(Bytes),
    Many(Vec<u8>),
}

impl Collected {
    fn len(&self) -> usize {
        self.bytes().len()
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes,
        }
    }

    /// Takes what belongs to one message.
    fn push(&mut self, data: Bytes) -> Result<(), CallError> {
        self.append(data)?;
        match announced(self.bytes()) {
            Some(length) if length > MOST => {
                Err(CallError::Broken("an answer that is too large".into()))
            }
            Some(length) if self.len() > length => {
                Err(CallError::Broken("an answer of another length than it says".into()))
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, data: Bytes) -> Result<(), CallError> {
        let mut all = match std::mem::take(self) {
            Self::Nothing => {
                *self = Self::One(data);
                return Ok(());
            }
            Self::Many(all) => all,
            Self::One(first) => {
                let mut all = Vec::new();
                let expected = announced(&first).unwrap_or_default();
                reserve(&mut all, expected.min(BELIEVED))?;
                reserve(&mut all, first.len())?;
                all.extend_from_slice(&first);
                all
            }
        };
        reserve(&mut all, data.len())?;
        all.extend_from_slice(&data);
        *self = Self::Many(all);
        Ok(())
    }
}

/// What room is made for before it came.
const BELIEVED: usize = 64 << 20;

/// The length that the prefix gives, its own included.
fn announced(first: &[u8]) -> Option<usize> {
    let &[_, a, b, c, d] = first.first_chunk()?;
    Some(PREFIX + u32::from_be_bytes([a, b, c, d]) as usize)
}

fn reserve(all: &mut Vec<u8>, more: usize) -> Result<(), CallError> {
    all.try_reserve(more).map_err(|_| CallError::Broken("no memory for the answer".into()))
}

impl From<Collected> for Bytes {
    fn from(got: Collected) -> Self {
        match got {
            Collected::Nothing => Self::new(),
            Collected::One(bytes) => bytes,
            Collected::Many(bytes) => bytes.into(),
        }
    }
}

/// For tests: an answer that comes in these pieces.
#[cfg(any(test, feature = "fuzzing"))]
pub fn answer<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut got = Collected::default();
    for part in parts {
        got.push(Bytes::copy_from_slice(part))?;
    }
    message(got.into())
}

/// For tests: a refusal with this text in its header.
#[cfg(any(test, feature = "fuzzing"))]
pub fn refused(text: &[u8]) -> Outcome {
    Err(CallError::Refused(percent_decoded(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(parts: &[&[u8]]) -> Outcome {
        super::answer(parts.iter().copied())
    }

    #[test]
    fn a_message_may_come_in_pieces() {
        assert_eq!(answer(&[b"\0\0\0\0\x03abc"]), Ok(Bytes::from_static(b"abc")));
        assert_eq!(answer(&[b"\0\0\0", b"\0\x03a", b"bc"]), Ok(Bytes::from_static(b"abc")));
        assert_eq!(answer(&[b"\0\0\0\0\0"]), Ok(Bytes::new()));
    }

    #[test]
    fn a_hostile_message_is_refused() {
        for parts in [
            &[&b""[..]][..],
            &[b"\0\0\0"],
            &[b"\x01\0\0\0\x03abc"],
            &[b"\0\0\0\0\x04abc"],
            &[b"\0\0\0\0\x02abc"],
            &[b"\0\xff\xff\xff\xff", b"abc"],
        ] {
            assert!(matches!(answer(parts), Err(CallError::Broken(_))), "{parts:?}");
        }
    }

    #[test]
    fn status_texts_are_decoded() {
        assert_eq!(percent_decoded(b"a%20b%zz%4"), "a b%zz%4");
        assert_eq!(percent_decoded(b"%C3%A9%ff"), "\u{e9}\u{fffd}");
        let mut headers = HeaderMap::new();
        assert!(status(&headers).is_none());
        headers.insert("grpc-status", http::HeaderValue::from_static("5"));
        assert_eq!(status(&headers), Some(Err(CallError::Refused("gRPC status 5".into()))));
    }
}
