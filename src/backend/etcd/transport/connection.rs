//! A connection to one endpoint, and who drives it.
//!
//! HTTP/2 sits in a seat. Whoever has something to send takes the seat, writes and
//! gets up. Of the threads that wait for answers one leads: it alone waits for the
//! socket, reads, and hands all answers out; when its own is there it makes another
//! one leader. Where no thread waits, the caretaker on the I/O thread reads; it
//! also sends pings and ends a connection that does not answer them.
//!
//! A connection for streams and leases is driven by the caretaker alone.

mod caretaker;

use super::address::Address;
use super::answers::Answers;
use super::call::{Call, CallError, Done, News, Outcome, Step};
use super::liveness::Liveness;
use super::socket::Flow;
use super::wire::Wire;
use crate::backend::etcd::io::Io;
use crate::sync::Lock;
use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::SendRequest;
use once_cell::sync::OnceCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::Shutdown;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{fence, AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often one that waits looks around, and how long a leader may be unheard of
/// before another one takes over: a signal handler may run on its thread.
const LOOK_AROUND: Duration = Duration::from_millis(50);
const LEADER_MISSING: Duration = Duration::from_millis(200);

/// Between two tries to get the seat.
const SEAT_TAKEN: Duration = Duration::from_micros(100);

type Http2 = h2::client::Connection<Wire, Bytes>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Callers,
    Caretaker,
}

pub struct Connection {
    /// Empty once the connection has ended.
    seat: Mutex<Option<Http2>>,
    /// Whoever sits has to go on: something was added meanwhile.
    due: AtomicBool,
    flow: Arc<Flow>,
    requests: SendRequest<Bytes>,
    to: Address,
    news: Arc<News>,
    board: Mutex<Board>,
    calls_made: AtomicU64,
    answers: Answers,
    wakeup: Arc<Wakeup>,
    io: Weak<Io>,
    waker: Waker,
    driver: Driver,
    /// The caretaker expects no calls; the next one has to tell it.
    resting: AtomicBool,
    ended: OnceCell<String>,
    retired: AtomicBool,
    /// Streams that are open beside the calls.
    streams: AtomicUsize,
    gone: Arc<Notify>,
}

/// Who waits for what.
#[derive(Default)]
struct Board {
    calls: BTreeMap<u64, Arc<Call>>,
    /// Threads that wait while another one leads.
    followers: BTreeMap<u64, Arc<Call>>,
    leader: Option<Leader>,
    /// No further calls are taken.
    closed: bool,
}

struct Leader {
    call: u64,
    heard_of: Instant,
}

/// Tells of work that HTTP/2 found for itself.
struct Wakeup {
    raised: AtomicBool,
    caretaker: Notify,
    driver: Driver,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Relaxed);
        if self.driver == Driver::Caretaker {
            self.caretaker.notify_one();
        }
    }
}

impl Connection {
    /// On the I/O thread.
    pub fn start(
        to: Address,
        flow: Arc<Flow>,
        http2: Http2,
        requests: SendRequest<Bytes>,
        keepalive: Duration,
        driver: Driver,
        io: Weak<Io>,
    ) -> Arc<Self> {
        let wakeup =
            Arc::new(Wakeup { raised: AtomicBool::new(false), caretaker: Notify::new(), driver });
        let mut http2 = http2;
        let pings = http2.ping_pong();
        let connection = Arc::new(Self {
            seat: Mutex::new(Some(http2)),
            due: AtomicBool::new(false),
            flow,
            requests,
            to,
            news: Arc::default(),
            board: Mutex::default(),
            calls_made: AtomicU64::new(0),
            answers: Answers::none_yet(),
            waker: Waker::from(wakeup.clone()),
            wakeup,
            io,
            driver,
            resting: AtomicBool::new(false),
            ended: OnceCell::new(),
            retired: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            gone: Arc::default(),
        });
        let liveness = Liveness::new(pings, keepalive);
        let cared_for = connection.clone();
        tokio::spawn(async move {
            let gone = cared_for.gone.clone();
            let care = AssertUnwindSafe(cared_for.clone().take_care(liveness));
            if care.catch_unwind().await.is_err() {
                // Nobody would read answers or look whether the other end is alive.
                cared_for.kill("taking care of it failed");
            }
            gone.notify_one();
        });
        connection
    }

