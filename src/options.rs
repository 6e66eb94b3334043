//! The options of `hmkv_open`: one table from which the parser, the defaults and
//! the manual come.

mod grammar;
mod password;

pub use grammar::{is_separator, time};
pub use password::Password;

use crate::error::{Error, Result};
use grammar::{items, size};
use password::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// A word, and what it does.
type Choice = (&'static str, fn(&mut Options));

enum Kind {
    Word(fn(&mut Options)),
    Time {
        least: Duration,
        most: Duration,
        set: fn(&mut Options, Duration),
    },
    /// A time, or 0 for never.
    Every {
        least: Duration,
        most: Duration,
        set: fn(&mut Options, Duration),
    },
    Size {
        least: usize,
        most: usize,
        set: fn(&mut Options, usize),
    },
    Text(fn(&mut Options, String)),
    File(fn(&mut Options, PathBuf)),
    Password(fn(String) -> Password),
    OneOf(&'static [Choice]),
}

/// What only the manual shows is read by the test that keeps the README current.
#[cfg_attr(not(test), allow(dead_code))]
struct Item {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    meaning: &'static str,
}

/// Where callbacks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    Thread,
    Poll,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub timeout: Duration,
    pub wait: Duration,
    pub sync: Duration,
    pub srv_name: Option<String>,
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
    pub slow: Duration,
    pub max_request: usize,
    pub keepalive: Duration,
    pub dispatch: Dispatch,
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
        kind: Kind::Time { least: MS, most: HOUR, set: |o, v| o.timeout = v },
        meaning: "how long a request may take, connecting and retries included; of a large range, each page",
    },
    Item {
        name: "wait",
        default: "0",
        kind: Kind::Time { least: Duration::ZERO, most: YEAR, set: |o, v| o.wait = v },
        meaning: "how long opening waits for a first linearizable read; 0: opening needs no server",
    },
    Item {
        name: "close_timeout",
        default: "2s",
        kind: Kind::Time { least: Duration::ZERO, most: HOUR, set: |o, v| o.close_timeout = v },
        meaning: "how long closing may take",
    },
    Item {
        name: "temp_ttl",
        default: "10s",
        kind: Kind::Time { least: MS, most: YEAR, set: |o, v| o.temp_ttl = whole_seconds(v) },
        meaning: "lease of the temporary keys; rounded up to seconds, at least 2",
    },
    Item {
        name: "lock",
        default: "hbtd_dist_lock",
        kind: Kind::Text(|o, v| o.lock = v),
        meaning: "name of the distributed lock",
    },
    Item {
        name: "lock_ttl",
        default: "10s",
        kind: Kind::Time { least: MS, most: YEAR, set: |o, v| o.lock_ttl = whole_seconds(v) },
        meaning: "lease of the lock; rounded up to seconds, at least 2",
    },
    Item {
        name: "cacert",
        default: "the system's",
        kind: Kind::File(|o, v| o.cacert = Some(v)),
        meaning: "file of the authorities that may have signed the server's certificate (PEM)",
    },
    Item {
        name: "cert",
        default: "none",
        kind: Kind::File(|o, v| o.cert = Some(v)),
        meaning: "file of the client's certificate chain (PEM); goes with `key`",
    },
    Item {
        name: "key",
        default: "none",
        kind: Kind::File(|o, v| o.key = Some(v)),
        meaning: "file of the client's private key (PEM); goes with `cert`",
    },
    Item {
        name: "server_name",
        default: "the URL's host",
        kind: Kind::Text(|o, v| o.server_name = Some(v)),
        meaning: "name that the server's certificate must have",
    },
    Item {
        name: "insecure",
        default: "off",
        kind: Kind::Word(|o| o.insecure = true),
        meaning: "believes any server on https, whatever its certificate says",
    },
    Item {
        name: "debug",
        default: "off",
        kind: Kind::Word(|o| o.debug = true),
        meaning: "sets the log level of the process to debug",
    },
    Item {
        name: "slow",
        default: "0",
        kind: Kind::Time { least: Duration::ZERO, most: HOUR, set: |o, v| o.slow = v },
        meaning: "requests that took at least so long are logged as a warning, with their key; 0: none",
    },
    Item {
        name: "max_request",
        default: "1536KiB",
        kind: Kind::Size { least: 1024, most: 1 << 30, set: |o, v| o.max_request = v },
        meaning: "largest request that is sent; the server has a limit of its own",
    },
    Item {
        name: "keepalive",
        default: "10s",
        // Servers end connections that are pinged more often than every 5 s.
        kind: Kind::Time { least: Duration::from_secs(6), most: HOUR, set: |o, v| o.keepalive = v },
        meaning: "how often an idle connection is tested by an HTTP/2 ping, at least 6s",
    },
    Item {
        name: "dispatch",
        default: "thread",
        kind: Kind::OneOf(&[
            ("thread", |o| o.dispatch = Dispatch::Thread),
            ("poll", |o| o.dispatch = Dispatch::Poll),
        ]),
        meaning: "where callbacks run: on threads of the library, or in hmkv_dispatch()",
    },
    Item {
        name: "namespace",
        default: "none",
        kind: Kind::Text(|o, v| o.namespace = v),
        meaning: "prefix of all keys, lock names included, that this handle never sees",
    },
    Item {
        name: "user",
        default: "none",
        kind: Kind::Text(|o, v| o.user = Some(v)),
        meaning: "name to authenticate with; goes with one of the next two; no effect on `mem:`",
    },
    Item {
        name: "password",
        default: "none",
        kind: Kind::Password(|v| Password::Given(Secret(v))),
        meaning: "password to authenticate with",
    },
    Item {
        name: "password_file",
        default: "none",
        kind: Kind::Password(|v| Password::File(v.into())),
        meaning: "file with the password and nothing else, read at each authentication",
    },
    Item {
        name: "sync",
        default: "0",
        // Each look is a request, and a connection to see that the list leads somewhere.
        kind: Kind::Every { least: S, most: YEAR, set: |o, v| o.sync = v },
        meaning: "how often, at least 1s, the cluster tells its members, which replace the given \
                  ones, with https alone where all of those have it; 0: never",
    },
    Item {
        name: "srv_name",
        default: "none",
        kind: Kind::Text(|o, v| o.srv_name = Some(v)),
        meaning: "with `srv:DOMAIN`: suffix of the service, as etcdctl's `--discovery-srv-name`",
    },
];

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: 5 * S,
            wait: Duration::ZERO,
            sync: Duration::ZERO,
            srv_name: None,
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
            slow: Duration::ZERO,
            max_request: 1536 * 1024,
            keepalive: 10 * S,
            dispatch: Dispatch::Thread,
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
    fn may_be_never(&self) -> bool {
        matches!(self.kind, Kind::Every { .. })
    }

    fn apply(&self, options: &mut Options, value: Option<String>) -> Result<()> {
        let name = self.name;
        let invalid = |why: String| Err(Error::Invalid(format!("option \"{name}\": {why}")));
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
            Kind::Time { least, most, set } | Kind::Every { least, most, set } => {
                match time(&value) {
                    Some(time) if (least..=most).contains(&time) => set(options, time),
                    Some(Duration::ZERO) if self.may_be_never() => set(options, Duration::ZERO),
                    Some(_) => {
                        let nor = if self.may_be_never() { ", nor 0 for never" } else { "" };
                        return invalid(format!(
                            "{} is not from {least:?} to {most:?}{nor}",
                            word(&value)
                        ));
                    }
                    None => {
                        return invalid(format!(
                            "{} is no time such as 500ms, 5s, 2m, 1h",
                            word(&value)
                        ))
                    }
                }
            }
            Kind::Size { least, most, set } => match size(&value) {
                Some(size) if (least..=most).contains(&size) => set(options, size),
                Some(_) => {
                    return invalid(format!("{} is not from {least} to {most} bytes", word(&value)))
                }
                None => {
                    return invalid(format!(
                        "{} is no size such as 65536, 512KiB, 2MiB",
                        word(&value)
                    ))
                }
            },
            Kind::OneOf(choices) => match choices.iter().find(|(choice, _)| *choice == value) {
                Some((_, set)) => set(options),
                None => return invalid(format!("{} is not known here", word(&value))),
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

/// A value, for an error text. What is no word may have a password in it, by a quote that
/// stands in the wrong place.
fn word(value: &str) -> String {
    match value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')) {
        true => format!("\"{value}\""),
        false => "the value".into(),
    }
}

/// Leases have whole seconds, and the server makes 2 of less.
pub fn whole_seconds(time: Duration) -> Duration {
    let up = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs((time.as_secs() + up).max(2))
}

#[cfg(test)]
mod tests;
