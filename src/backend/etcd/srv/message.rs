//! Reads a DNS message. It comes from the network, so nothing in it is believed: a
//! length is checked before it is used, and a name that points on does so backwards
//! only, so that each ends.

use crate::endpoint::is_legal;

pub const SRV: u16 = 33;
pub const INTERNET: u16 = 1;

const HEADER: usize = 12;
const NAME_MOST: usize = 255;

/// What an answer says of a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub records: Vec<Record>,
    /// Seconds for which all of them are good.
    pub ttl: u32,
    /// How many records were there that no host can be asked by.
    pub passed_over: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub priority: u16,
    pub weight: u16,
    /// Without a dot at its end.
    pub host: String,
    pub port: u16,
}

/// The SRV records among the answers; None for a message that is none.
pub fn parse(message: &[u8]) -> Option<Answer> {
    let mut at = Reader { message, at: 0 };
    let header: [u8; HEADER] = *at.take(HEADER)?.first_chunk()?;
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (is_response, code) = (header[2] & 0x80 != 0, header[3] & 0x0f);
    if !is_response || code != 0 {
        return None;
    }
    for _ in 0..count(4) {
        at.name()?;
        at.take(4)?;
    }
    let mut answer = Answer { ttl: u32::MAX, ..Answer::default() };
    for _ in 0..count(6) {
        at.name()?;
        let (kind, class, ttl) = (at.u16()?, at.u16()?, at.u32()?);
        let length = usize::from(at.u16()?);
        let data = Reader { message, at: at.at };
        at.take(length)?;
        if (kind, class) != (SRV, INTERNET) {
            continue;
        }
        // RFC 2181: what is negative as a signed number is 0.
        answer.ttl = answer.ttl.min(if ttl > i32::MAX as u32 { 0 } else { ttl });
        match data.record(length)? {
            Target::Host(record) => answer.records.push(record),
            Target::Nowhere => {}
            Target::Odd => answer.passed_over += 1,
        }
    }
    Some(answer)
}

enum Target {
    Host(Record),
    /// RFC 2782: the service is decidedly not there.
    Nowhere,
    Odd,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The data of a record, of this length.
    fn record(mut self, length: usize) -> Option<Target> {
        let end = self.at + length;
        let (priority, weight, port) = (self.u16()?, self.u16()?, self.u16()?);
        let labels = self.name()?;
        if self.at != end {
            return None;
        }
        if labels.is_empty() {
            return Some(Target::Nowhere);
        }
        let host = labels.into_iter().map(legal).collect::<Option<Vec<_>>>();
        Some(match host {
            Some(host) if port > 0 => {
                Target::Host(Record { priority, weight, host: host.join("."), port })
            }
            _ => Target::Odd,
        })
    }

    /// The labels of a name, whatever bytes they have.
    fn name(&mut self) -> Option<Vec<&'a [u8]>> {
        let mut labels = Vec::new();
        let mut length = 1;
        let mut part = *self; // where the name goes on
        let mut limit = self.at; // what a pointer has to be below
        let mut is_own = true; // not behind a pointer yet
        loop {
            let first = part.take(1)?[0];
            match first >> 6 {
                0 if first == 0 => break,
                0 => {
                    let label = part.take(usize::from(first))?;
                    length += label.len() + 1;
                    labels.push(label);
                }
                3 => {
                    let low = part.take(1)?[0];
                    if std::mem::take(&mut is_own) {
                        self.at = part.at;
                    }
                    let to = usize::from(first & 0x3f) << 8 | usize::from(low);
                    if to >= limit {
                        return None;
                    }
                    (limit, part.at) = (to, to);
                }
                _ => return None,
            }
            if length > NAME_MOST {
                return None;
            }
        }
        if is_own {
            self.at = part.at;
        }
        Some(labels)
    }
}

