//! How options are written: items, times and sizes.

use crate::error::{Error, Result};
use std::time::Duration;

pub fn time(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    let unit_ms = match &text[unit..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

pub fn size(text: &str) -> Option<usize> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..unit].parse().ok()?;
    let factor = match &text[unit..] {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.checked_mul(factor)
}

pub fn is_separator(c: char) -> bool {
    c == ',' || c == ';' || c.is_ascii_whitespace()
}

/// Splits `name=value` and `name` items. No error text holds a value: it may be a
/// password.
pub fn items(text: &str) -> Result<Vec<(String, Option<String>)>> {
    let mut items: Vec<(String, Option<String>)> = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| is_separator(*c)).is_some() {}
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !is_separator(*c)) {
            name.push(c);
        }
        if chars.next_if_eq(&'=').is_none() {
            if name.is_empty() {
                return Ok(items);
            }
            items.push((name, None));
            continue;
        }
        let mut value = String::new();
        if chars.next_if_eq(&'\'').is_some() {
            loop {
                match chars.next() {
                    Some('\'') => break,
                    Some('\\') => value.extend(chars.next()),
                    Some(c) => value.push(c),
                    None => {
                        return Err(wrong(&items, &name, "the quote is not closed"));
                    }
                }
            }
            if chars.peek().is_some_and(|c| !is_separator(*c)) {
                return Err(wrong(&items, &name, "text after the closing quote"));
            }
        } else {
            while let Some(c) = chars.next_if(|c| !is_separator(*c)) {
                value.push(c);
            }
        }
        items.push((name, Some(value)));
    }
}

/// After a password the name can be the rest of one that needs quotes.
fn wrong(before: &[(String, Option<String>)], name: &str, why: &str) -> Error {
    Error::Invalid(match before.iter().any(|(name, _)| name == "password") {
        true => format!("after the password: {why}"),
        false => format!("option \"{name}\": {why}"),
    })
}
