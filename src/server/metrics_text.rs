//! The metrics page: every core's numbers in Prometheus text, under the names that dashboards keep.
//! Pure: it reads the counters and writes a String. Requests and errors are summed over the cores, since a client
//! cannot choose its core; what tells one core from another carries `core`.
//! Source: Prometheus exposition format, text version 0.0.4.

use std::fmt::Write;
use std::sync::Arc;

use crate::server::lifecycle::State;
use crate::server::metrics::{CoreMetrics, Counter, LATENCY_BOUNDS, Labels, OperationMetrics, STATUSES};

/// The Content-Type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The numbers that are no core's own.
#[derive(Debug, Clone, Copy)]
pub struct ServerNumbers {
    /// Where the server is.
    pub state: State,
    /// Log lines that found the queue full.
    pub log_lines_dropped: u64,
}

/// The whole page.
/// Shape: an operation, status or error code that never came has no line; everything else is always there.
pub fn render(labels: &Labels, cores: &[Arc<CoreMetrics>], server: ServerNumbers) -> String {
    // A page of two cores with a dozen operations in use is about 20 KiB.
    let mut page = String::with_capacity(32 << 10);
    let operations: Vec<&str> = labels.operations.iter().copied().chain(["none"]).collect();
    write_requests(&mut page, &operations, cores);
    write_latencies(&mut page, &operations, cores);
    write_errors(&mut page, labels, cores);
    for family in &PER_CORE {
        write_per_core(&mut page, family, cores);
    }
    write_server(&mut page, server);
    page
}

fn write_head(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing into a String cannot fail, here and below.
    let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn sum<'cores>(
    cores: &'cores [Arc<CoreMetrics>],
    read: impl Fn(&'cores CoreMetrics) -> &'cores Counter,
) -> u64 {
    cores.iter().map(|core| read(core).value()).fold(0, u64::wrapping_add)
}

fn write_requests(page: &mut String, operations: &[&str], cores: &[Arc<CoreMetrics>]) {
    let name = "ringway_requests_total";
    write_head(
        page,
        name,
        "counter",
        "Requests by operation and status; status 0 had no response, none no operation.",
    );
    for (row, operation) in operations.iter().enumerate() {
        for column in 0..=STATUSES.len() {
            let count = sum(cores, |core| &core.operations()[row].requests[column]);
            let status = STATUSES.get(column).map_or_else(|| "other".to_owned(), u16::to_string);
            if count > 0 {
                let _ = writeln!(page, "{name}{{operation=\"{operation}\",status=\"{status}\"}} {count}");
            }
        }
    }
}

fn write_latencies(page: &mut String, operations: &[&str], cores: &[Arc<CoreMetrics>]) {
    let name = "ringway_request_duration_seconds";
    write_head(page, name, "histogram", "From the request head to the last byte of the response.");
    for (row, operation) in operations.iter().enumerate() {
        let rows: Vec<&OperationMetrics> = cores.iter().map(|core| &core.operations()[row]).collect();
        let bucket = |index: usize| rows.iter().map(|row| row.latency.buckets[index].value()).sum::<u64>();
        let counts: [u64; LATENCY_BOUNDS.len() + 1] = std::array::from_fn(bucket);
        let total = counts.iter().sum::<u64>();
        if total == 0 {
            continue;
        }
        let mut below = 0;
        for ((_, bound), count) in LATENCY_BOUNDS.iter().zip(counts) {
            below += count;
            let _ = writeln!(page, "{name}_bucket{{operation=\"{operation}\",le=\"{bound}\"}} {below}");
        }
        let sum_ns = rows.iter().map(|row| row.latency.sum_ns.value()).fold(0, u64::wrapping_add);
        let _ = writeln!(page, "{name}_bucket{{operation=\"{operation}\",le=\"+Inf\"}} {total}");
        let _ = writeln!(page, "{name}_sum{{operation=\"{operation}\"}} {}", seconds(sum_ns));
        // The sum of the buckets read above, not a counter of its own: the page never contradicts itself.
        let _ = writeln!(page, "{name}_count{{operation=\"{operation}\"}} {total}");
    }
}

fn write_errors(page: &mut String, labels: &Labels, cores: &[Arc<CoreMetrics>]) {
    let name = "ringway_errors_total";
    write_head(page, name, "counter", "Errors answered, by S3 error code.");
    for (index, code) in labels.error_codes.iter().enumerate() {
        let count = sum(cores, |core| &core.error_codes()[index]);
        if count > 0 {
            let _ = writeln!(page, "{name}{{code=\"{code}\"}} {count}");
        }
    }
}

/// A family with one sample a core.
struct Family {
    name: &'static str,
    kind: &'static str,
    unit: Unit,
    help: &'static str,
    read: fn(&CoreMetrics) -> u64,
}

enum Unit {
    /// As counted.
    Plain,
    /// Counted in nanoseconds, shown in seconds.
    Time,
}

const fn count(name: &'static str, help: &'static str, read: fn(&CoreMetrics) -> u64) -> Family {
    Family { name, kind: "counter", unit: Unit::Plain, help, read }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&CoreMetrics) -> u64) -> Family {
    Family { name, kind: "gauge", unit: Unit::Plain, help, read }
}

