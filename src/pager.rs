//! Reads a range of any size at one revision, page by page. It only decides; others
//! ask.

use crate::error::{Error, Result};
use crate::request::{Found, Range, Sort};
use crate::types::{KeyRange, KeyValue, RangeEnd};
use bytes::Bytes;

/// Keys in the first page, before their size is known; without values; the size that
/// later pages aim at; and how much larger than all before one may be.
const FIRST_PAGE: i64 = 8;
const FIRST_PAGE_OF_KEYS: i64 = 4096;
const PAGE_BYTES: usize = 4 << 20;
const GROWTH: i64 = 64;

pub struct Pager {
    asked: Range,
    paged: bool,
    read: Found,
    /// Size of what was read.
    bytes: usize,
    /// Some was read, all was read.
    begun: bool,
    done: bool,
}

impl Pager {
    /// In one page where the backend copies nothing to make it.
    pub fn new(asked: Range, in_pages: bool) -> Self {
        // The first of another order than by key are known to the server alone.
        let server_sorts = asked.limit > 0 && !asked.is_in_key_order();
        let single = asked.keys.end == RangeEnd::Single;
        let paged = in_pages && !single && !server_sorts && !asked.count_only;
        Self { asked, paged, read: Found::default(), bytes: 0, begun: false, done: false }
    }

    /// What to ask for; none when all is read.
    pub fn next(&self) -> Option<Range> {
        if self.done {
            return None;
        }
        let mut page = sent(&self.asked);
        if self.paged {
            (page.sort, page.descending) = (Sort::Key, false);
            page.limit = self.page_size();
        }
        if let Some(last) = self.read.kvs.last() {
            let key = Bytes::from([&last.key[..], b"\0"].concat());
            page.keys = KeyRange { key, end: page.keys.end };
            page.revision = self.read.revision;
            page.serializable = false; // that member may be behind another
        }
        Some(page)
    }

    /// How many keys make about [`PAGE_BYTES`], going by those that were read.
    fn page_size(&self) -> i64 {
        let read = self.read.kvs.len() as i64;
        let page = if read == 0 {
            if self.asked.keys_only {
                FIRST_PAGE_OF_KEYS
            } else {
                FIRST_PAGE
            }
        } else {
            let average = (self.bytes / self.read.kvs.len()).max(1);
            ((PAGE_BYTES / average) as i64).clamp(1, GROWTH * read)
        };
        match self.asked.limit {
            limit if limit > 0 && self.asked.is_in_key_order() => page.min(limit - read),
            _ => page,
        }
    }

    pub fn take(&mut self, answer: Result<Found>) -> Result<()> {
        let page = match answer {
            Ok(page) => page,
            // The revision of the first page is gone: begin at a newer one.
            Err(Error::Compacted(_)) if self.begun && self.asked.revision == 0 => {
                (self.read, self.bytes, self.begun) = (Found::default(), 0, false);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let more = self.paged && page.more && !page.kvs.is_empty();
        let sizes = page.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 64);
        self.bytes += sizes.sum::<usize>();
        if self.begun {
            let no_memory = |_| Error::NoMemory("for the answer".into());
            self.read.kvs.try_reserve(page.kvs.len()).map_err(no_memory)?;
            self.read.kvs.extend(page.kvs);
        } else {
            self.read = page;
            if self.asked.revision > 0 {
                self.read.revision = self.asked.revision;
            }
            self.begun = true;
        }
        let enough = self.asked.limit > 0
            && self.asked.is_in_key_order()
            && self.read.kvs.len() as i64 >= self.asked.limit;
        self.done = !more || enough;
        Ok(())
    }

    /// What was asked for, and the keys in their order; see [`arrange`].
    pub fn finish(self) -> (Range, Found) {
        (self.asked, self.read)
    }
}

/// The range as it is sent: sorting by values takes values.
pub fn sent(asked: &Range) -> Range {
    let keys_only = asked.keys_only && asked.sort != Sort::Value;
    Range { keys_only, ..asked.clone() }
}

/// Makes of the answer to [`sent`] what was asked for.
pub fn arrange(asked: &Range, kvs: &mut [KeyValue]) {
    if !asked.is_in_key_order() {
        asked.arrange(kvs);
    }
    asked.strip_values(kvs);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of `keys` keys, which counts what is asked of it.
    fn read(asked: Range, keys: usize, compact_at: Option<usize>) -> Result<(Vec<Bytes>, usize)> {
        let mut pager = Pager::new(asked, true);
        let mut pages = 0;
        while let Some(page) = pager.next() {
            pages += 1;
            if compact_at == Some(pages) {
                pager.take(Err(Error::Compacted(String::new())))?;
                continue;
            }
            let all = (0..keys).map(|n| Bytes::from(format!("{n:06}")));
            let all: Vec<Bytes> = all.filter(|key| page.keys.contains(key)).collect();
            let limit = if page.limit > 0 { page.limit as usize } else { usize::MAX };
            let kvs = all.iter().take(limit);
            let kvs = kvs.map(|key| KeyValue { key: key.clone(), ..Default::default() }).collect();
            let (total, more) = (all.len() as u64, all.len() > limit);
            pager.take(Ok(Found { kvs, revision: 7, total, more }))?;
        }
        let (asked, mut found) = pager.finish();
        arrange(&asked, &mut found.kvs);
        assert_eq!((found.revision, found.total), (7, keys as u64));
        Ok((found.kvs.into_iter().map(|kv| kv.key).collect(), pages))
    }

    fn all() -> Range {
        Range::new(KeyRange::prefix(b""))
    }

    #[test]
    fn pages_make_the_whole() {
        for keys in [0, 1, 7, 8, 9, 520, 521, 5000] {
            let (read, _) = read(all(), keys, None).expect("read");
            assert_eq!(read.len(), keys);
            assert!(read.is_sorted());
        }
    }

    #[test]
    fn a_limit_takes_no_page_too_many() {
        for (limit, expected_pages) in [(1, 1), (8, 1), (9, 2), (520, 2), (521, 3)] {
            let (read, pages) = read(Range { limit, ..all() }, 5000, None).expect("read");
            assert_eq!((read.len() as i64, pages), (limit, expected_pages));
        }
    }

    #[test]
    fn the_largest_first_is_read_by_pages_and_turned() {
        let (read, _) = read(Range { descending: true, ..all() }, 600, None).expect("read");
        assert!(read.len() == 600 && read.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn a_compaction_between_pages_begins_anew_unless_the_revision_was_asked_for() {
        let (keys, pages) = read(all(), 600, Some(2)).expect("read");
        assert_eq!((keys.len(), pages), (600, 5));
        assert!(read(Range { revision: 7, ..all() }, 600, Some(2)).is_err());
        assert!(read(all(), 600, Some(1)).is_err());
    }
}
