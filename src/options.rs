//! The options of `hmkv_open`: one table from which the parser, the defaults and
//! the manual come.

mod grammar;
mod password;

pub use password::Password;

use crate::error::{Error, Result};
use grammar::{items, size, time};
use password::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// Where a known option stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Built {
    Yes,
    NotYet,
}

enum Kind {
    Word(fn(&mut Options)),
    Time { least: Duration, most: Duration, set: fn(&mut Options, Duration) },
    Size { least: usize, most: usize, set: fn(&mut Options, usize) },
    Text(fn(&mut Options, String)),
    File(fn(&mut Options, PathBuf)),
    Password(fn(String) -> Password),
    OneOf(&'static [(&'static str, Built)]),
}

/// What only the manual shows is read by the test that keeps the README current.
#[cfg_attr(not(test), allow(dead_code))]
struct Item {
    name: &'static str,
    default: &'static str,
    built: Built,
    kind: Kind,
    meaning: &'static str,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub timeout: Duration,
    pub wait: Duration,
    pub sync: Duration,
    pub close_timeout: Duration,
    pub temp_ttl: Duration,
    pub lock: String,
    pub lock_ttl: Duration,
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub server_name: Option<String>,
    pub insecure: bool,
    pub debug: bool,
    pub max_request: usize,
    pub keepalive: Duration,
    pub namespace: String,
    /// These two go together.
    pub user: Option<String>,
    pub password: Option<Password>,
}

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

const TABLE: &[Item] = &[
    Item {
        name: "timeout",
        default: "5s",
        built: Built::Yes,
        kind: Kind::Time { least: MS, most: HOUR, set: |o, v| o.timeout = v },
        meaning: "how long a request may take, connecting and retries included",
    },
    Item {
        name: "wait",
        default: "0",
        built: Built::Yes,
        kind: Kind::Time { least: Duration::ZERO, most: YEAR, set: |o, v| o.wait = v },
        meaning: "how long opening waits for a first linearizable read; 0: opening needs no server",
    },
    Item {
        name: "close_timeout",
        default: "2s",
        built: Built::Yes,
        kind: Kind::Time { least: Duration::ZERO, most: HOUR, set: |o, v| o.close_timeout = v },
        meaning: "how long closing may take",
    },
    Item {
        name: "temp_ttl",
        default: "10s",
        built: Built::Yes,
        kind: Kind::Time { least: MS, most: YEAR, set: |o, v| o.temp_ttl = whole_seconds(v) },
        meaning: "lease of the temporary keys; rounded up to seconds, at least 2",
    },
    Item {
        name: "lock",
        default: "hbtd_dist_lock",
        built: Built::Yes,
        kind: Kind::Text(|o, v| o.lock = v),
        meaning: "name of the distributed lock",
    },
    Item {
        name: "lock_ttl",
        default: "10s",
        built: Built::Yes,
        kind: Kind::Time { least: MS, most: YEAR, set: |o, v| o.lock_ttl = whole_seconds(v) },
        meaning: "lease of the lock; rounded up to seconds, at least 2",
    },
    Item {
        name: "cacert",
        default: "the system's",
        built: Built::Yes,
        kind: Kind::File(|o, v| o.cacert = Some(v)),
        meaning: "file of the authorities that may have signed the server's certificate (PEM)",
    },
    Item {
        name: "cert",
        default: "none",
        built: Built::Yes,
        kind: Kind::File(|o, v| o.cert = Some(v)),
        meaning: "file of the client's certificate chain (PEM); goes with `key`",
    },
    Item {
        name: "key",
        default: "none",
        built: Built::Yes,
        kind: Kind::File(|o, v| o.key = Some(v)),
        meaning: "file of the client's private key (PEM); goes with `cert`",
    },
    Item {
        name: "server_name",
        default: "the URL's host",
        built: Built::Yes,
        kind: Kind::Text(|o, v| o.server_name = Some(v)),
        meaning: "name that the server's certificate must have",
    },
    Item {
        name: "insecure",
        default: "off",
        built: Built::Yes,
        kind: Kind::Word(|o| o.insecure = true),
        meaning: "believes any server on https, whatever its certificate says",
    },
    Item {
        name: "debug",
        default: "off",
        built: Built::Yes,
        kind: Kind::Word(|o| o.debug = true),
        meaning: "sets the log level of the process to debug",
    },
    Item {
        name: "max_request",
        default: "1536KiB",
        built: Built::Yes,
        kind: Kind::Size { least: 1024, most: 1 << 30, set: |o, v| o.max_request = v },
        meaning: "largest request that is sent; the server has a limit of its own",
    },
    Item {
        name: "keepalive",
        default: "10s",
        built: Built::Yes,
        // Servers end connections that are pinged more often than every 5 s.
        kind: Kind::Time { least: Duration::from_secs(6), most: HOUR, set: |o, v| o.keepalive = v },
        meaning: "how often an idle connection is tested by an HTTP/2 ping, at least 6s",
    },
    Item {
        name: "dispatch",
        default: "thread",
        built: Built::Yes,
        kind: Kind::OneOf(&[("thread", Built::Yes), ("poll", Built::NotYet)]),
        meaning: "where callbacks run; `poll` is not built yet",
    },
    Item {
        name: "namespace",
        default: "none",
        built: Built::Yes,
        kind: Kind::Text(|o, v| o.namespace = v),
        meaning: "prefix of all keys, lock names included, that this handle never sees",
    },
    Item {
        name: "user",
        default: "none",
        built: Built::Yes,
        kind: Kind::Text(|o, v| o.user = Some(v)),
        meaning: "name to authenticate with; goes with one of the next two; no effect on `mem:`",
    },
    Item {
        name: "password",
        default: "none",
        built: Built::Yes,
        kind: Kind::Password(|v| Password::Given(Secret(v))),
        meaning: "password to authenticate with",
    },
    Item {
        name: "password_file",
        default: "none",
        built: Built::Yes,
        kind: Kind::Password(|v| Password::File(v.into())),
        meaning: "file with the password and nothing else, read at each authentication",
    },
    Item {
        name: "sync",
        default: "0",
        built: Built::Yes,
        kind: Kind::Time { least: Duration::ZERO, most: YEAR, set: |o, v| o.sync = v },
        meaning: "how often the cluster tells its members, which replace the given ones; 0: never",
    },
];

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: 5 * S,
            wait: Duration::ZERO,
            sync: Duration::ZERO,
            close_timeout: 2 * S,
            temp_ttl: 10 * S,
            lock: "hbtd_dist_lock".into(),
            lock_ttl: 10 * S,
            cacert: None,
            cert: None,
            key: None,
            server_name: None,
            insecure: false,
            debug: false,
            max_request: 1536 * 1024,
            keepalive: 10 * S,
            namespace: String::new(),
            user: None,
            password: None,
        }
    }
}

