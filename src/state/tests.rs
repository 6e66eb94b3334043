use super::*;
use crate::dispatch::Polled;

#[test]
fn connected_and_cut_alternate_and_an_endpoint_is_told_once() {
    let mut link = Link::default();
    let (a, b) = (Bytes::from("a"), Bytes::from("b"));
    for (what, detail, is_news) in [
        (State::Cut, &a, false),
        (State::Endpoint, &a, false),
        (State::Connected, &a, true),
        (State::Connected, &b, false),
        (State::Endpoint, &a, false),
        (State::Endpoint, &b, true),
        (State::Endpoint, &b, false),
        (State::Cut, &a, true),
        (State::Cut, &a, false),
        (State::Endpoint, &a, false),
        (State::Connected, &b, true),
    ] {
        assert_eq!(link.take(what, detail), is_news, "{what:?} {detail:?}");
    }
    assert!(link.take(State::LockLost, &a) && link.connected && link.endpoint == b);
}

type Heard = Arc<Mutex<Vec<(State, String)>>>;

struct Listening(Heard);

impl StateConsumer for Listening {
    fn state(&self, what: State, detail: &[u8]) {
        self.0.hold().push((what, String::from_utf8_lossy(detail).into_owned()));
    }
}

/// A listener that hears only when it is let.
struct Slow {
    events: Arc<StateEvents>,
    polled: Arc<Polled>,
    heard: Heard,
}

impl Slow {
    fn new() -> Self {
        let callbacks = Callbacks::new(1);
        let polled = Polled::new(callbacks.clone()).expect("a descriptor");
        let events = StateEvents::new(callbacks, Dispatcher::Caller(polled.clone()));
        let heard = Heard::default();
        events.listen(Some(Box::new(Listening(heard.clone())))).expect("it listens");
        Self { events, polled, heard }
    }

    /// The server comes and goes, each time another one.
    fn flap(&self, times: usize) {
        for i in 0..times {
            self.events.tell(State::Connected, format!("member {i}"));
            self.events.tell(State::Cut, format!("cut {i}"));
        }
    }

    /// Hears so many at most.
    fn hear(&self, most: usize) -> usize {
        self.polled.run(most)
    }

    fn hear_all(&self) -> Vec<(State, String)> {
        while self.hear(QUEUE) > 0 {}
        std::mem::take(&mut *self.heard.hold())
    }
}

/// Connected and cut by turns, the first of them first; endpoints while connected alone.
fn check_order(heard: &[(State, String)]) {
    let mut connected = false;
    for (what, detail) in heard {
        match what {
            State::Connected => assert!(!std::mem::replace(&mut connected, true), "{detail}"),
            State::Cut => assert!(std::mem::replace(&mut connected, false), "{detail}"),
            State::Endpoint => assert!(connected, "{detail}"),
            _ => {}
        }
    }
}

fn last_of(heard: &[(State, String)]) -> Option<(State, &str)> {
    heard.last().map(|(what, detail)| (*what, detail.as_str()))
}

#[test]
fn a_slow_listener_hears_by_turns_and_of_the_present_last() {
    for before in [0, 1, 7] {
        let slow = Slow::new();
        // So that the queue is full once after a cut, and once after a connection.
        (0..before).for_each(|_| slow.events.tell(State::LockLost, "lock"));
        slow.flap(QUEUE);
        slow.events.tell(State::Connected, "present");
        assert_eq!(slow.events.waiting(), QUEUE);
        let heard = slow.hear_all();
        check_order(&heard);
        assert_eq!(last_of(&heard), Some((State::Connected, "present")), "after {before}");
        assert!(heard.len() <= QUEUE + 2);

        slow.flap(QUEUE);
        let heard = slow.hear_all();
        assert_eq!(heard[0], (State::Cut, "cut 0".into()));
        assert_eq!(last_of(&heard).map(|(what, _)| what), Some(State::Cut));
        assert!(!slow.events.is_connected());
    }
}

#[test]
fn a_listener_that_hears_now_and_then_hears_by_turns_too() {
    let slow = Slow::new();
    let mut heard = Vec::new();
    for most in (1..40).cycle().take(400) {
        slow.flap(most % 37);
        slow.events.tell(State::Connected, format!("member {most}"));
        slow.events.tell(State::Endpoint, format!("another {most}"));
        slow.hear(most);
        heard.append(&mut slow.heard.hold());
    }
    slow.events.tell(State::Endpoint, "present");
    heard.append(&mut slow.hear_all());
    check_order(&heard);
    assert_eq!(last_of(&heard).map(|(_, detail)| detail), Some("present"));
    slow.events.tell(State::Cut, "the end");
    assert_eq!(slow.hear_all(), [(State::Cut, "the end".into())]);
}

#[test]
fn a_new_listener_hears_nothing_of_what_was_left_out_before() {
    let slow = Slow::new();
    slow.flap(QUEUE);
    slow.events.tell(State::Connected, "present");
    let heard = Heard::default();
    slow.events.listen(Some(Box::new(Listening(heard.clone())))).expect("it listens");
    slow.hear(QUEUE);
    assert_eq!(*heard.hold(), []);
    slow.events.tell(State::Cut, "later");
    slow.hear(QUEUE);
    assert_eq!(*heard.hold(), [(State::Cut, "later".into())]);
}
