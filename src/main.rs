//! The `ringway` binary: server, administration tool and benchmark.
//! Everything is in the library; this file only hands over the command line.
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

fn main() {}
