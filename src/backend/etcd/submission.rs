//! A request that somebody may wait for, or not. Its first attempt is made on the
//! thread that submits it; that which waits for it drives its connection.

use super::endpoints::Connected;
use super::io::Io;
use super::message::Method;
use super::outcome::Failure;
use super::progress::Progress;
use super::requests::{attempt_until, begin, Requests};
use super::transport::{Call, Done, Outcome};
use crate::backend::{Completion, Flight};
use crate::error::{Error, Result};
use crate::request::{Request, Response};
use crate::sync::Lock;
use crate::timer::{Entry, Timer};
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub struct Submission {
    requests: Arc<Requests>,
    io: Arc<Io>,
    timer: Arc<Timer>,
    request: Request,
    deadline: Instant,
    progress: Arc<Progress>,
    /// None when it is answered, or when the I/O thread answers it.
    done: Mutex<Option<Completion>>,
    attempt: Mutex<Option<Attempt>>,
    /// Ends the attempt, or the waiting for it.
    alarm: Mutex<Option<Entry>>,
}

/// On its way to a member.
#[derive(Clone)]
struct Attempt {
    connected: Connected,
    call: Arc<Call>,
    begun: Instant,
}

impl Submission {
    pub fn begin(
        requests: &Arc<Requests>,
        io: &Arc<Io>,
        timer: &Arc<Timer>,
        request: Request,
        deadline: Instant,
        done: Completion,
    ) -> Box<dyn Flight> {
        let submission = Arc::new(Self {
            requests: requests.clone(),
            io: io.clone(),
            timer: timer.clone(),
            request,
            deadline,
            progress: Arc::default(),
            done: Mutex::new(Some(done)),
            attempt: Mutex::default(),
            alarm: Mutex::default(),
        });
        if !requests.window().enter(&submission) {
            submission.set_alarm();
        } else if !submission.start() {
            requests.make_room();
        }
        Box::new(Submitted(submission))
    }

    /// In the window: from now on the end of it makes room for another. False where it
    /// has ended already.
    pub(super) fn start(self: &Arc<Self>) -> bool {
        let requests = self.requests.clone();
        {
            let mut done = self.done.hold();
            let Some(wanted) = done.take() else { return false };
            if requests.is_closing() {
                drop(done);
                wanted.complete(Err(Error::Closed));
                return false;
            }
            *done = Some(wanted.after(move |answer| {
                requests.make_room();
                answer
            }));
        }
        let Some(attempt) = self.make_attempt() else {
            self.pass_on();
            return true;
        };
        *self.attempt.hold() = Some(attempt.clone());
        self.set_alarm();
        // It may have been given up meanwhile.
        if self.done.hold().is_none() {
            attempt.abandon();
        }
        true
    }

    /// The first attempt; none where it has to be the I/O thread's.
    fn make_attempt(self: &Arc<Self>) -> Option<Attempt> {
        let (method, message, connected) = self.requests.direct(&self.request)?;
        self.progress.begin_sending(&connected).ok()?;
        if let Some(done) = self.done.hold().as_mut().filter(|_| self.request.writes()) {
            done.begin_writing();
        }
        let (me, its) = (self.clone(), connected.clone());
        let done = Done::Tell(Box::new(move |outcome| me.answered(method, &its, outcome)));
        match begin(&connected.connection, method, message, done) {
            Ok(call) => Some(Attempt { connected, call, begun: Instant::now() }),
            Err(error) => {
                self.answered(method, &connected, Err(error));
                None
            }
        }
    }

    fn answered(&self, method: Method, connected: &Connected, outcome: Outcome) {
        let (requests, request) = (&self.requests, &self.request);
        let answer = requests.settle_attempt(request, method, outcome, connected, &self.progress);
        match answer {
            Ok(response) => self.complete(Ok(response)),
            Err(failure) => self.failed(failure),
        }
    }

    fn failed(&self, failure: Failure) {
        let end = self.requests.end_of(&self.request, failure, &self.progress, self.deadline);
        match end {
            Some(error) => self.complete(Err(error)),
            None => self.pass_on(),
        }
    }

    pub fn complete(&self, answer: Result<Response>) {
        self.call_off_alarm();
        let done = self.done.hold().take();
        if let Some(done) = done {
            done.complete(answer);
        }
    }

    /// From now on it is the I/O thread's.
    fn pass_on(&self) {
        self.call_off_alarm();
        let done = self.done.hold().take();
        if let Some(done) = done {
            let (request, progress) = (self.request.clone(), self.progress.clone());
            self.requests.clone().post(&self.io, request, self.deadline, progress, done);
        }
    }

    /// How long what is done for it now may take.
    fn until(&self) -> Instant {
        match &*self.attempt.hold() {
            None => self.deadline,
            Some(Attempt { connected, begun, .. }) => {
                let connection = Some(&*connected.connection);
                attempt_until(&self.request, self.deadline, *begun, connection)
            }
        }
    }

    /// Has it end in time, whether somebody waits for it or not.
    fn set_alarm(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let alarm = self.timer.at(self.until(), move || {
            let Some(submission) = weak.upgrade() else { return };
            if submission.until() > Instant::now() {
                submission.set_alarm();
            } else {
                submission.give_up();
            }
        });
        let former = self.alarm.hold().replace(alarm);
        if let Some(former) = former {
            self.timer.call_off(&former);
        }
        // It may have been answered meanwhile.
        if self.done.hold().is_none() {
            self.call_off_alarm();
        }
    }

    fn call_off_alarm(&self) {
        let alarm = self.alarm.hold().take();
        if let Some(alarm) = alarm {
            self.timer.call_off(&alarm);
        }
    }

    /// Its time is over.
    fn give_up(&self) {
        let attempt = self.attempt.hold().clone();
        match attempt {
            None => {
                self.end(Error::Unavailable("not sent in time".into()));
            }
            Some(attempt) => {
                if attempt.abandon() {
                    self.failed(self.requests.gave_up(&self.progress));
                }
            }
        }
    }

    /// Ends it for this reason, unless it is the I/O thread's; what is known of it.
    fn end(&self, why: Error) -> Error {
        let error = self.progress.give_up_for_good(self.request.writes(), why);
        self.complete(Err(error.clone()));
        error
    }
}

impl Attempt {
    /// False where the answer was there before.
    fn abandon(&self) -> bool {
        !self.call.is_over() && self.connected.connection.abandon(&self.call)
    }
}

struct Submitted(Arc<Submission>);

impl Flight for Submitted {
    fn drive(&self) {
        let attempt = self.0.attempt.hold().clone();
        match attempt {
            Some(Attempt { connected, call, .. }) => {
                connected.connection.wait(&call, || self.0.until());
                if self.0.until() <= Instant::now() {
                    self.0.give_up();
                }
            }
            // Those before it have to be answered.
            None => self.0.requests.rouse(),
        }
    }

    fn leave(&self) {
        self.0.requests.rouse();
    }

    fn cancel(&self) -> Error {
        let error = self.0.end(Error::Canceled);
        let attempt = self.0.attempt.hold().clone();
        if let Some(attempt) = attempt {
            attempt.abandon();
        }
        error
    }
}
