//! The domain of an endpoint `srv:DOMAIN`, whose name server knows the members.

use crate::error::{Error, Result};

/// What DNS allows for a name as text.
const NAME_MOST: usize = 253;
const LABEL_MOST: usize = 63;

/// A full name: no list of domains to search is applied to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(String);

/// The names at which a domain tells of its members.
#[derive(Debug, PartialEq, Eq)]
pub struct Services {
    pub tls: String,
    pub plain: String,
}

impl Domain {
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains('@') {
            // Do not repeat it: it may hold a password.
            return Err(Error::Invalid(
                "endpoint \"srv:\": '@' is no part of a domain, nor are credentials".into(),
            ));
        }
        let invalid = |why: String| Err(Error::Invalid(format!("endpoint \"srv:{text}\": {why}")));
        if text.is_empty() {
            return invalid("the domain is missing".into());
        }
        if let Some((at, odd)) = text.char_indices().find(|(_, c)| !is_legal(*c) && *c != '.') {
            let why = match odd {
                ':' => "a domain has no port, its records tell it",
                ',' => "one domain is all there can be",
                _ => "it is no part of a domain",
            };
            return invalid(format!("{odd:?} after {at} bytes: {why}"));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        for (label, at) in name.split('.').zip(1..) {
            if label.is_empty() {
                return invalid(format!("label {at} is empty"));
            }
            if label.len() > LABEL_MOST {
                return invalid(format!("label {at} is longer than {LABEL_MOST} bytes"));
            }
        }
        // As in `srv:2379`, which looks like a host, and of an address.
        if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit())) {
            return invalid("a domain does not end with a number".into());
        }
        let domain = Self(name.to_owned());
        domain.services(None)?;
        Ok(domain)
    }

    /// `suffix` tells clusters of one domain apart.
    pub fn services(&self, suffix: Option<&str>) -> Result<Services> {
        let of_option = |why: String| Err(Error::Invalid(format!("option \"srv_name\": {why}")));
        if let Some(odd) = suffix.and_then(|suffix| suffix.chars().find(|c| !is_legal(*c))) {
            return of_option(format!("{odd:?} is no part of a name"));
        }
        let label = |service: &str| match suffix {
            None => format!("_{service}"),
            Some(suffix) => format!("_{service}-{suffix}"),
        };
        let (tls, plain) = (label("etcd-client-ssl"), label("etcd-client"));
        if tls.len() > LABEL_MOST {
            return of_option(format!("\"{tls}\" is longer than {LABEL_MOST} bytes"));
        }
        let services =
            Services { tls: format!("{tls}._tcp.{self}"), plain: format!("{plain}._tcp.{self}") };
        if services.tls.len() > NAME_MOST {
            let why = format!("\"{}\" is longer than {NAME_MOST} bytes", services.tls);
            return Err(Error::Invalid(format!("endpoint \"srv:{self}\": {why}")));
        }
        Ok(services)
    }
}

/// In a label of a host's name.
pub fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        match Domain::parse(text) {
            Err(Error::Invalid(why)) => why,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        assert!(why("").contains("missing"));
        assert!(why("a b.c").contains("' ' after 1 bytes"));
        assert!(why(" a").contains("' ' after 0 bytes"));
        assert!(why("a.b:2379").contains("':' after 3 bytes") && why("a.b:1").contains("port"));
        assert!(why("a.b,c.d").contains("one domain"));
        assert!(why("a.b/c").contains("'/' after 3 bytes"));
        assert!(why("b\u{fc}cher.de").contains("after 1 bytes"));
        assert!(why("a..b").contains("label 2 is empty") && why(".a").contains("label 1 is empty"));
        assert!(why("a.b..").contains("label 3 is empty") && why(".").contains("label 1 is empty"));
        assert!(why("2379").contains("number") && why("10.0.0.1").contains("number"));
        let long = "x".repeat(64);
        assert!(why(&format!("a.{long}.c")).contains("label 2 is longer than 63"));
        assert!(!why("u:secret@a").contains("secret"));
        // 231 bytes leave room for the longest service.
        let labels = ["x".repeat(63), "x".repeat(63), "x".repeat(63), "x".repeat(39)];
        assert_eq!(labels.join(".").len(), 231);
        assert!(Domain::parse(&labels.join(".")).is_ok());
        assert!(why(&format!("{}x", labels.join("."))).contains("longer than 253"));
    }

    #[test]
    fn services_are_those_of_etcd() {
        let domain = Domain::parse("example.com.").expect("legal");
        let services = domain.services(None).expect("legal");
        assert_eq!(services.tls, "_etcd-client-ssl._tcp.example.com");
        assert_eq!(services.plain, "_etcd-client._tcp.example.com");
        let services = domain.services(Some("green")).expect("legal");
        assert_eq!(services.tls, "_etcd-client-ssl-green._tcp.example.com");
        assert_eq!(services.plain, "_etcd-client-green._tcp.example.com");
        for suffix in ["a b", "a.b", &"x".repeat(47)] {
            match domain.services(Some(suffix)) {
                Err(Error::Invalid(why)) => assert!(why.contains("srv_name"), "{why}"),
                other => panic!("{suffix}: {other:?}"),
            }
        }
        assert!(domain.services(Some(&"x".repeat(46))).is_ok());
    }
}
