//! What an endpoint text names.

mod domain;

pub use domain::{is_legal, Domain, Services};

use crate::error::{Error, Result};
use std::env;

#[derive(Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The in-memory store of this name.
    Mem(String),
    Etcd(Vec<Url>),
    /// The members that the records of this domain tell.
    Srv(Domain),
}

/// One member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// With brackets where it is an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("env", "")) => Self::parse_direct(&from_environment(|name| env::var(name).ok())?),
            Some(("env", _)) => {
                Err(Error::Invalid("endpoint \"env:\" takes nothing after it".into()))
            }
            _ => Self::parse_direct(text),
        }
    }

    fn parse_direct(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("mem", name)) => Ok(Self::Mem(name.into())),
            Some(("srv", domain)) => Domain::parse(domain).map(Self::Srv),
            _ => text.split(',').map(Url::parse).collect::<Result<_>>().map(Self::Etcd),
        }
    }
}

impl Url {
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.contains('@') {
            // Do not repeat it: it may hold a password.
            return Err(Error::Invalid("endpoint: credentials in a URL are not supported".into()));
        }
        let invalid = |why: &str| Error::Invalid(format!("endpoint \"{text}\": {why}"));
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(invalid("the scheme is not http or https")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| invalid("the port is missing"))?;
        let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c == '.' || is_legal(c)),
        };
        if !address {
            return Err(invalid("the host is not a name or an address"));
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self { tls, host: host.into(), port }),
            _ => Err(invalid("the port is not from 1 to 65535")),
        }
    }
}

fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<String> {
    let get = |name: &str| get(name).filter(|value| !value.is_empty());
    if let Some(endpoint) = get("HMKV_ENDPOINT") {
        if endpoint.starts_with("env:") {
            return Err(Error::Invalid("HMKV_ENDPOINT names \"env:\" again".into()));
        }
        return Ok(endpoint);
    }
    if let Some(host) = get("ETCD_HOST") {
        let port = get("ETCD_PORT").unwrap_or_else(|| "2379".into());
        return Ok(format!("{host}:{port}"));
    }
    get("ETCDCTL_ENDPOINTS").ok_or_else(|| {
        Error::Invalid(
            "endpoint \"env:\": none of HMKV_ENDPOINT, ETCD_HOST, ETCDCTL_ENDPOINTS is set".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> Vec<String> {
        match Endpoint::parse(text) {
            Ok(Endpoint::Etcd(urls)) => urls.iter().map(ToString::to_string).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn lists_schemes_and_bare_hosts() {
        assert_eq!(
            urls("http://a:1,https://b.c:2/, d:3,[::1]:4"),
            ["http://a:1", "https://b.c:2", "http://d:3", "http://[::1]:4"]
        );
    }

    #[test]
    fn memory_by_name() {
        assert_eq!(Endpoint::parse("mem:"), Ok(Endpoint::Mem(String::new())));
        assert_eq!(Endpoint::parse("mem:a b"), Ok(Endpoint::Mem("a b".into())));
    }

    #[test]
    fn domains() {
        match Endpoint::parse("srv:example.com") {
            Ok(Endpoint::Srv(domain)) => assert_eq!(domain.to_string(), "example.com"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bad_endpoints_are_refused() {
        for text in [
            "",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "ftp://a:1",
            ":1",
            "http://",
            "a:1,",
            "a b:1",
            "http://a:1/path",
            "::1:1",
            "http://a:1?q",
            "env:x",
            "srv:",
            "srv:a b",
            "srv:a,http://b:1",
        ] {
            assert!(matches!(Endpoint::parse(text), Err(Error::Invalid(_))), "{text}");
        }
        for url in ["srv:u:secret@a", "http://u:secret@a:1", "htp://u:secret@a:1", "u:secret@a"] {
            match Endpoint::parse(url) {
                Err(Error::Invalid(why)) => assert!(!why.contains("secret")),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn environment_in_its_order() {
        let env = |set: &'static [(&str, &str)]| {
            from_environment(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_string())
            })
        };
        let all = &[("HMKV_ENDPOINT", "mem:x"), ("ETCD_HOST", "h"), ("ETCDCTL_ENDPOINTS", "e:1")];
        assert_eq!(env(all), Ok("mem:x".into()));
        assert_eq!(env(&all[1..]), Ok("h:2379".into()));
        assert_eq!(env(&[("ETCD_HOST", "h"), ("ETCD_PORT", "5")]), Ok("h:5".into()));
        assert_eq!(env(&all[2..]), Ok("e:1".into()));
        assert_eq!(env(&[("HMKV_ENDPOINT", "srv:a.b")]), Ok("srv:a.b".into()));
        assert!(env(&[("HMKV_ENDPOINT", "env:")]).is_err() && env(&[]).is_err());
    }
}
