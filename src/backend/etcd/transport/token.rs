//! What shows the server who asks, shared by all connections of a store.

use crate::sync::Lock;
use http::{HeaderMap, HeaderValue};
use std::sync::Mutex;

/// etcd's word for it.
const TOKEN: &str = "token";

/// The one method that takes a password instead.
pub const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

/// The token in use, and which of all that there were it is.
#[derive(Default)]
pub struct Token(Mutex<Current>);

#[derive(Default)]
struct Current {
    number: u64,
    accepted: bool,
    /// None where the server wants none. One that is no longer accepted stays: to
    /// send it is no worse than to send none.
    value: Option<HeaderValue>,
}

impl Token {
    /// The number of the present one, as far as is known the server accepts it.
    pub fn accepted(&self) -> Option<u64> {
        let current = self.0.hold();
        current.accepted.then_some(current.number)
    }

    pub fn replace(&self, value: Option<HeaderValue>) {
        let mut current = self.0.hold();
        *current = Current { number: current.number + 1, accepted: true, value };
    }

    /// The server does not accept this one; nothing is done where there is another
    /// one by now.
    pub fn reject(&self, number: u64) {
        let mut current = self.0.hold();
        current.accepted &= current.number != number;
    }

    /// Adds it to the head of a request for this method.
    pub fn sign(&self, method: &str, head: &mut HeaderMap) {
        if method == AUTHENTICATE {
            return;
        }
        // Not marked as sensitive: HTTP/2 would send all of it each time.
        if let Some(value) = self.0.hold().value.clone() {
            head.insert(TOKEN, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_concerns_the_token_that_was_used() {
        let token = Token::default();
        assert_eq!(token.accepted(), None);
        token.replace(Some(HeaderValue::from_static("a")));
        token.replace(Some(HeaderValue::from_static("b")));
        token.reject(1);
        assert_eq!(token.accepted(), Some(2));
        token.reject(2);
        assert_eq!(token.accepted(), None);
    }

    #[test]
    fn all_methods_are_signed_but_one() {
        let (token, mut head) = (Token::default(), HeaderMap::new());
        token.sign("/etcdserverpb.KV/Put", &mut head);
        token.replace(Some(HeaderValue::from_static("a")));
        token.sign(AUTHENTICATE, &mut head);
        assert!(head.is_empty());
        token.sign("/etcdserverpb.KV/Put", &mut head);
        assert_eq!(head[TOKEN], "a");
    }
}
