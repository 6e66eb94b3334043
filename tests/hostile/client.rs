//! The library as a program in C sees it, and what it costs the process.

use crate::server::THREAD;
use hmkv as _; // exports what is declared here
use std::ffi::{c_char, c_void, CStr, CString};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const OK: i32 = 0;
pub const TIMED_OUT: i32 = 4;
pub const EUNAVAIL: i32 = -7;
pub const EINDETERMINATE: i32 = -8;
pub const EINTERNAL: i32 = -19;
const NTS: usize = usize::MAX;

extern "C" {
    fn hmkv_open(endpoint: *const c_char, options: *const c_char, out: *mut *mut c_void) -> i32;
    fn hmkv_close(kv: *mut c_void) -> i32;
    fn hmkv_errmsg() -> *const c_char;
    fn hmkv_free(memory: *mut c_void);
    fn hmkv_store(kv: *mut c_void, key: *const c_char, value: *const c_char) -> i32;
    fn hmkv_get(kv: *mut c_void, key: *const c_char, value: *mut *mut c_char) -> i32;
    fn hmkv_delete(kv: *mut c_void, key: *const c_char) -> i32;
    fn hmkv_get_range(
        kv: *mut c_void,
        start: *const c_char,
        end: *const c_char,
        out: *mut *mut c_void,
    ) -> i32;
    fn hmkv_tas(
        kv: *mut c_void,
        key: *const c_char,
        test: *const c_char,
        set: *const c_char,
    ) -> i32;
    fn hmkv_put(
        kv: *mut c_void,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
        options: *const c_void,
    ) -> *mut c_void;
    fn hmkv_await(op: *mut c_void) -> *mut c_void;
    fn hmkv_then(
        op: *mut c_void,
        done: extern "C" fn(result: *mut c_void, userdata: *mut c_void),
        userdata: *mut c_void,
    );
    fn hmkv_result_status(result: *const c_void) -> i32;
    fn hmkv_result_count(result: *const c_void) -> usize;
    fn hmkv_result_free(result: *mut c_void);
    fn hmkv_txn_new(kv: *mut c_void) -> *mut c_void;
    fn hmkv_txn_put(
        txn: *mut c_void,
        branch: i32,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
        options: *const c_void,
    );
    fn hmkv_txn_range(
        txn: *mut c_void,
        branch: i32,
        key: *const c_char,
        key_len: usize,
        options: *const c_void,
    );
    fn hmkv_txn_commit(txn: *mut c_void, options: *const c_void) -> *mut c_void;
    fn hmkv_watch_open(
        kv: *mut c_void,
        key: *const c_char,
        key_len: usize,
        options: *const c_void,
        callback: *const c_void,
        userdata: *mut c_void,
        out: *mut *mut c_void,
    ) -> i32;
    fn hmkv_watch_next(watcher: *mut c_void, timeout_ms: i64, event: *mut *const Event) -> i32;
    fn hmkv_watch_close(watcher: *mut c_void) -> i32;
    fn hmkv_lease_grant(
        kv: *mut c_void,
        ttl_ms: i64,
        lost: *const c_void,
        userdata: *mut c_void,
        out: *mut *mut c_void,
    ) -> i32;
    fn hmkv_lease_left_ms(lease: *mut c_void) -> i64;
    fn hmkv_lease_close(lease: *mut c_void, revoke: bool) -> i32;
    fn hmkv_cluster_status(kv: *mut c_void, json: *mut *mut c_char) -> i32;
    fn hmkv_set_log(
        level: i32,
        line: Option<extern "C" fn(level: i32, line: *const c_char, userdata: *mut c_void)>,
        userdata: *mut c_void,
    );
    fn hmkv_dist_timed_lock(kv: *mut c_void, seconds: i32) -> i32;
    fn hmkv_dist_unlock(kv: *mut c_void) -> i32;
}

/// How long a call may take, and how much later a busy machine may see it end.
pub const TIMEOUT: Duration = Duration::from_millis(200);
pub const PATIENCE: Duration = Duration::from_millis(900);

pub struct Kv {
    handle: *mut c_void,
    closed: AtomicBool,
}

// The library takes any call from any thread.
unsafe impl Sync for Kv {}

fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

pub fn errmsg() -> String {
    unsafe { CStr::from_ptr(hmkv_errmsg()) }.to_string_lossy().into_owned()
}

impl Kv {
    pub fn open(endpoint: &str, timeout: Duration) -> Self {
        Self::open_with(endpoint, timeout, "")
    }

    pub fn open_with(endpoint: &str, timeout: Duration, more: &str) -> Self {
        let mut handle = std::ptr::null_mut();
        let timeout = timeout.as_millis();
        let options = c(&format!("timeout={timeout}ms close_timeout=1s lock_ttl=2s {more}"));
        assert_eq!(unsafe { hmkv_open(c(endpoint).as_ptr(), options.as_ptr(), &mut handle) }, OK);
        Self { handle, closed: AtomicBool::new(false) }
    }

    /// Once.
    pub fn close(&self) -> i32 {
        self.closed.store(true, Ordering::SeqCst);
        unsafe { hmkv_close(self.handle) }
    }

