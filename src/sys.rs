//! What the standard library does not offer: signal masks, a clock that counts
//! suspend, fork detection, randomness, records of DNS.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CString;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::ReadBuf;

/// Signals that a thread raises by its own fault; blocking them would be undefined.
const OWN_FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT];

/// Starts a thread in which all signals are blocked, so that the program's
/// handlers never run on it. A signal mask is inherited: set around the start, it
/// holds from the thread's first instruction.
pub fn spawn(
    name: &str,
    stack: usize,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.into()).stack_size(stack);
    // SAFETY: the sets are initialised by sigfillset before they are read.
    unsafe {
        let (mut blocked, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut blocked);
        for signal in OWN_FAULTS {
            libc::sigdelset(&mut blocked, signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &blocked, &mut before);
        let thread = builder.spawn(run);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        thread
    }
}

/// Time since boot, suspend included. Leases end by it.
pub fn boottime() -> Duration {
    // SAFETY: the clock exists since Linux 2.6.39; `now` is written by the call.
    let now = unsafe {
        let mut now = std::mem::zeroed::<libc::timespec>();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now);
        now
    };
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

static FORKS: AtomicU32 = AtomicU32::new(0);
static EXITING: AtomicBool = AtomicBool::new(false);

extern "C" fn at_exit() {
    EXITING.store(true, Ordering::Relaxed);
}

/// Whether the library's exit handler ran: from then on no callback starts.
pub fn exiting() -> bool {
    EXITING.load(Ordering::Relaxed)
}

extern "C" fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How many forks lie between the first user of the library and this process.
pub fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// A global of which a forked child gets its own, fresh: that of the parent may be
/// locked by threads that the child does not have.
pub struct ForkLocal<T>(AtomicPtr<Generation<T>>);

struct Generation<T> {
    forks: u32,
    value: T,
    /// That of the parent, never looked into again, but not forgotten.
    _inherited: *mut Self,
}

impl<T: Default + Sync> ForkLocal<T> {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    pub fn get(&self) -> &T {
        loop {
            let current = self.0.load(Ordering::Acquire);
            // SAFETY: what was published is never freed.
            if let Some(generation) = unsafe { current.as_ref() } {
                if generation.forks == forks() {
                    return &generation.value;
                }
            }
            watch_process();
            let value = T::default();
            let fresh = Generation { forks: forks(), value, _inherited: current };
            let fresh = Box::into_raw(Box::new(fresh));
            let published =
                self.0.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire);
            if published.is_err() {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

/// Hears of forks and of the exit from now on.
fn watch_process() {
    // Not a lock, which a fork in this very moment would leave locked in the child.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.swap(true, Ordering::Relaxed) {
        // SAFETY: the handlers make atomic stores only.
        unsafe {
            libc::pthread_atfork(None, None, Some(after_fork_in_child));
            libc::atexit(at_exit);
        }
    }
}

/// Says one line on standard error and ends the process: a foreign exception or a
/// thread exit is unwinding through the library.
pub fn abort_unwinding() -> ! {
    const LINE: &[u8] = b"libhmkv: a callback was left by an exception or pthread_exit; aborting\n";
    // SAFETY: writes a static buffer.
    unsafe {
        libc::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len());
        libc::abort()
    }
}

/// Puts off cancellation of the calling thread while it lives, so that a deferred
/// cancel acts after the call and never unwinds through Rust.
pub struct NoCancel(libc::c_int);

extern "C" {
    fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
}

impl NoCancel {
    pub fn new() -> Self {
        const PTHREAD_CANCEL_DISABLE: libc::c_int = 1;
        let mut before = 0;
        // SAFETY: writes one number.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut before) };
        Self(before)
    }
}

impl Drop for NoCancel {
    fn drop(&mut self) {
        // SAFETY: restores what was there; no cancellation point.
        unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
    }
}

/// Reads what is there into the free part of `buf`; tells how much.
pub fn receive(socket: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: the call writes into the free part, at most its length, and `got` bytes
    // of it are initialised then.
    unsafe {
        let free = buf.unfilled_mut();
        let got = libc::recv(socket.as_raw_fd(), free.as_mut_ptr().cast(), free.len(), 0);
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        buf.assume_init(got);
        buf.advance(got);
        Ok(got)
    }
}

/// Has the runtime watch a socket, which stays open meanwhile.
pub fn watch(socket: &Arc<TcpStream>) -> io::Result<AsyncFd<Arc<TcpStream>>> {
    // SAFETY: the socket that is given away keeps its descriptor and keeps it open.
    Ok(unsafe { AsyncFd::register(socket.clone()) }?)
}

/// Waits for these events of poll(2), or a failure of the socket; false when the
/// time is over or a signal came.
pub fn wait_ready(socket: &TcpStream, events: libc::c_short, time: Duration) -> bool {
    let mut polled = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    // Up, so that waiting for less than a millisecond is no busy loop.
    let ms = time.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&mut polled, 1, ms) > 0 }
}

