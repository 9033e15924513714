//! Floor 5: the load generator and its reports.
//! It measures; it does not judge, and it knows no server but through the wire.
//! Source: ARCHITECTURE.md.

pub mod plan;
