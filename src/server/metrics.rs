//! What a core counts: plain numbers that it alone writes and the control thread reads.
//! It owns the counters and the histogram's bounds; their names on the outside are in `metrics_text`.
//! One writer a number: no locked instruction, no shared cache line, and an event costs a few stores.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
/// INVARIANT: one thread writes. Load and store are then as good as an atomic add, and need no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
/// INVARIANT: one thread writes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Replaces the number when `value` is larger.
    pub fn raise(&self, value: u64) {
        if value > self.value() {
            self.set(value);
        }
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The names behind the indexes that a core counts by.
#[derive(Debug, Clone, Copy)]
pub struct Labels {
    /// Every operation, in the order of its index.
    pub operations: &'static [&'static str],
    /// Every error code, in the order of its index.
    pub error_codes: &'static [&'static str],
}

/// Statuses with a column of their own, ascending; what is not among them shares the last column.
/// 0 stands for a request that got no response, because its client was gone.
pub const STATUSES: [u16; 21] =
    [0, 200, 204, 206, 301, 304, 307, 400, 403, 404, 405, 408, 409, 411, 412, 413, 416, 500, 501, 503, 507];
/// The columns of a request row: one a status, and one for the rest.
pub const STATUS_COLUMNS: usize = STATUSES.len() + 1;

/// Upper bounds of the latency buckets, ascending, and their text in seconds.
/// Units: nanoseconds. From a HEAD of a cached file (10 us) to a Complete that copies (a minute), 1-2.5-5 steps.
pub const LATENCY_BOUNDS: [(u64, &str); 20] = [
    (25_000, "0.000025"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
    (60_000_000_000, "60"),
];

/// How long requests of one operation took.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Requests at most as long as the bound of the same index and longer than the one before; the last: longer.
    pub buckets: [Counter; LATENCY_BOUNDS.len() + 1],
    /// Units: nanoseconds.
    pub sum_ns: Counter,
}

impl Histogram {
    fn add(&self, latency_ns: u64) {
        let index = LATENCY_BOUNDS.partition_point(|(bound_ns, _)| *bound_ns < latency_ns);
        self.buckets[index].add(1);
        self.sum_ns.add(latency_ns);
    }
}

/// One operation of one core. Aligned like `CoreMetrics`: the rows of two cores may lie side by side on the heap.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct OperationMetrics {
    /// Requests by the columns of `STATUSES`.
    pub requests: [Counter; STATUS_COLUMNS],
    /// From the last byte of the request head to the last byte of the response.
    pub latency: Histogram,
}

/// A turn of the loop longer than this keeps every other request of the core waiting visibly.
/// Units: nanoseconds.
pub const SLOW_TURN_NS: u64 = 10_000_000;

/// All numbers of one core. Aligned so that two cores' numbers never share a pair of cache lines; only the table of
/// error codes, written seldom, may.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreMetrics {
    /// A row an operation, in the order of `Labels`, and a last one for requests that name none.
    operations: Box<[OperationMetrics]>,
    /// In the order of `Labels`.
    error_codes: Box<[Counter]>,
    /// Body bytes taken from clients, framing not counted.
    pub received_bytes: Counter,
    /// Body bytes given to clients.
    pub sent_bytes: Counter,
    /// Connections taken.
    pub connections_accepted: Counter,
    /// Connections closed at once, because the server was at its limit.
    pub connections_refused: Counter,
    /// Connections open now.
    pub connections_open: Gauge,
    turns: Counter,
    slow_turns: Counter,
    busy_ns: Counter,
    longest_turn_ns: Gauge,
    /// Times the kernel was entered to wait for operations or to hand some over.
    pub enters: Counter,
    /// Completions taken in from the ring.
    pub completions: Counter,
    /// Submission queue entries of the ring; zero for the threads engine.
    pub ring_entries: Gauge,
    /// Operations that the engine has not completed yet.
    pub operations_in_flight: Gauge,
    /// Times the engine had to submit early because its queue was full.
    pub submissions_full: Counter,
    /// Memory of the arena.
    pub arena_bytes: Gauge,
    /// Memory of the arena that no block holds.
    pub arena_free_bytes: Gauge,
    /// Writes of blocks from the registered arena into a file opened with O_DIRECT.
    pub writes_fixed_direct: Counter,
    /// Other writes of blocks.
    pub writes_other: Counter,
    /// Calls handed to the blocking pool.
    pub pool_calls: Counter,
    /// Calls that wait for a thread of the blocking pool.
    pub pool_waiting: Gauge,
    /// Threads of the blocking pool at work.
    pub pool_threads: Gauge,
    /// Panics of connection tasks.
    pub panics: Counter,
    /// Names on disk that are no keys and were not listed.
    pub names_skipped: Counter,
}

impl CoreMetrics {
    /// Zeros for every row of `labels`.
    pub fn new(labels: &Labels) -> CoreMetrics {
        CoreMetrics {
            operations: (0..=labels.operations.len()).map(|_| OperationMetrics::default()).collect(),
            error_codes: labels.error_codes.iter().map(|_| Counter::default()).collect(),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            connections_accepted: Counter::default(),
            connections_refused: Counter::default(),
            connections_open: Gauge::default(),
            turns: Counter::default(),
            slow_turns: Counter::default(),
            busy_ns: Counter::default(),
            longest_turn_ns: Gauge::default(),
            enters: Counter::default(),
            completions: Counter::default(),
            ring_entries: Gauge::default(),
            operations_in_flight: Gauge::default(),
            submissions_full: Counter::default(),
            arena_bytes: Gauge::default(),
            arena_free_bytes: Gauge::default(),
            writes_fixed_direct: Counter::default(),
            writes_other: Counter::default(),
            pool_calls: Counter::default(),
            pool_waiting: Gauge::default(),
            pool_threads: Gauge::default(),
            panics: Counter::default(),
            names_skipped: Counter::default(),
        }
    }