    pub fn store(&self, key: &str, value: &str) -> i32 {
        unsafe { hmkv_store(self.handle, c(key).as_ptr(), c(value).as_ptr()) }
    }

    pub fn put(&self, key: &str, value: &str) -> i32 {
        let (key, value) = (c(key), c(value));
        let none = std::ptr::null();
        finish(unsafe { hmkv_put(self.handle, key.as_ptr(), NTS, value.as_ptr(), NTS, none) })
    }

    /// Does not wait; the status is told later, once.
    pub fn put_then(&self, key: &str, value: &str, told: &'static Answers) {
        let (key, value, none) = (c(key), c(value), std::ptr::null());
        let userdata = (&raw const *told).cast_mut().cast();
        unsafe {
            let op = hmkv_put(self.handle, key.as_ptr(), NTS, value.as_ptr(), NTS, none);
            hmkv_then(op, tell, userdata);
        }
    }

    pub fn delete(&self, key: &str) -> i32 {
        unsafe { hmkv_delete(self.handle, c(key).as_ptr()) }
    }

    pub fn tas(&self, key: &str, test: &str, set: &str) -> i32 {
        unsafe { hmkv_tas(self.handle, c(key).as_ptr(), c(test).as_ptr(), c(set).as_ptr()) }
    }

    /// A transaction that stores a key and reads it.
    pub fn put_and_read(&self, key: &str, value: &str) -> i32 {
        const THEN: i32 = 1;
        let (key, value, none) = (c(key), c(value), std::ptr::null());
        finish(unsafe {
            let txn = hmkv_txn_new(self.handle);
            hmkv_txn_put(txn, THEN, key.as_ptr(), NTS, value.as_ptr(), NTS, none);
            hmkv_txn_range(txn, THEN, key.as_ptr(), NTS, none);
            hmkv_txn_commit(txn, none)
        })
    }

    pub fn get(&self, key: &str) -> Result<String, i32> {
        let mut value = std::ptr::null_mut();
        let status = unsafe { hmkv_get(self.handle, c(key).as_ptr(), &mut value) };
        if status != OK {
            return Err(status);
        }
        let text = unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned();
        unsafe { hmkv_free(value.cast()) };
        Ok(text)
    }

    /// How many keys there are.
    pub fn count(&self, start: &str, end: &str) -> Result<usize, i32> {
        let mut result = std::ptr::null_mut();
        let (start, end) = (c(start), c(end));
        let status =
            unsafe { hmkv_get_range(self.handle, start.as_ptr(), end.as_ptr(), &mut result) };
        if status != OK {
            return Err(status);
        }
        let count = unsafe { hmkv_result_count(result) };
        unsafe { hmkv_result_free(result) };
        Ok(count)
    }

    pub fn watch(&self, key: &str) -> Result<Watcher, i32> {
        let (mut watcher, null) = (std::ptr::null_mut(), std::ptr::null_mut());
        let none = std::ptr::null();
        let status = unsafe {
            hmkv_watch_open(self.handle, c(key).as_ptr(), NTS, none, none, null, &mut watcher)
        };
        if status == OK {
            Ok(Watcher(watcher))
        } else {
            Err(status)
        }
    }

    pub fn grant(&self, ttl_ms: i64) -> Result<Lease, i32> {
        let (mut lease, null) = (std::ptr::null_mut(), std::ptr::null_mut());
        let status =
            unsafe { hmkv_lease_grant(self.handle, ttl_ms, std::ptr::null(), null, &mut lease) };
        if status == OK {
            Ok(Lease(lease))
        } else {
            Err(status)
        }
    }

    /// The JSON.
    pub fn cluster_status(&self) -> Result<String, i32> {
        let mut json = std::ptr::null_mut();
        let status = unsafe { hmkv_cluster_status(self.handle, &mut json) };
        if status != OK {
            assert!(json.is_null(), "no text with {status}");
            return Err(status);
        }
        let text = unsafe { CStr::from_ptr(json) }.to_str().expect("UTF-8").to_owned();
        unsafe { hmkv_free(json.cast()) };
        Ok(text)
    }

    pub fn lock(&self) -> i32 {
        unsafe { hmkv_dist_timed_lock(self.handle, 0) }
    }

    pub fn unlock(&self) -> i32 {
        unsafe { hmkv_dist_unlock(self.handle) }
    }
}

impl Drop for Kv {
    fn drop(&mut self) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let begin = Instant::now();
        let status = self.close();
        if !std::thread::panicking() {
            assert!(status == OK || status == TIMED_OUT, "closing: {status}");
            let took = begin.elapsed();
            assert!(took < Duration::from_secs(1) + PATIENCE, "closing took {took:?}");
        }
    }
}

fn finish(op: *mut c_void) -> i32 {
    unsafe {
        let result = hmkv_await(op);
        let status = hmkv_result_status(result);
        hmkv_result_free(result);
        status
    }
}

/// What callbacks got: how many, and the last status.
pub struct Answers {
    pub count: AtomicUsize,
    pub status: AtomicI32,
}