    /// Waits until it has ended, for one who asks.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let gone = self.gone.clone();
        async move { gone.notified().await }
    }

    /// Whether a call may be tried on it.
    pub fn is_usable(&self) -> bool {
        self.ended.get().is_none() && !self.retired.load(Ordering::Relaxed)
    }

    // --- Calls ---------------------------------------------------------------

    /// Sends a message, with its prefix, to a method. Whoever does not wait for the
    /// outcome rouses the caretaker.
    pub fn begin(
        &self,
        method: &'static str,
        leader: bool,
        message: Bytes,
        done: Done,
    ) -> Result<Arc<Call>, CallError> {
        let not_seen = |e: h2::Error| CallError::NotSeen(e.to_string());
        let request = self.to.request(method, leader);
        let sent = self.requests.clone().send_request(request, false);
        let (response, mut body) = sent.map_err(not_seen)?;
        body.send_data(message, true).map_err(not_seen)?;
        let number = self.calls_made.fetch_add(1, Ordering::Relaxed);
        let call = Call::new(number, response, self.news.clone(), done);
        {
            let mut board = self.board.hold();
            if board.closed {
                return Err(CallError::Broken("the connection was closed".into()));
            }
            board.calls.insert(number, call.clone());
        }
        self.proceed(&call);
        self.write();
        if self.resting.load(Ordering::SeqCst) {
            self.rouse();
        }
        Ok(call)
    }

    /// Waits for the outcome of a call that keeps it; drives meanwhile.
    pub fn wait(&self, call: &Arc<Call>, until: impl Fn() -> Instant) -> Option<Outcome> {
        while !call.is_over() {
            let (now, until) = (Instant::now(), until());
            if now >= until {
                break;
            }
            if self.take_lead(call) {
                self.lead(call, until);
                self.pass_lead(call);
            } else if self.flow.is_write_blocked() {
                // The leader waits for answers; who has more to write waits for room.
                self.flow.wait_for_room(until.min(now + LOOK_AROUND) - now);
                self.write();
            } else {
                call.wait(until.min(now + 2 * LOOK_AROUND));
            }
        }
        self.leave(call);
        call.take()
    }

    /// When its calls were answered.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Nobody waits for it any more. False where it was over.
    pub fn abandon(&self, call: &Call) -> bool {
        self.leave(call);
        let abandoned = call.abandon();
        self.write();
        abandoned
    }

    fn leave(&self, call: &Call) {
        let mut board = self.board.hold();
        board.calls.remove(&call.number);
        board.followers.remove(&call.number);
        let leads = board.leads(call.number);
        let idle = board.calls.is_empty();
        drop(board);
        if leads {
            self.pass_lead(call);
        }
        self.end_if_retired(idle);
    }

    fn end_if_retired(&self, idle: bool) {
        if idle && self.retired.load(Ordering::SeqCst) {
            self.rouse();
        }
    }

    /// Ends all calls; those on their way may have been seen.
    pub fn abort(&self) {
        let calls = std::mem::take(&mut self.board.hold().calls);
        for call in calls.into_values() {
            call.finish(Err(CallError::Broken("the store was closed".into())));
            call.abandon();
        }
        self.write();
    }

    /// Ends when the last call has its answer.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.rouse();
    }

    // --- Leading -------------------------------------------------------------

    /// Makes this call's thread the leader, or else a follower.
    fn take_lead(&self, call: &Arc<Call>) -> bool {
        let mut board = self.board.hold();
        let vacant = match &board.leader {
            None => true,
            Some(leader) => leader.call == call.number || leader.is_missing(),
        };
        if vacant {
            board.leader = Some(Leader { call: call.number, heard_of: Instant::now() });
            board.followers.remove(&call.number);
        } else if !call.is_over() {
            board.followers.insert(call.number, call.clone());
        }
        vacant
    }

    /// Reads until the call is over, the time is over, or another one leads.
    fn lead(&self, call: &Call, until: Instant) {
        // Who read before may have taken this answer, and is through when the seat
        // is free.
        drop(self.sit(until));
        self.write_if_due();
        loop {
            let now = Instant::now();
            if call.is_over() || now >= until {
                return;
            }
            if let Some(why) = self.ended.get() {
                return call.finish(Err(CallError::Broken(why.clone())));
            }
            self.flow.wait(until.min(now + LOOK_AROUND) - now);
            let Some(seat) = self.sit(until) else { return };
            if !self.still_leads(call) {
                drop(seat);
                return self.write_if_due();
            }
            self.drive(seat, true);
            self.write_if_due();
        }
    }

    fn still_leads(&self, call: &Call) -> bool {
        let mut board = self.board.hold();
        let leader = board.leader.as_mut().filter(|leader| leader.call == call.number);
        leader.map(|leader| leader.heard_of = Instant::now()).is_some()
    }

    /// Takes the seat, which is given up in microseconds; but a signal handler may
    /// run on the thread that has it, for as long as it likes.
    fn sit(&self, until: Instant) -> Option<MutexGuard<'_, Option<Http2>>> {
        for attempt in 0u32.. {
            match self.seat.try_lock() {
                Ok(seat) => return Some(seat),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            match attempt {
                0..100 => std::hint::spin_loop(),
                100..120 => std::thread::yield_now(),
                _ if Instant::now() >= until => break,
                _ => std::thread::sleep(SEAT_TAKEN),
            }
        }
        None
    }

    /// To the follower that came last: it is likely to wait longest.
    fn pass_lead(&self, call: &Call) {
        let mut board = self.board.hold();
        if !board.leads(call.number) {
            return;
        }
        let next = board.followers.pop_last();
        board.leader =
            next.as_ref().map(|(number, _)| Leader { call: *number, heard_of: Instant::now() });
        let left_alone = next.is_none() && !board.calls.is_empty();
        drop(board);
        if let Some((_, next)) = next {
            next.poke();
        }
        if left_alone {
            self.rouse();
        }
    }

    // --- Driving -------------------------------------------------------------

    /// Has what is queued written, by this thread or by the one that drives.
    pub fn write(&self) {
        self.due.store(true, Ordering::SeqCst);
        self.write_if_due();
    }

    fn write_if_due(&self) {
        // Pairs with that of a thread which finds the seat taken: one of the two
        // sees the other.
        fence(Ordering::SeqCst);
        let mut passes = 0;
        while self.due.load(Ordering::SeqCst) {
            let seat = match self.seat.try_lock() {
                Ok(seat) => seat,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            // A peer that never stops sending must not keep a thread here that only wants
            // to write: the caretaker reads on.
            passes += 1;
            let may_read = passes < 3 && self.board.hold().leader.is_none();
            self.drive(seat, may_read);
            fence(Ordering::SeqCst);
        }
    }

    /// Moves everything that can move, and gets up.
    fn drive(&self, mut seat: MutexGuard<'_, Option<Http2>>, may_read: bool) {
        self.flow.set_may_read(may_read);
        let mut over = None;
        loop {
            self.due.store(false, Ordering::SeqCst);
            self.wakeup.raised.store(false, Ordering::Relaxed);
            if let Some(http2) = &mut *seat {
                over = poll(http2, &self.waker);
                if over.is_some() {
                    *seat = None;
                }
            }
            let again = seat.is_some() && self.wakeup.raised.load(Ordering::Relaxed);
            let flush = self.hand_out();
            if !flush && !again {
                break;
            }
        }
        // Not before its calls have heard of it: HTTP/2 knows best which were not seen.
        if let Some(why) = over {
            self.end(why);
        }
    }

    /// Lets the calls with news proceed; true when HTTP/2 is to be driven again.
    fn hand_out(&self) -> bool {
        let mut again = false;
        for call in self.news.take() {
            again |= self.proceed(&call);
        }
        again
    }

    fn proceed(&self, call: &Arc<Call>) -> bool {
        let proceeded = catch_unwind(AssertUnwindSafe(|| call.proceed()));
        let (step, outcome) = proceeded.unwrap_or_else(|_| {
            (Step::Over, Some(Err(CallError::Broken("taking the answer failed".into()))))
        });
        if let Some(outcome) = outcome {
            self.answers.note();
            let idle = {
                let mut board = self.board.hold();
                board.calls.remove(&call.number);
                board.followers.remove(&call.number);
                board.calls.is_empty()
            };
            call.finish(outcome);
            self.end_if_retired(idle);
        }
        step == Step::Flush
    }

    fn end(&self, why: String) {
        let _ = self.ended.set(why);
        let _ = self.flow.tcp.shutdown(Shutdown::Both);
        self.ring();
    }

    // --- Its end ------------------------------------------------------------

    /// Ends it now, for a reason found outside.
    fn kill(&self, why: &str) {
        // A thread in the seat finds that nothing can be read or written any more.
        let _ = self.flow.tcp.shutdown(Shutdown::Both);
        self.flow.set_readable();
        let _ = self.ended.set(why.to_owned());
        let seat = match self.seat.try_lock() {
            Ok(seat) => Some(seat),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut seat) = seat {
            *seat = None;
            self.hand_out();
        }
        let calls = std::mem::take(&mut self.board.hold().calls);
        for call in calls.into_values() {
            call.finish(Err(CallError::Broken(why.to_owned())));
        }
    }

    /// Ends it with the store.
    pub fn close(&self) {
        self.board.hold().closed = true;
        self.kill("the store was closed");
        self.ring();
    }

    // --- Streams -------------------------------------------------------------

    pub fn requests(&self) -> SendRequest<Bytes> {
        self.requests.clone()
    }

    /// Makes the head of a stream's request one for this endpoint.
    pub fn address(&self, head: &mut http::request::Parts) {
        let path = head.uri.path_and_query().cloned();
        self.to.sign(head.uri.path(), &mut head.headers);
        head.uri = self.to.uri(path);
    }
}

/// Counts a stream while it is open.
pub struct OpenStream(Arc<Connection>);

impl OpenStream {
    pub fn on(connection: &Arc<Connection>) -> Self {
        connection.streams.fetch_add(1, Ordering::SeqCst);
        connection.wakeup.caretaker.notify_one(); // it may have to ping now
        Self(connection.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let before = self.0.streams.fetch_sub(1, Ordering::SeqCst);
        self.0.end_if_retired(before == 1);
    }
}

impl Leader {
    fn is_missing(&self) -> bool {
        self.heard_of.elapsed() > LEADER_MISSING
    }
}

impl Board {
    fn leads(&self, call: u64) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.call == call)
    }
}

/// Why it has ended, if it has.
fn poll(http2: &mut Http2, waker: &Waker) -> Option<String> {
    let mut cx = Context::from_waker(waker);
    match catch_unwind(AssertUnwindSafe(|| Pin::new(http2).poll(&mut cx))) {
        Ok(Poll::Pending) => None,
        Ok(Poll::Ready(Ok(()))) => Some("closed by the server".into()),
        Ok(Poll::Ready(Err(e))) => Some(e.to_string()),
        Err(_) => Some("serving it failed".into()),
    }
}
