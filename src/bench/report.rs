//! What a run came to: figures from counts, as a table for people and as JSON for programs.
//! Pure arithmetic: a figure that has no meaning (a rate of nothing, a percentile of no request) is absent, never zero.
//! A GiB is of objects' bytes that requests which succeeded moved; a request is one that succeeded.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::bench::plan::{BenchPlan, Work};
use crate::bench::tally::Tally;

/// The figures of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The run that was asked for.
    pub plan: BenchPlan,
    /// The engine that ran.
    pub engine: String,
    /// The CPUs that the client ran on.
    pub cpus: Vec<usize>,
    /// What was counted.
    pub tally: Tally,
    /// From the first request to the last answer.
    pub time_ns: u64,
    /// CPU time of the client.
    pub client_cpu_ns: u64,
    /// CPU time of the server, when its process is known.
    pub server_cpu_ns: Option<u64>,
    /// What the person should know before believing the figures, a sentence each.
    pub notices: Vec<String>,
}

/// CPU time over what it was spent for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cpu {
    seconds: f64,
    seconds_per_gib: Option<f64>,
    us_per_request: Option<f64>,
}

const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;
const SECOND_NS: f64 = 1e9;

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0)];

impl Report {
    /// Bytes of objects a second.
    pub fn bytes_per_second(&self) -> Option<f64> {
        ratio(self.tally.payload_bytes as f64, self.seconds()).filter(|rate| *rate > 0.0)
    }

    /// Requests that succeeded a second.
    pub fn requests_per_second(&self) -> Option<f64> {
        ratio(self.tally.done_count as f64, self.seconds()).filter(|rate| *rate > 0.0)
    }

    /// The latency that so many of a hundred requests did not exceed. Units: microseconds.
    pub fn latency_us(&self, percentile: f64) -> Option<f64> {
        let latencies = &self.tally.latencies;
        (!latencies.is_empty()).then(|| latencies.value_at_percentile(percentile) as f64 / 1e3)
    }

    /// The report as one JSON object; what is absent is null.
    pub fn json(&self) -> Value {
        let latency: Map<String, Value> = PERCENTILES
            .into_iter()
            .map(|(name, percentile)| (name.to_owned(), json!(self.latency_us(percentile))))
            .collect();
        let failures: Map<String, Value> =
            self.tally.failures.iter().map(|(what, count)| (what.clone(), json!(count))).collect();
        json!({
            "work": self.plan.work.word(),
            "target": format!("http://{}", self.plan.target.authority()),
            "object_bytes": self.object_bytes(),
            "connections": self.plan.connections_count,
            "keys": self.plan.keys_count,
            "signing": self.plan.signing.word(),
            "checksum": self.plan.checksum.word(),
            "client_engine": self.engine,
            "client_cpus": self.cpus,
            "requests": self.tally.done_count,
            "errors": failures,
            "reconnects": self.tally.reconnects_count,
            "bytes": self.tally.payload_bytes,
            "seconds": self.seconds(),
            "bytes_per_second": self.bytes_per_second(),
            "requests_per_second": self.requests_per_second(),
            "latency_us": latency,
            "client_cpu": json_of(self.cpu(self.client_cpu_ns)),
            "server_cpu": self.server_cpu_ns.map(|cpu_ns| json_of(self.cpu(cpu_ns))),
        })
    }

    /// The report as lines of a name and a figure.
    pub fn table(&self) -> String {
        let mut rows = vec![("run", self.run_text())];
        rows.push(("requests", format!("{} in {:.3} s", self.tally.done_count, self.seconds())));
        rows.extend(self.rate_text().map(|text| ("rate", text)));
        rows.extend(self.latency_text().map(|text| ("latency", text)));
        rows.push(("client CPU", cpu_text(self.cpu(self.client_cpu_ns))));
        rows.extend(self.server_cpu_ns.map(|cpu_ns| ("server CPU", cpu_text(self.cpu(cpu_ns)))));
        if self.tally.reconnects_count > 0 {
            rows.push(("reconnects", self.tally.reconnects_count.to_string()));
        }
        rows.extend(self.tally.failures.iter().map(|(what, count)| ("errors", format!("{count} x {what}"))));
        let mut table = String::new();
        for (name, text) in rows {
            writeln!(table, "{name:<11} {text}").expect("memory takes every write");
        }
        table
    }

    /// What one object holds; absent where nobody has said it.
    fn object_bytes(&self) -> Option<u64> {
        match self.plan.work {
            Work::Put => Some(self.plan.size_bytes),
            // The objects may have been there before, of whatever size.
            Work::Get => {
                let (bytes, count) = (self.tally.payload_bytes, self.tally.done_count);
                bytes.checked_div(count).filter(|size| size * count == bytes)
            }
            Work::Stat => None,
        }
    }

    fn seconds(&self) -> f64 {
        self.time_ns as f64 / SECOND_NS
    }

    fn cpu(&self, cpu_ns: u64) -> Cpu {
        let seconds = cpu_ns as f64 / SECOND_NS;
        Cpu {
            seconds,
            seconds_per_gib: ratio(seconds, self.tally.payload_bytes as f64 / GIB),
            us_per_request: ratio(seconds * 1e6, self.tally.done_count as f64),
        }
    }

    fn run_text(&self) -> String {
        let BenchPlan { work, connections_count, signing, checksum, .. } = &self.plan;
        let size = self.object_bytes().map_or(String::new(), |bytes| format!("{bytes} bytes, "));
        format!(
            "{} {size}{connections_count} connections, signing {}, checksum {}, {} on CPUs {:?}",
            work.word(),
            signing.word(),
            checksum.word(),
            self.engine,
            self.cpus
        )
    }