const fn time(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    read: fn(&CoreMetrics) -> u64,
) -> Family {
    Family { name, kind, unit: Unit::Time, help, read }
}

const PER_CORE: [Family; 23] = [
    count("ringway_received_bytes_total", "Body bytes taken from clients.", |core| {
        core.received_bytes.value()
    }),
    count("ringway_sent_bytes_total", "Body bytes given to clients.", |core| core.sent_bytes.value()),
    count("ringway_connections_accepted_total", "Connections taken.", |core| {
        core.connections_accepted.value()
    }),
    count("ringway_connections_refused_total", "Connections closed at the limit.", |core| {
        core.connections_refused.value()
    }),
    gauge("ringway_connections_open", "Connections open now.", |core| core.connections_open.value()),
    time("ringway_core_busy_seconds_total", "counter", "Time not spent waiting.", CoreMetrics::busy_ns),
    time(
        "ringway_core_longest_turn_seconds",
        "gauge",
        "Longest loop turn since the start.",
        CoreMetrics::longest_turn_ns,
    ),
    count("ringway_core_turns_total", "Loop turns.", CoreMetrics::turns),
    count("ringway_core_slow_turns_total", "Loop turns longer than 10 ms.", CoreMetrics::slow_turns),
    count("ringway_enters_total", "Times the kernel was entered for operations.", |core| core.enters.value()),
    count("ringway_completions_total", "Completions taken in from the ring.", |core| {
        core.completions.value()
    }),
    gauge("ringway_ring_entries", "Submission queue entries; 0 for the threads engine.", |core| {
        core.ring_entries.value()
    }),
    gauge("ringway_operations_in_flight", "Operations the engine has not completed.", |core| {
        core.operations_in_flight.value()
    }),
    count("ringway_submissions_full_total", "Times the submission queue was full.", |core| {
        core.submissions_full.value()
    }),
    gauge("ringway_arena_bytes", "Memory of the buffer arena.", |core| core.arena_bytes.value()),
    gauge("ringway_arena_free_bytes", "Memory of the arena that no block holds.", |core| {
        core.arena_free_bytes.value()
    }),
    count("ringway_writes_fixed_direct_total", "Body writes, registered buffer and O_DIRECT.", |core| {
        core.writes_fixed_direct.value()
    }),
    count("ringway_writes_other_total", "Body writes that lack one of the two.", |core| {
        core.writes_other.value()
    }),
    count("ringway_pool_calls_total", "Calls handed to the blocking pool.", |core| core.pool_calls.value()),
    gauge("ringway_pool_waiting", "Calls that wait for a thread of the blocking pool.", |core| {
        core.pool_waiting.value()
    }),
    gauge("ringway_pool_threads", "Threads of the blocking pool at work.", |core| core.pool_threads.value()),
    count("ringway_panics_total", "Panics of connection tasks.", |core| core.panics.value()),
    count("ringway_names_skipped_total", "Names on disk that are no keys and were not listed.", |core| {
        core.names_skipped.value()
    }),
];

fn write_per_core(page: &mut String, family: &Family, cores: &[Arc<CoreMetrics>]) {
    write_head(page, family.name, family.kind, family.help);
    for (index, core) in cores.iter().enumerate() {
        let value = (family.read)(core);
        let _ = match family.unit {
            Unit::Plain => writeln!(page, "{}{{core=\"{index}\"}} {value}", family.name),
            Unit::Time => writeln!(page, "{}{{core=\"{index}\"}} {}", family.name, seconds(value)),
        };
    }
}