impl Options {
    pub fn parse(text: &str) -> Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in items(text)? {
            let item = TABLE
                .iter()
                .find(|item| item.name == name)
                .ok_or_else(|| Error::Invalid(format!("unknown option {}", shown(&name, &seen))))?;
            if seen.contains(&item.name) {
                return Err(Error::Invalid(format!("option \"{name}\" is given twice")));
            }
            seen.push(item.name);
            item.apply(&mut options, value)?;
        }
        if options.cert.is_some() != options.key.is_some() {
            return Err(Error::Invalid("options cert and key go together".into()));
        }
        if options.user.is_some() != options.password.is_some() {
            return Err(Error::Invalid(
                "option user goes with password or password_file, and these with it".into(),
            ));
        }
        if options.insecure && options.cacert.is_some() {
            return Err(Error::Invalid("options insecure and cacert exclude each other".into()));
        }
        Ok(options)
    }
}

impl Item {
    fn apply(&self, options: &mut Options, value: Option<String>) -> Result<()> {
        let name = self.name;
        let invalid = |why: String| Err(Error::Invalid(format!("option \"{name}\": {why}")));
        if self.built == Built::NotYet {
            return Err(Error::Unsupported(format!("option \"{name}\" is not built yet")));
        }
        if let Kind::Word(set) = self.kind {
            if value.is_some() {
                return invalid("takes no value".into());
            }
            set(options);
            return Ok(());
        }
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return invalid("needs a value".into());
        };
        match self.kind {
            Kind::Word(_) => {}
            Kind::Text(set) => set(options, value),
            Kind::File(set) => set(options, value.into()),
            Kind::Password(password) => {
                if options.password.replace(password(value)).is_some() {
                    return Err(Error::Invalid(
                        "options password and password_file exclude each other".into(),
                    ));
                }
            }
            Kind::Time { least, most, set } => match time(&value) {
                Some(time) if (least..=most).contains(&time) => set(options, time),
                Some(_) => {
                    return invalid(format!("\"{value}\" is not from {least:?} to {most:?}"))
                }
                None => {
                    return invalid(format!("\"{value}\" is no time such as 500ms, 5s, 2m, 1h"))
                }
            },
            Kind::Size { least, most, set } => match size(&value) {
                Some(size) if (least..=most).contains(&size) => set(options, size),
                Some(_) => {
                    return invalid(format!("\"{value}\" is not from {least} to {most} bytes"))
                }
                None => {
                    return invalid(format!("\"{value}\" is no size such as 65536, 512KiB, 2MiB"))
                }
            },
            Kind::OneOf(choices) => match choices.iter().find(|(choice, _)| *choice == value) {
                Some((_, Built::Yes)) => {}
                Some((_, Built::NotYet)) => {
                    return Err(Error::Unsupported(format!(
                        "option \"{name}={value}\" is not built yet"
                    )))
                }
                None => return invalid(format!("unknown value \"{value}\"")),
            },
        }
        Ok(())
    }
}

/// An item's name, for an error text. After a password it can be the rest of one that
/// needs quotes.
fn shown(name: &str, before: &[&str]) -> String {
    match before.contains(&"password") {
        true => "after the password, which needs '…' if it has a separator in it".into(),
        false => format!("\"{name}\""),
    }
}

/// Leases have whole seconds, and the server makes 2 of less.
pub fn whole_seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs((time.as_secs() + up).max(2))
}

#[cfg(test)]
mod tests;