impl Answers {
    pub const fn new() -> Self {
        Self { count: AtomicUsize::new(0), status: AtomicI32::new(0) }
    }
}

extern "C" fn tell(result: *mut c_void, userdata: *mut c_void) {
    let told: &Answers = unsafe { &*userdata.cast() };
    told.status.store(unsafe { hmkv_result_status(result) }, Ordering::SeqCst);
    told.count.fetch_add(1, Ordering::SeqCst);
    unsafe { hmkv_result_free(result) };
}

pub struct Watcher(*mut c_void);

/// The library's hmkv_event.
#[repr(C)]
struct Event {
    kind: i32,
    status: i32,
    kv: *const Entry,
    prev: *const Entry,
    revision: i64,
}

/// The beginning of its hmkv_kv.
#[repr(C)]
struct Entry {
    key: *const c_char,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub kind: i32,
    pub revision: i64,
    pub key: String,
}

pub const EVENT_PUT: i32 = 1;
pub const EVENT_RESYNC: i32 = 4;
pub const EVENT_STATE: i32 = 5;

impl Watcher {
    /// The next event within a time.
    pub fn next(&self, time: Duration) -> Option<Told> {
        let mut event = std::ptr::null();
        let status = unsafe { hmkv_watch_next(self.0, time.as_millis() as i64, &mut event) };
        if status != OK {
            return None;
        }
        let Event { kind, revision, kv, .. } = *unsafe { event.as_ref() }?;
        let key = unsafe { kv.as_ref() }.map(|kv| unsafe { CStr::from_ptr(kv.key) });
        let key = key.map(|key| key.to_string_lossy().into_owned()).unwrap_or_default();
        Some(Told { kind, revision, key })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        unsafe { hmkv_watch_close(self.0) };
    }
}

pub struct Lease(*mut c_void);

impl Lease {
    pub fn left_ms(&self) -> i64 {
        unsafe { hmkv_lease_left_ms(self.0) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        unsafe { hmkv_lease_close(self.0, true) };
    }
}

/// All lines of the log, while it lives. One at a time.
pub struct Log;

static LINES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

impl Log {
    pub fn begin() -> Self {
        const DEBUG: i32 = 4;
        extern "C" fn note(_level: i32, line: *const c_char, _userdata: *mut c_void) {
            let line = unsafe { CStr::from_ptr(line) }.to_bytes().to_vec();
            LINES.lock().unwrap().push(line);
        }
        LINES.lock().unwrap().clear();
        unsafe { hmkv_set_log(DEBUG, Some(note), std::ptr::null_mut()) };
        Self
    }

    /// Those with this in them.
    pub fn lines(&self, part: &str) -> Vec<Vec<u8>> {
        let has = |line: &&Vec<u8>| String::from_utf8_lossy(line).contains(part);
        LINES.lock().unwrap().iter().filter(has).cloned().collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        unsafe { hmkv_set_log(0, None, std::ptr::null_mut()) };
    }
}

/// How late the machine wakes a thread at worst.
pub struct Lateness {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Lateness {
    pub fn now() -> Self {
        const NAP: Duration = Duration::from_millis(5);
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let watch = move || {
            let mut worst = Duration::ZERO;
            while !is_over.load(Ordering::SeqCst) {
                let begin = Instant::now();
                std::thread::sleep(NAP);
                worst = worst.max(begin.elapsed() - NAP);
            }
            worst
        };
        let thread = std::thread::Builder::new().name(THREAD.into()).spawn(watch);
        Self { over, thread: thread.expect("a thread") }
    }

    /// Twice, as a call may have been late to begin and to end.
    pub fn worst(self) -> Duration {
        self.over.store(true, Ordering::SeqCst);
        2 * self.thread.join().expect("how late")
    }
}

/// What the process uses, the server's threads aside.
pub struct Use {
    begin: Instant,
    cpu: Duration,
    memory: usize,
}

impl Use {
    pub fn now() -> Self {
        Self { begin: Instant::now(), cpu: cpu(), memory: memory() }
    }

    pub fn cpu(&self) -> Duration {
        cpu().saturating_sub(self.cpu)
    }

    pub fn wall(&self) -> Duration {
        self.begin.elapsed()
    }

    /// It waited, and did not turn round and round.
    pub fn check_idle(&self) {
        let (cpu, wall) = (self.cpu(), self.wall());
        assert!(cpu < wall / 4 + Duration::from_millis(100), "{cpu:?} of CPU in {wall:?}");
    }

    pub fn check_memory(&self, most: usize) {
        let grown = memory().saturating_sub(self.memory);
        assert!(grown < most, "memory grew by {grown}");
    }
}

fn cpu() -> Duration {
    let tick = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    let tasks = fs::read_dir("/proc/self/task").expect("threads");
    let ticks = tasks.flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, numbers) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let mut numbers = numbers.split(' ').skip(11);
        let mut next = || numbers.next()?.parse::<u64>().ok();
        (name != THREAD).then(|| Some(next()? + next()?)).flatten()
    });
    Duration::from_millis(ticks.sum::<u64>() * 1000 / tick)
}

fn memory() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = statm.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("pages");
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize
}