fn legal(label: &[u8]) -> Option<&str> {
    std::str::from_utf8(label).ok().filter(|label| label.chars().all(is_legal))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An answer with these records: their owner is the question's name.
    pub fn message(count: u16, records: &[u8]) -> Vec<u8> {
        let mut message = vec![0, 7, 0x81, 0x80, 0, 1];
        message.extend(count.to_be_bytes());
        message.extend([0; 4]);
        message.extend(b"\x04_srv\x04test\0\0\x21\0\x01");
        message.extend(records);
        message
    }

    pub fn record(ttl: u32, fields: [u16; 3], target: &[u8]) -> Vec<u8> {
        let mut record = b"\xc0\x0c\0\x21\0\x01".to_vec();
        record.extend(ttl.to_be_bytes());
        record.extend((6 + target.len() as u16).to_be_bytes());
        record.extend(fields.iter().flat_map(|field| field.to_be_bytes()));
        record.extend(target);
        record
    }

    fn hosts(message: &[u8]) -> Option<Vec<String>> {
        let answer = parse(message)?;
        Some(answer.records.iter().map(|it| format!("{}:{}", it.host, it.port)).collect())
    }

    #[test]
    fn records_are_read_and_others_are_skipped() {
        let mut records = record(60, [1, 2, 2379], b"\x01a\x04test\0");
        records.extend(b"\x01b\0\0\x05\0\x01\0\0\0\x01\0\x02\xc0\x0c"); // a CNAME
        records.extend(record(30, [0, 0, 1], b"\x01b\xc0\x11"));
        let answer = parse(&message(3, &records)).expect("well formed");
        let first = Record { priority: 1, weight: 2, host: "a.test".into(), port: 2379 };
        let second = Record { priority: 0, weight: 0, host: "b.test".into(), port: 1 };
        assert_eq!(answer, Answer { records: vec![first, second], ttl: 30, passed_over: 0 });
        assert_eq!(parse(&message(0, b"")).map(|answer| answer.records.len()), Some(0));
        let negative = message(1, &record(u32::MAX, [0, 0, 1], b"\x01a\0"));
        assert_eq!(parse(&negative).map(|answer| answer.ttl), Some(0));
    }

    #[test]
    fn a_target_that_is_no_host_is_passed_over() {
        for (target, port) in [
            (&b"\x01 \0"[..], 1),
            (b"\x01a\x03b.c\0", 1),
            (b"\x02a\0\0", 1),
            (b"\x02\xc3\xbc\0", 1),
            (b"\x01@\0", 1),
            (b"\x01:\0", 1),
            (b"\x01a\0", 0),
        ] {
            let answer = parse(&message(1, &record(1, [0, 0, port], target)));
            let answer = answer.expect("well formed");
            assert_eq!((answer.records.len(), answer.passed_over), (0, 1), "{target:?}");
        }
        let nowhere = parse(&message(1, &record(1, [0, 0, 0], b"\0"))).expect("well formed");
        assert_eq!((nowhere.records.len(), nowhere.passed_over), (0, 0));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let good = message(1, &record(1, [0, 0, 1], b"\x01a\x04test\0"));
        assert_eq!(hosts(&good), Some(vec!["a.test:1".into()]));
        for length in 0..good.len() {
            assert_eq!(hosts(&good[..length]), None, "cut after {length}");
        }
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            hosts(&bad)
        };
        assert_eq!(with(2, 0x01), None, "a question");
        assert_eq!(with(3, 0x83), None, "no such name");
        assert_eq!(with(4, 0xff), None, "more questions than there are");
        assert_eq!(with(6, 0xff), None, "more answers than there are");
        let at = good.len();
        let target = |target: &[u8]| hosts(&message(1, &record(1, [0, 0, 1], target)));
        let to = |at: usize| [0xc0 | (at >> 8) as u8, at as u8];
        assert_eq!(target(&to(at - 8)), None, "points at itself");
        assert_eq!(target(&to(at)), None, "points on");
        assert_eq!(target(&[b"\x01a", &to(at - 8)[..]].concat()), None, "goes in a circle");
        assert_eq!(target(b"\x40a\0"), None, "no kind of label");
        assert_eq!(target(b"\x80a\0"), None, "no kind of label");
        assert_eq!(target(b"\x01a\0\0"), None, "more data than a name");
        let mut short = record(1, [0, 0, 1], b"\x01a\0");
        short[11] -= 1;
        assert_eq!(hosts(&message(1, &short)), None, "less data than a name");
        let label = [&[63][..], &[b'x'; 63]].concat();
        let three = label.repeat(3);
        let fits = [&three[..], &[61], &[b'x'; 61], &[0]].concat();
        assert_eq!(target(&fits).map(|hosts| hosts.len()), Some(1));
        let long = [&three[..], &[62], &[b'x'; 62], &[0]].concat();
        assert_eq!(target(&long), None, "longer than names are");
    }
}
