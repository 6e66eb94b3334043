//! Faults that a test wants of `mem:`, and how they are written.

use crate::error::{Error, Result};
use crate::options::{is_separator, time};
use std::time::Duration;

const MOST: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The leases of the handle end.
    Expire,
    Compact,
    /// The handle reaches nothing for so long; zero ends that.
    Cut(Duration),
    /// Answers take so long from now on.
    Delay(Duration),
    /// A write's answer is lost.
    Indeterminate(Fate),
}

/// What becomes of a write whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Applied,
    Dropped,
}

/// At least one fault, separated as options are.
pub fn parse(text: &str) -> Result<Vec<Fault>> {
    let items = text.split(is_separator).filter(|item| !item.is_empty());
    let faults: Vec<Fault> = items
        .map(|item| {
            let at = item.as_ptr() as usize - text.as_ptr() as usize;
            one(item).map_err(|why| Error::Invalid(format!("fault at byte {at}: {why}")))
        })
        .collect::<Result<_>>()?;
    if faults.is_empty() {
        return Err(Error::Invalid("there is no fault in the text".into()));
    }
    Ok(faults)
}

fn one(item: &str) -> std::result::Result<Fault, String> {
    let (name, value) = match item.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (item, None),
    };
    match (name, value) {
        ("expire", None) => Ok(Fault::Expire),
        ("compact", None) => Ok(Fault::Compact),
        ("expire" | "compact", Some(_)) => Err(format!("\"{name}\" takes no value")),
        ("cut", Some(value)) => at_most_an_hour(value).map(Fault::Cut),
        ("delay", Some(value)) => at_most_an_hour(value).map(Fault::Delay),
        ("cut" | "delay", None) => Err(format!("\"{name}\" needs a time, as in \"{name}=3s\"")),
        ("indeterminate", None | Some("applied")) => Ok(Fault::Indeterminate(Fate::Applied)),
        ("indeterminate", Some("dropped")) => Ok(Fault::Indeterminate(Fate::Dropped)),
        ("indeterminate", Some(value)) => {
            Err(format!("\"{value}\" is not an outcome: applied or dropped"))
        }
        _ => Err(format!("\"{name}\" is not known: expire, compact, cut, delay or indeterminate")),
    }
}

fn at_most_an_hour(value: &str) -> std::result::Result<Duration, String> {
    match time(value) {
        Some(time) if time <= MOST => Ok(time),
        Some(_) => Err(format!("\"{value}\" is more than an hour")),
        None => Err(format!("\"{value}\" is not a time: 0, 500ms, 5s, 2m or 1h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_taken_in_their_order() {
        let ms = Duration::from_millis;
        let text = ", expire;compact\tcut=0 delay=50ms,,cut=1h";
        let faults = [
            Fault::Expire,
            Fault::Compact,
            Fault::Cut(ms(0)),
            Fault::Delay(ms(50)),
            Fault::Cut(MOST),
        ];
        assert_eq!(parse(text).expect("faults"), faults);
        let lost = Fault::Indeterminate;
        let text = "indeterminate indeterminate=applied indeterminate=dropped";
        let fates = [lost(Fate::Applied), lost(Fate::Applied), lost(Fate::Dropped)];
        assert_eq!(parse(text).expect("faults"), fates);
    }

    #[test]
    fn an_error_says_where_and_what() {
        for (text, why) in [
            ("", "there is no fault in the text"),
            (" ,;", "there is no fault in the text"),
            (
                "expire,cutt=1s",
                "fault at byte 7: \"cutt\" is not known: \
                 expire, compact, cut, delay or indeterminate",
            ),
            ("EXPIRE", "fault at byte 0: \"EXPIRE\" is not known"),
            ("=1s", "fault at byte 0: \"\" is not known"),
            ("\u{a0}cut=1s", "fault at byte 0: \"\u{a0}cut\" is not known"),
            ("cut", "fault at byte 0: \"cut\" needs a time, as in \"cut=3s\""),
            ("cut=", "fault at byte 0: \"\" is not a time: 0, 500ms, 5s, 2m or 1h"),
            ("cut=1s delay=3", "fault at byte 7: \"3\" is not a time: 0, 500ms, 5s, 2m or 1h"),
            ("delay=61m", "fault at byte 0: \"61m\" is more than an hour"),
            ("expire=1s", "fault at byte 0: \"expire\" takes no value"),
            ("compact=", "fault at byte 0: \"compact\" takes no value"),
            ("indeterminate=yes", "fault at byte 0: \"yes\" is not an outcome: applied or dropped"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