fn write_server(page: &mut String, server: ServerNumbers) {
    let name = "ringway_log_lines_dropped_total";
    write_head(page, name, "counter", "Log lines that found the queue full.");
    let _ = writeln!(page, "{name} {}", server.log_lines_dropped);
    let name = "ringway_ready";
    write_head(page, name, "gauge", "1 while the server takes new requests.");
    let _ = writeln!(page, "{name} {}", u8::from(server.state == State::Serving));
    let name = "ringway_version";
    write_head(page, name, "gauge", "Always 1; the version is the label.");
    let _ = writeln!(page, "{name}{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
}

/// Nanoseconds as a decimal number of seconds, exactly.
fn seconds(time_ns: u64) -> String {
    format!("{}.{:09}", time_ns / 1_000_000_000, time_ns % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: Labels =
        Labels { operations: &["GetObject", "PutObject"], error_codes: &["AccessDenied", "NoSuchKey"] };

    fn page(cores: &[Arc<CoreMetrics>]) -> String {
        render(&LABELS, cores, ServerNumbers { state: State::Serving, log_lines_dropped: 3 })
    }

    fn two_cores() -> Vec<Arc<CoreMetrics>> {
        (0..2).map(|_| Arc::new(CoreMetrics::new(&LABELS))).collect()
    }

    #[track_caller]
    fn check(page: &str, prefix: &str, want: &[&str]) {
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(prefix)).collect();
        assert_eq!(lines, want);
    }

    #[test]
    fn requests_and_errors_are_summed_over_the_cores() {
        let cores = two_cores();
        cores[0].count_request(Some(0), 200, 20_000);
        cores[1].count_request(Some(0), 200, 2_000_000_000);
        cores[1].count_request(Some(0), 404, 90_000_000_000);
        cores[1].count_request(None, 431, 1);
        cores[0].count_error(1);
        cores[1].count_error(1);
        let page = page(&cores);
        check(
            &page,
            "ringway_requests_total",
            &[
                "ringway_requests_total{operation=\"GetObject\",status=\"200\"} 2",
                "ringway_requests_total{operation=\"GetObject\",status=\"404\"} 1",
                "ringway_requests_total{operation=\"none\",status=\"other\"} 1",
            ],
        );
        check(&page, "ringway_errors_total", &["ringway_errors_total{code=\"NoSuchKey\"} 2"]);
        let histogram = "ringway_request_duration_seconds";
        check(
            &page,
            &format!("{histogram}_sum{{operation=\"G"),
            &[&format!("{histogram}_sum{{operation=\"GetObject\"}} 92.000020000")],
        );
        for (le, count) in [("0.000025", 1), ("1", 1), ("2.5", 2), ("60", 2), ("+Inf", 3)] {
            let line = format!("{histogram}_bucket{{operation=\"GetObject\",le=\"{le}\"}} {count}\n");
            assert!(page.contains(&line), "{line}");
        }
        assert!(page.contains(&format!("{histogram}_count{{operation=\"GetObject\"}} 3\n")));
        assert!(!page.contains("PutObject"), "what never came has no line");
    }

    #[test]
    fn a_line_a_core() {
        let cores = two_cores();
        cores[0].count_turn(1_500_000_000);
        cores[1].received_bytes.add(4096);
        cores[1].connections_open.set(7);
        let page = page(&cores);
        check(
            &page,
            "ringway_core_busy_seconds_total",
            &[
                "ringway_core_busy_seconds_total{core=\"0\"} 1.500000000",
                "ringway_core_busy_seconds_total{core=\"1\"} 0.000000000",
            ],
        );
        check(
            &page,
            "ringway_core_slow_turns_total",
            &["ringway_core_slow_turns_total{core=\"0\"} 1", "ringway_core_slow_turns_total{core=\"1\"} 0"],
        );
        check(
            &page,
            "ringway_received_bytes_total{core=\"1\"}",
            &["ringway_received_bytes_total{core=\"1\"} 4096"],
        );
        check(&page, "ringway_connections_open{core=\"1\"}", &["ringway_connections_open{core=\"1\"} 7"]);
        check(&page, "ringway_ready", &["ringway_ready 1"]);
        check(&page, "ringway_log_lines", &["ringway_log_lines_dropped_total 3"]);
    }

    #[test]
    fn every_sample_follows_the_head_of_its_family_and_no_family_comes_twice() {
        let cores = two_cores();
        cores[0].count_request(Some(1), 200, 1);
        let mut seen = Vec::new();
        for line in page(&cores).lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                let (name, kind) = head.split_once(' ').expect("a name and a kind");
                assert!(!seen.contains(&name.to_owned()), "{name} comes twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                seen.push(name.to_owned());
            } else if !line.starts_with('#') {
                let family = seen.last().expect("a head comes first");
                assert!(line.starts_with(family.as_str()), "{line} below the head of {family}");
                let value = line.rsplit_once(' ').expect("a value").1;
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
