//! Events as C sees them.

use super::arena::Arena;
use super::callback::OwnedData;
use super::errmsg;
use super::status;
use super::types::{hmkv_event, hmkv_event_code, hmkv_event_code::*, hmkv_kv};
use crate::error::{Error, Result};
use crate::feed::Item;
use crate::types::{EventKind, KeyValue};
use crate::watch::{Address, Keeper, Told};
use std::ffi::CString;
use std::ptr;

/// An event with all that it points to. The block is reused from one to the next.
pub struct EventMemory {
    event: hmkv_event,
    kv: hmkv_kv,
    prev: hmkv_kv,
    _arena: Arena,
    detail: Option<CString>,
}

// SAFETY: its pointers lead into itself.
unsafe impl Send for EventMemory {}

impl EventMemory {
    pub fn of_item(item: &Item) -> Result<Box<Self>> {
        match item {
            Item::Change { event, last, revision } => {
                let kind = match event.kind {
                    EventKind::Put => HMKV_EVENT_PUT,
                    EventKind::Delete => HMKV_EVENT_DELETE,
                };
                let mut memory = Self::new(kind, *revision, &event.kv, event.prev.as_ref())?;
                memory.event.last_of_revision = *last;
                Ok(memory)
            }
            Item::Synced(revision) => Self::plain(HMKV_EVENT_SYNCED, *revision, None, None),
            Item::Resync { revision, why } => {
                let why = Error::Compacted(why.clone());
                Self::plain(HMKV_EVENT_RESYNC, *revision, None, Some(errmsg::line(&why)))
            }
            Item::Cut(why) => {
                let why = Error::Unavailable(why.clone());
                Self::plain(HMKV_EVENT_STATE, 0, Some(&why), Some(errmsg::line(&why)))
            }
            Item::Back => {
                Self::plain(HMKV_EVENT_STATE, 0, None, Some(c"the watch is there again".into()))
            }
        }
    }

    pub fn of_end(why: &Error) -> Result<Box<Self>> {
        Self::plain(HMKV_EVENT_END, 0, Some(why), Some(errmsg::line(why)))
    }

    fn plain(
        kind: hmkv_event_code,
        revision: i64,
        failure: Option<&Error>,
        detail: Option<CString>,
    ) -> Result<Box<Self>> {
        let mut memory = Self::new(kind, revision, &KeyValue::default(), None)?;
        memory.event.kv = ptr::null();
        memory.event.status = failure.map_or(status::OK, status::of);
        memory.detail = detail;
        memory.event.detail = memory.detail.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        Ok(memory)
    }

    fn new(
        kind: hmkv_event_code,
        revision: i64,
        kv: &KeyValue,
        prev: Option<&KeyValue>,
    ) -> Result<Box<Self>> {
        let none = KeyValue::default();
        let mut arena = Arena::for_kvs(&[kv.clone(), prev.cloned().unwrap_or_default()])?;
        let mut memory = Box::new(Self {
            kv: arena.kv(kv),
            prev: arena.kv(prev.unwrap_or(&none)),
            _arena: arena,
            detail: None,
            event: hmkv_event {
                r#type: kind as i32,
                status: status::OK,
                kv: ptr::null(),
                prev: ptr::null(),
                revision,
                detail: ptr::null(),
                last_of_revision: false,
                reserved: [0; 7],
            },
        });
        memory.event.kv = &raw const memory.kv;
        if prev.is_some() {
            memory.event.prev = &raw const memory.prev;
        }
        Ok(memory)
    }

    pub fn event(&self) -> *const hmkv_event {
        &raw const self.event
    }
}

/// Keeps the last event for who pulls.
pub struct EventOut {
    /// Dropped with it.
    _data: OwnedData,
    last: Option<Box<EventMemory>>,
}

impl EventOut {
    pub fn new(data: OwnedData) -> Self {
        Self { _data: data, last: None }
    }
}

impl Keeper for EventOut {
    fn keep(&mut self, told: Told) -> Result<Address> {
        let memory = match told {
            Told::Item(item) => EventMemory::of_item(&item)?,
            Told::Ended(why) => EventMemory::of_end(&why)?,
        };
        let address = Address(memory.event().cast());
        self.last = Some(memory);
        Ok(address)
    }
}
