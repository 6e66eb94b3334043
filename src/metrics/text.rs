//! The counts as Prometheus reads them: its text format, version 0.0.4.

use super::{Metrics, BOUNDS, BUCKETS, KINDS, OK, STATUSES};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// What is not counted but looked up.
pub struct Gauges {
    pub connected: bool,
    pub callback_queue: usize,
    pub watch_queue: usize,
}

/// Appends lines; writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {{
        let _ = writeln!($text, $($format)*);
    }};
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line!(text, "# HELP {name} {help}");
    line!(text, "# TYPE {name} {kind}");
}

impl Metrics {
    pub fn text(&self, gauges: &Gauges) -> String {
        let mut text = String::with_capacity(8 << 10);
        self.requests(&mut text);
        let single = [
            ("hmkv_watch_events_total", "Changes that watches gave.", &self.watch_events),
            ("hmkv_watch_resyncs_total", "Times that a watch had to list its keys.", &self.resyncs),
            ("hmkv_reconnects_total", "Connections made anew.", &self.reconnects),
            ("hmkv_leases_lost_total", "Leases lost.", &self.leases_lost),
            ("hmkv_locks_lost_total", "Locks lost while held.", &self.locks_lost),
        ];
        for (name, help, counter) in single {
            head(&mut text, name, "counter", help);
            line!(text, "{name} {}", counter.get());
        }
        let gauges = [
            (
                "hmkv_connected",
                "Whether the server can be reached, as far as is known.",
                usize::from(gauges.connected),
            ),
            (
                "hmkv_callback_queue_depth",
                "Results and state events that wait for their callback.",
                gauges.callback_queue,
            ),
            (
                "hmkv_watch_queue_depth",
                "Events that wait in the queues of watches.",
                gauges.watch_queue,
            ),
        ];
        for (name, help, value) in gauges {
            head(&mut text, name, "gauge", help);
            line!(text, "{name} {value}");
        }
        head(&mut text, "hmkv_info", "gauge", "The library.");
        line!(text, "hmkv_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        text
    }

    /// Each count is read once, so that totals and histograms agree.
    fn requests(&self, text: &mut String) {
        const TOTAL: &str = "hmkv_requests_total";
        const DURATION: &str = "hmkv_request_duration_seconds";
        let mut histograms = String::new();
        head(text, TOTAL, "counter", "Requests that have ended, by kind and status.");
        head(&mut histograms, DURATION, "histogram", "How long requests took, by kind.");
        for (kind, tally) in KINDS.iter().zip(&self.requests) {
            let Some(tally) = tally.get() else { continue };
            let kind = kind.name();
            let sum = tally.nanoseconds.load(Ordering::Relaxed);
            let mut buckets = [0; BUCKETS];
            for (status, counts) in tally.counts.iter().enumerate() {
                let mut total = 0;
                for (bucket, count) in buckets.iter_mut().zip(counts) {
                    let count = count.load(Ordering::Relaxed);
                    *bucket += count;
                    total += count;
                }
                if total > 0 || status == OK {
                    let status = STATUSES[status];
                    line!(text, "{TOTAL}{{kind=\"{kind}\",status=\"{status}\"}} {total}");
                }
            }
            let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
            let mut so_far = 0;
            for (bound, count) in bounds.zip(buckets) {
                so_far += count;
                line!(histograms, "{DURATION}_bucket{{kind=\"{kind}\",le=\"{bound}\"}} {so_far}");
            }
            let (s, ns) = (sum / 1_000_000_000, sum % 1_000_000_000);
            line!(histograms, "{DURATION}_sum{{kind=\"{kind}\"}} {s}.{ns:09}");
            line!(histograms, "{DURATION}_count{{kind=\"{kind}\"}} {so_far}");
        }
        text.push_str(&histograms);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Metrics, Status};
    use super::*;
    use std::time::Duration;

    #[test]
    fn totals_and_histograms_are_told_of_what_was_asked() {
        let metrics = Metrics::default();
        metrics.note(Kind::Txn, Status(OK), Duration::from_micros(50));
        metrics.note(Kind::Txn, Status(1), Duration::from_micros(450));
        let none = Gauges { connected: true, callback_queue: 2, watch_queue: 3 };
        let text = metrics.text(&none);
        for line in [
            "# TYPE hmkv_requests_total counter",
            "hmkv_requests_total{kind=\"txn\",status=\"ok\"} 1",
            "hmkv_requests_total{kind=\"txn\",status=\"compare_failed\"} 1",
            "hmkv_request_duration_seconds_bucket{kind=\"txn\",le=\"0.0001\"} 1",
            "hmkv_request_duration_seconds_bucket{kind=\"txn\",le=\"+Inf\"} 2",
            "hmkv_request_duration_seconds_sum{kind=\"txn\"} 0.000500000",
            "hmkv_request_duration_seconds_count{kind=\"txn\"} 2",
            "hmkv_connected 1",
            "hmkv_callback_queue_depth 2",
            "hmkv_watch_queue_depth 3",
            "hmkv_leases_lost_total 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains("kind=\"put\""));
    }
}