/// A descriptor that is readable exactly while it is raised.
#[cfg_attr(model, allow(dead_code))] // models have one of their own
pub struct Signal(OwnedFd);

#[cfg_attr(model, allow(dead_code))]
impl Signal {
    pub fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor, which nobody else owns.
        unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn raise(&self) {
        let one = 1u64;
        // SAFETY: reads eight bytes of a live variable.
        unsafe { libc::write(self.fd(), std::ptr::from_ref(&one).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: writes eight bytes to a live variable.
        unsafe { libc::read(self.fd(), std::ptr::from_mut(&mut count).cast(), 8) };
    }
}

/// Bytes left on the calling thread's stack; 0 where that cannot be told, as on a
/// stack that the thread was not born with.
pub fn stack_left() -> usize {
    thread_local! {
        static BOUNDS: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }
    let local = 0u8;
    let here = std::ptr::from_ref(&local).addr();
    let mut bounds = BOUNDS.get();
    if bounds.1 == 0 {
        bounds = stack_bounds();
        BOUNDS.set(bounds);
    }
    if (bounds.0..bounds.1).contains(&here) {
        here - bounds.0
    } else {
        0
    }
}

fn stack_bounds() -> (usize, usize) {
    // SAFETY: the attributes are written before they are read, and given back.
    unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return (0, 1);
        }
        let (mut low, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
        libc::pthread_attr_getstack(&attributes, &mut low, &mut size);
        libc::pthread_attr_getguardsize(&attributes, &mut guard);
        libc::pthread_attr_destroy(&mut attributes);
        (low.addr() + guard, low.addr() + size)
    }
}

/// 63 random bits from the kernel, never 0.
pub fn random_id() -> i64 {
    let mut bits = 0u64;
    // SAFETY: eight bytes of a live variable; such a short read is never partial.
    let got = unsafe { libc::getrandom(std::ptr::from_mut(&mut bits).cast(), 8, 0) };
    if got != 8 {
        bits = boottime().as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
    }
    (bits >> 1).max(1) as i64
}

/// Why a name server gave no records.
pub enum NoRecords {
    /// It says that there are none.
    None,
    Failed(String),
}

/// The beginning of glibc's `struct __res_state`.
#[repr(C)]
struct Resolver {
    retrans: libc::c_int,
    retry: libc::c_int,
}

extern "C" {
    // Each thread has a state of its own, which ends with it.
    fn __res_state() -> *mut Resolver;
    fn __res_ninit(state: *mut Resolver) -> libc::c_int;
    fn __res_nclose(state: *mut Resolver);
    fn res_query(
        name: *const libc::c_char,
        class: libc::c_int,
        kind: libc::c_int,
        answer: *mut u8,
        length: libc::c_int,
    ) -> libc::c_int;
    fn __h_errno_location() -> *mut libc::c_int;
}

/// Asks the name servers of the system for records of this class and kind, and blocks
/// meanwhile. The answer is a message whose question was compared with what was asked,
/// and nothing else.
pub fn query(name: &str, class: u16, kind: u16) -> std::result::Result<Vec<u8>, NoRecords> {
    const HOST_NOT_FOUND: libc::c_int = 1;
    const TRY_AGAIN: libc::c_int = 2;
    const NO_RECOVERY: libc::c_int = 3;
    const NO_DATA: libc::c_int = 4;
    let failed = |why: &str| NoRecords::Failed(why.into());
    let name = CString::new(name).map_err(|_| failed("no name"))?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    // SAFETY: the state is this thread's own; the name ends with a NUL; at most `length`
    // bytes are written to the answer.
    let (got, error) = unsafe {
        let resolver = __res_state();
        if __res_ninit(resolver) != 0 {
            return Err(failed("the resolver cannot be set up"));
        }
        // A packet that is lost must not cost a call its whole time, as the usual 5 s
        // would: the first repeat comes after a second.
        (*resolver).retrans = (*resolver).retrans.min(1);
        (*resolver).retry = (*resolver).retry.min(3);
        let (to, length) = (answer.as_mut_ptr(), answer.len() as libc::c_int);
        let got = res_query(name.as_ptr(), class.into(), kind.into(), to, length);
        let error = (*__h_errno_location(), io::Error::last_os_error());
        // What is set up a second time without this leaks.
        __res_nclose(resolver);
        (got, error)
    };
    match usize::try_from(got) {
        Ok(got) => {
            answer.truncate(got);
            Ok(answer)
        }
        Err(_) => Err(match error.0 {
            HOST_NOT_FOUND | NO_DATA => NoRecords::None,
            TRY_AGAIN => failed("no answer of a name server"),
            NO_RECOVERY => failed("the name servers refuse to answer"),
            _ => failed(&error.1.to_string()),
        }),
    }
}
