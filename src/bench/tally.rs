//! What the connections of a core count while they work, and how the cores' counts become one.
//! It counts; what the counts mean is `report`'s.
//! Latency is from the first byte of the request to the last one of its answer, of requests that succeeded; opening a
//! connection is outside it and inside the run's time.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::bench::answer::Answer;
use crate::bench::exchange::Broken;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status 2xx.
    Done {
        /// Of the object, without head and framing.
        payload_bytes: u64,
        /// Request and answer.
        latency_ns: u64,
    },
    /// Anything else: status and S3 code, or what became of the connection.
    Failed(String),
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that succeeded.
    pub done_count: u64,
    /// Bytes of objects that these moved.
    pub payload_bytes: u64,
    /// Requests that failed, by what they failed with.
    pub failures: BTreeMap<String, u64>,
    /// Connections opened in place of one that had ended.
    pub reconnects_count: u64,
    /// In nanoseconds.
    pub latencies: Histogram<u64>,
}

/// Different failures that are told apart; a server that makes up a code for each request fills no memory.
const FAILURES_MAX: usize = 64;

/// A latency above that counts as that much. A request that moves no byte for a minute has failed anyway.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Below a microsecond nothing is told apart.
const LATENCY_NS_MIN: u64 = 1_000;
const LATENCY_DIGITS: u8 = 3;

impl Tally {
    /// Nothing counted.
    pub fn new() -> Tally {
        let latencies = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, LATENCY_DIGITS);
        Tally {
            done_count: 0,
            payload_bytes: 0,
            failures: BTreeMap::new(),
            reconnects_count: 0,
            latencies: latencies.expect("the bounds are those of a histogram"),
        }
    }

    /// Counts a request.
    pub fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done { payload_bytes, latency_ns } => {
                self.done_count += 1;
                self.payload_bytes += payload_bytes;
                self.latencies.saturating_record(latency_ns);
            }
            Outcome::Failed(what) => self.count_failures(what, 1),
        }
    }

    /// Adds what another core counted.
    pub fn add(&mut self, other: Tally) {
        self.done_count += other.done_count;
        self.payload_bytes += other.payload_bytes;
        self.reconnects_count += other.reconnects_count;
        self.latencies.add(&other.latencies).expect("both have the same bounds");
        for (what, count) in other.failures {
            self.count_failures(what, count);
        }
    }

    /// Requests that failed.
    pub fn failed_count(&self) -> u64 {
        self.failures.values().sum()
    }

    fn count_failures(&mut self, what: String, count: u64) {
        let is_known = self.failures.contains_key(&what);
        let what = if is_known || self.failures.len() < FAILURES_MAX { what } else { "other".to_owned() };
        *self.failures.entry(what).or_default() += count;
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

/// How a failed answer is told: `404 NoSuchKey`, or `404` without a document.
pub fn failure_of_answer(answer: &Answer) -> String {
    match answer.code() {
        Some(code) => format!("{} {code}", answer.status()),
        None => answer.status().to_string(),
    }
}

/// How a connection that broke is told.
pub fn failure_of_connection(broken: &Broken) -> String {
    format!("connection: {broken}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_add_up() {
        let mut one = Tally::new();
        one.count(Outcome::Done { payload_bytes: 10, latency_ns: 5_000 });
        one.count(Outcome::Failed("503 SlowDown".to_owned()));
        let mut other = Tally { reconnects_count: 2, ..Tally::new() };
        other.count(Outcome::Done { payload_bytes: 7, latency_ns: u64::MAX });
        other.count(Outcome::Failed("503 SlowDown".to_owned()));
        other.count(Outcome::Failed("404".to_owned()));
        one.add(other);
        assert_eq!((one.done_count, one.payload_bytes, one.reconnects_count), (2, 17, 2));
        let failures: Vec<_> = one.failures.iter().map(|(what, count)| (what.as_str(), *count)).collect();
        assert_eq!(failures, [("404", 1), ("503 SlowDown", 2)]);
        assert_eq!((one.latencies.len(), one.failed_count()), (2, 3));
        assert!(one.latencies.max() >= LATENCY_NS_MAX, "a latency beyond the bound is kept at the bound");
    }

    #[test]
    fn failures_are_bounded() {
        let mut tally = Tally::new();
        for number in 0..1000 {
            tally.count(Outcome::Failed(format!("500 Code{number}")));
        }
        assert_eq!((tally.failures.len(), tally.failed_count()), (FAILURES_MAX + 1, 1000));
        assert_eq!(tally.failures.get("other"), Some(&(1000 - FAILURES_MAX as u64)));
    }
}