    fn rate_text(&self) -> Option<String> {
        let requests = format!("{:.1} requests/s", self.requests_per_second()?);
        Some(match self.bytes_per_second() {
            Some(bytes) => format!("{requests}, {:.1} MiB/s", bytes / MIB),
            None => requests,
        })
    }

    fn latency_text(&self) -> Option<String> {
        let texts: Option<Vec<String>> = PERCENTILES
            .into_iter()
            .map(|(name, percentile)| Some(format!("{name} {:.0} us", self.latency_us(percentile)?)))
            .collect();
        Some(texts?.join(", "))
    }
}

fn ratio(amount: f64, per: f64) -> Option<f64> {
    (per > 0.0).then(|| amount / per)
}

fn json_of(cpu: Cpu) -> Value {
    json!({
        "seconds": cpu.seconds,
        "seconds_per_gib": cpu.seconds_per_gib,
        "us_per_request": cpu.us_per_request,
    })
}

fn cpu_text(cpu: Cpu) -> String {
    let mut text = format!("{:.3} s", cpu.seconds);
    if let Some(seconds) = cpu.seconds_per_gib {
        write!(text, ", {seconds:.3} s/GiB").expect("memory takes every write");
    }
    if let Some(us) = cpu.us_per_request {
        write!(text, ", {us:.1} us/request").expect("memory takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::tests::plan;
    use crate::bench::tally::Outcome;

    /// 1000 requests of 1 MiB in 2 s, the n-th of which took n us.
    fn report(work: Work) -> Report {
        let mut tally = Tally { reconnects_count: 3, ..Tally::new() };
        for latency_us in 1..=1000 {
            let payload_bytes = if work == Work::Stat { 0 } else { 1 << 20 };
            tally.count(Outcome::Done { payload_bytes, latency_ns: latency_us * 1000 });
        }
        tally.count(Outcome::Failed("503 SlowDown".to_owned()));
        Report {
            plan: plan(|plan| (plan.work, plan.size_bytes) = (work, 1 << 20)),
            engine: "io_uring".to_owned(),
            cpus: vec![0, 3],
            tally,
            time_ns: 2_000_000_000,
            client_cpu_ns: 500_000_000,
            server_cpu_ns: Some(1_250_000_000),
            notices: Vec::new(),
        }
    }

    fn empty() -> Report {
        Report { tally: Tally::new(), time_ns: 0, server_cpu_ns: None, ..report(Work::Get) }
    }

    /// Compares one figure of the JSON, within the histogram's three digits.
    fn check(report: &Report, pointer: &str, want: Option<f64>) {
        let json = report.json();
        let got = json.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in {json}")).as_f64();
        let is_near = |(got, want): (f64, f64)| (got - want).abs() <= want.abs() * 0.001;
        assert!(got.is_some() == want.is_some() && got.zip(want).is_none_or(is_near), "{pointer}: {got:?}");
    }

    #[test]
    fn figures_of_a_put() {
        let report = report(Work::Put);
        check(&report, "/object_bytes", Some(1048576.0));
        check(&report, "/requests", Some(1000.0));
        check(&report, "/errors/503 SlowDown", Some(1.0));
        check(&report, "/reconnects", Some(3.0));
        check(&report, "/seconds", Some(2.0));
        check(&report, "/requests_per_second", Some(500.0));
        check(&report, "/bytes_per_second", Some(524288000.0));
        check(&report, "/latency_us/p50", Some(500.0));
        check(&report, "/latency_us/p90", Some(900.0));
        check(&report, "/latency_us/p99", Some(990.0));
        check(&report, "/latency_us/max", Some(1000.0));
        check(&report, "/client_cpu/seconds_per_gib", Some(0.512));
        check(&report, "/client_cpu/us_per_request", Some(500.0));
        check(&report, "/server_cpu/seconds", Some(1.25));
        check(&report, "/server_cpu/seconds_per_gib", Some(1.28));
        check(&report, "/server_cpu/us_per_request", Some(1250.0));
    }

    #[test]
    fn what_has_no_meaning_is_absent() {
        check(&report(Work::Stat), "/object_bytes", None);
        check(&report(Work::Stat), "/bytes_per_second", None);
        check(&report(Work::Stat), "/server_cpu/seconds_per_gib", None);
        check(&report(Work::Stat), "/server_cpu/us_per_request", Some(1250.0));
        check(&empty(), "/requests", Some(0.0));
        check(&empty(), "/requests_per_second", None);
        check(&empty(), "/latency_us/p99", None);
        check(&empty(), "/client_cpu/us_per_request", None);
        check(&empty(), "/server_cpu", None);
    }

    #[test]
    fn the_table() {
        let want = "\
run         put 1048576 bytes, 16 connections, signing header, checksum none, io_uring on CPUs [0, 3]
requests    1000 in 2.000 s
rate        500.0 requests/s, 500.0 MiB/s
latency     p50 500 us, p90 900 us, p99 990 us, max 1000 us
client CPU  0.500 s, 0.512 s/GiB, 500.0 us/request
server CPU  1.250 s, 1.280 s/GiB, 1250.0 us/request
reconnects  3
errors      1 x 503 SlowDown
";
        assert_eq!(report(Work::Put).table(), want);
        let want = "\
run         get 16 connections, signing header, checksum none, io_uring on CPUs [0, 3]
requests    0 in 0.000 s
client CPU  0.500 s
";
        assert_eq!(empty().table(), want);
    }
}
