//! Floor 5: the load generator and its reports.
//! It measures; it does not judge, and it knows no server but through the wire. Closed loop: a connection sends its next
//! request when the answer to the last one is there, so a slow server is asked less often.
//! Source: ARCHITECTURE.md.

pub mod plan;

mod run;
pub use run::{BenchError, run};

pub mod report;
pub mod tally;

mod phase;

mod exchange;
mod lane;

mod answer;
mod body;
mod request;

mod process_cpu;

#[cfg(test)]
mod tests;
