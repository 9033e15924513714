//! A ring that was closed lets go of the memory it had registered.
//!
//! It stands in a process of its own because it measures the whole process. Only the ring engine pins memory.
//! Source: proc_pid_status(5), VmPin.

use std::time::{Duration, Instant};

use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::fault::Plan;

fn pinned_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPin:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_closed_ring_pins_nothing() {
    if engine::choose(Choice::IoUring).is_err() {
        eprintln!("SKIPPED: io_uring is refused here");
        return;
    }
    let cpus = vec![uring::affinity::allowed().unwrap()[0]];
    let (engine, faults) = (Name::IoUring, Plan::default());
    let settings = Settings { cpus, engine, arena_bytes: 4 << 20, pool_threads_max: 1, faults };
    for _ in 0..3 {
        cores::block_on(&settings, async { assert!(pinned_kib() > 0, "the arena is registered") }).unwrap();
    }
    // The kernel takes a ring apart in the background.
    let begun = Instant::now();
    while pinned_kib() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} KiB stay pinned", pinned_kib());
        std::thread::yield_now();
    }
}
