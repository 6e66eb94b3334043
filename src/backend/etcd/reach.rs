//! Whether the cluster can be reached, and at which member, by the connections of a
//! store together.

use super::transport::Driver;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::state::{State, StateEvents};
use crate::sync::Lock;
use std::sync::{Arc, Mutex};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Requests,
    Leases,
    Watches,
}

impl Role {
    pub fn driver(self) -> Driver {
        match self {
            Self::Requests => Driver::Callers,
            Self::Leases | Self::Watches => Driver::Caretaker,
        }
    }
}

pub struct Reach {
    state: Arc<StateEvents>,
    metrics: Arc<Metrics>,
    /// None for those that were never connected.
    ways: Mutex<[Option<Way>; 3]>,
}

struct Way {
    is_up: bool,
    endpoint: String,
}

impl Reach {
    pub fn new(state: Arc<StateEvents>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { state, metrics, ways: Mutex::default() })
    }

    /// One that tells nobody.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn unheard() -> Arc<Self> {
        use crate::dispatch::{Dispatcher, Pool};
        let dispatcher = Dispatcher::Threads(Pool::new(Arc::default()));
        let state = StateEvents::new(crate::gate::Callbacks::new(0), dispatcher);
        Self::new(state, Arc::default())
    }

    /// A connection was made.
    pub fn connected(&self, role: Role, endpoint: String) {
        let mut ways = self.ways.hold();
        let former = ways[role as usize].replace(Way { is_up: true, endpoint });
        if former.is_some() {
            self.metrics.reconnects.add_one();
        }
        if ways.iter().flatten().all(|way| way.is_up) {
            let way = ways[Role::Requests as usize].as_ref().or(ways[role as usize].as_ref());
            self.tell(State::Connected, way);
        }
    }

    /// There is no connection any more, and none to be had.
    pub fn cut(&self, role: Role, why: &Error) {
        let mut ways = self.ways.hold();
        let Some(way) = &mut ways[role as usize] else { return };
        if std::mem::replace(&mut way.is_up, false) {
            self.state.tell(State::Cut, why.to_string());
        }
    }

    /// From now on this member is the one that is used. Which that is, requests tell;
    /// others in a store that makes none.
    pub fn moved(&self, role: Role, endpoint: String) {
        let mut ways = self.ways.hold();
        let decides = role == Role::Requests || ways[Role::Requests as usize].is_none();
        let Some(way) = &mut ways[role as usize] else { return };
        way.endpoint = endpoint;
        if decides {
            self.tell(State::Endpoint, ways[role as usize].as_ref());
        }
    }

    fn tell(&self, what: State, way: Option<&Way>) {
        if let Some(way) = way {
            self.state.tell(what, way.endpoint.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Error {
        Error::Unavailable("gone".into())
    }

    fn stands(reach: &Reach) -> (bool, String) {
        (reach.state.is_connected(), reach.state.endpoint())
    }

    #[test]
    fn it_is_cut_while_any_of_its_connections_is() {
        let reach = Reach::unheard();
        reach.cut(Role::Requests, &gone());
        assert_eq!(stands(&reach), (false, String::new()));
        reach.connected(Role::Requests, "a".into());
        reach.connected(Role::Watches, "a".into());
        assert_eq!(stands(&reach), (true, "a".into()));
        reach.cut(Role::Requests, &gone());
        reach.cut(Role::Watches, &gone());
        reach.connected(Role::Watches, "b".into());
        assert!(!stands(&reach).0);
        reach.connected(Role::Requests, "c".into());
        assert_eq!(stands(&reach), (true, "c".into()));
    }

    #[test]
    fn requests_tell_the_endpoint_and_others_without_them() {
        let reach = Reach::unheard();
        reach.connected(Role::Leases, "a".into());
        reach.moved(Role::Leases, "b".into());
        assert_eq!(stands(&reach), (true, "b".into()));
        reach.connected(Role::Requests, "a".into());
        reach.moved(Role::Requests, "a".into());
        assert_eq!(stands(&reach), (true, "a".into()));
        reach.moved(Role::Leases, "c".into());
        assert_eq!(stands(&reach), (true, "a".into()));
        reach.cut(Role::Leases, &gone());
        reach.connected(Role::Leases, "c".into());
        assert_eq!(stands(&reach), (true, "a".into()), "that of the requests");
    }
}
