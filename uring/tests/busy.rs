//! What a core's counters say of its loop: all of it is work but the waiting.
//!
//! It stands in a process of its own so that no other test's core takes its CPU. Source: clock_gettime(2).

use std::path::PathBuf;
use std::time::Duration;

use uring::arena::{self, BlockSize};
use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::fault::Plan;
use uring::{file, time};

/// Runs a test body on the ring, which does what it can while it takes submissions.
fn on_the_ring<F: Future<Output = ()> + 'static>(name: &str, body: impl FnOnce(file::File) -> F + 'static) {
    if engine::choose(Choice::IoUring).is_err() {
        eprintln!("SKIPPED {name}: io_uring is refused here");
        return;
    }
    let path: PathBuf = [env!("CARGO_TARGET_TMPDIR"), name].iter().collect();
    std::fs::write(&path, vec![7; BlockSize::Large.bytes()]).unwrap();
    let cpus = vec![uring::affinity::allowed().unwrap()[0]];
    let faults = Plan::default();
    let settings =
        Settings { cpus, engine: Name::IoUring, arena_bytes: 64 << 20, pool_threads_max: 1, faults };
    let main = async move {
        let file = file::open_at_start(&path, libc::O_RDONLY).unwrap();
        // The first turns of the core are over.
        time::sleep(Duration::from_millis(20)).await;
        body(file).await;
    };
    cores::block_on(&settings, main).unwrap();
}

#[test]
fn reads_that_end_while_they_are_submitted_are_work() {
    on_the_ring("submitted", |file| async move {
        let counters = cores::counters();
        let begun = (counters.busy_ns.read(), time::thread_cpu_ns());
        for _ in 0..20 {
            let blocks = arena::acquire(BlockSize::Large, 45).await;
            let reads =
                blocks.into_iter().map(|block| file::read_at(&file, block, 0..BlockSize::Large.bytes(), 0));
            for read in reads.collect::<Vec<_>>() {
                assert_eq!(read.await.0, Ok(BlockSize::Large.bytes() as u32));
            }
        }
        time::sleep(Duration::from_millis(20)).await;
        time::sleep(Duration::from_millis(20)).await;
        let (busy_ns, used_ns) = (counters.busy_ns.read() - begun.0, time::thread_cpu_ns() - begun.1);
        assert!(busy_ns >= used_ns / 10 * 9, "{used_ns} ns of CPU time, {busy_ns} ns of them counted");
        // All of them are submitted in one turn, and no memory copies 45 MiB in so short a time.
        let longest_ns = counters.longest_turn_ns.read();
        assert!(longest_ns > 450_000, "the longest turn took {longest_ns} ns");
    });
}

#[test]
fn a_core_that_waits_is_not_busy() {
    on_the_ring("waits", |_| async move {
        let (begun, before) = (time::now(), cores::counters().busy_ns.read());
        for _ in 0..20 {
            time::sleep(Duration::from_millis(50)).await;
        }
        let passed_ns = time::now().since(begun).as_nanos() as u64;
        let busy_ns = cores::counters().busy_ns.read() - before;
        assert!(busy_ns < passed_ns / 2, "busy for {busy_ns} of {passed_ns} ns");
    });
}