    /// Counts one finished request.
    /// Shape: `operation_index` as in `Labels`, none when the head named no operation; `status` 0 when the client
    /// was gone before a response.
    pub fn count_request(&self, operation_index: Option<usize>, status: u16, latency_ns: u64) {
        let row = &self.operations[operation_index.unwrap_or(self.operations.len() - 1)];
        let column = STATUSES.binary_search(&status).unwrap_or(STATUS_COLUMNS - 1);
        row.requests[column].add(1);
        row.latency.add(latency_ns);
    }

    /// Counts one error answered, by its index in `Labels`.
    pub fn count_error(&self, error_code_index: usize) {
        self.error_codes[error_code_index].add(1);
    }

    /// Copies what the engine counts; `names_skipped` are the names on disk that are no keys.
    pub fn observe(&self, engine: &uring::cores::Counters, names_skipped: u64) {
        let set = |counter: &Counter, value| counter.0.store(value, Relaxed);
        set(&self.turns, engine.turns.read());
        set(&self.slow_turns, engine.slow_turns.read());
        set(&self.busy_ns, engine.busy_ns.read());
        set(&self.submissions_full, engine.submissions_full.read());
        set(&self.enters, engine.enters.read());
        set(&self.completions, engine.completions.read());
        set(&self.writes_fixed_direct, engine.writes_fixed_direct.read());
        set(&self.writes_other, engine.writes_other.read());
        set(&self.pool_calls, engine.pool_jobs.read());
        set(&self.panics, engine.task_panics.read());
        set(&self.names_skipped, names_skipped);
        self.longest_turn_ns.set(engine.longest_turn_ns.read());
        self.ring_entries.set(engine.ring_entries.read());
        self.operations_in_flight.set(engine.slots_in_use.read());
        self.arena_bytes.set(engine.arena_bytes.read());
        self.arena_free_bytes.set(engine.arena_free_bytes.read());
        self.pool_waiting.set(engine.pool_queued.read());
        self.pool_threads.set(engine.pool_busy.read());
    }

    /// Counts one turn of the core's loop that worked for `busy_ns`, waiting not counted.
    pub fn count_turn(&self, busy_ns: u64) {
        self.turns.add(1);
        self.busy_ns.add(busy_ns);
        self.longest_turn_ns.raise(busy_ns);
        if busy_ns > SLOW_TURN_NS {
            self.slow_turns.add(1);
        }
    }

    /// A row an operation, in the order of `Labels`, and a last one for requests that name none.
    pub fn operations(&self) -> &[OperationMetrics] {
        &self.operations
    }

    /// Errors answered, in the order of `Labels`.
    pub fn error_codes(&self) -> &[Counter] {
        &self.error_codes
    }

    /// Turns of the loop.
    pub fn turns(&self) -> u64 {
        self.turns.value()
    }

    /// Turns longer than `SLOW_TURN_NS`.
    pub fn slow_turns(&self) -> u64 {
        self.slow_turns.value()
    }

    /// Time not spent waiting.
    pub fn busy_ns(&self) -> u64 {
        self.busy_ns.value()
    }

    /// The longest turn since the start.
    pub fn longest_turn_ns(&self) -> u64 {
        self.longest_turn_ns.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: Labels = Labels { operations: &["GetObject", "PutObject"], error_codes: &["NoSuchKey"] };

    #[test]
    fn tables_are_ascending() {
        assert!(STATUSES.is_sorted_by(|a, b| a < b));
        assert!(LATENCY_BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
        for (bound_ns, text) in LATENCY_BOUNDS {
            let seconds: f64 = text.parse().expect("a number");
            assert_eq!((seconds * 1e9).round() as u64, bound_ns, "{text}");
        }
    }

    #[test]
    fn a_request_lands_in_one_column_and_one_bucket() {
        let check = |operation, status, latency_ns, row: usize, column: usize, bucket: usize| {
            let core = CoreMetrics::new(&LABELS);
            core.count_request(operation, status, latency_ns);
            for (row_index, found) in core.operations().iter().enumerate() {
                for (index, count) in found.requests.iter().enumerate() {
                    assert_eq!(
                        count.value() == 1,
                        (row_index, index) == (row, column),
                        "{row_index} {index}"
                    );
                }
                for (index, count) in found.latency.buckets.iter().enumerate() {
                    assert_eq!(
                        count.value() == 1,
                        (row_index, index) == (row, bucket),
                        "{row_index} {index}"
                    );
                }
            }
            assert_eq!(core.operations()[row].latency.sum_ns.value(), latency_ns);
        };
        check(Some(0), 200, 25_000, 0, 1, 0);
        check(Some(1), 200, 25_001, 1, 1, 1);
        check(Some(1), 0, 60_000_000_000, 1, 0, 19);
        check(Some(0), 507, 60_000_000_001, 0, 20, 20);
        check(None, 418, 0, 2, 21, 0);
    }

    #[test]
    fn turns() {
        let core = CoreMetrics::new(&LABELS);
        for busy_ns in [5, SLOW_TURN_NS, SLOW_TURN_NS + 1, 7] {
            core.count_turn(busy_ns);
        }
        assert_eq!((core.turns(), core.slow_turns()), (4, 1));
        assert_eq!(core.busy_ns(), 2 * SLOW_TURN_NS + 13);
        assert_eq!(core.longest_turn_ns(), SLOW_TURN_NS + 1);
        core.count_error(0);
        assert_eq!(core.error_codes()[0].value(), 1);
    }
}
