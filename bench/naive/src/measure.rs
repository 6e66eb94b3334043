//! What a run costs, and its line of JSON.

use std::time::{Duration, Instant};

/// Of the process: processor time, and how often a thread gave up its core.
fn usage() -> (Duration, i64) {
    // SAFETY: all zeroes is a value of this plain C struct, which the call fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64)
    };
    (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_nvcsw)
}

pub struct Clock {
    start: Instant,
    cpu: Duration,
    switches: i64,
}

impl Clock {
    pub fn start() -> Clock {
        let (cpu, switches) = usage();
        Clock { start: Instant::now(), cpu, switches }
    }

    pub fn stop(self) -> Cost {
        let wall = self.start.elapsed();
        let (cpu, switches) = usage();
        Cost { wall, cpu: cpu - self.cpu, switches: switches - self.switches }
    }
}

pub struct Cost {
    wall: Duration,
    cpu: Duration,
    switches: i64,
}

pub struct Run {
    pub cost: Cost,
    /// One for each operation of the timed part.
    pub latencies: Vec<Duration>,
    /// All operations, with those before the clock started.
    pub calls: usize,
    pub errors: usize,
}

impl Run {
    pub fn print(mut self, workload: &str, threads: usize) {
        self.latencies.sort();
        let n = self.latencies.len();
        let us = |d: Duration| d.as_secs_f64() * 1e6;
        println!(
            "{{\"client\":\"naive\",\"workload\":\"{workload}\",\"threads\":{threads},\"n\":{n},\
             \"calls\":{},\"errors\":{},\"ops_s\":{:.1},\"cpu_us\":{:.3},\"switches\":{:.3},\
             \"p50_us\":{:.2},\"p99_us\":{:.2}}}",
            self.calls,
            self.errors,
            n as f64 / self.cost.wall.as_secs_f64(),
            us(self.cost.cpu) / n as f64,
            self.cost.switches as f64 / n as f64,
            us(self.latencies[(n - 1) / 2]),
            us(self.latencies[(n - 1) * 99 / 100]),
        );
    }
}
