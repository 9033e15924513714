//! The threads of the blocking pool may run on the CPUs of all cores.
//!
//! It stands in a process of its own because it looks at the threads of the whole process. With one CPU there is
//! nothing to tell apart, and the test says so and is skipped.

use std::path::Path;

use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::fault::Plan;
use uring::file;

/// The CPUs each thread of the pool may run on, as the kernel lists them.
fn pool_cpus() -> Vec<String> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        if status.starts_with("Name:\tringway-pool") {
            let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            found.push(line.unwrap().trim().to_string());
        }
    }
    found
}

#[test]
fn the_pool_runs_where_any_core_runs() {
    let allowed = uring::affinity::allowed().unwrap();
    let &[first, second, ..] = allowed.as_slice() else {
        eprintln!("SKIPPED: one CPU only");
        return;
    };
    for engine in [Name::IoUring, Name::Threads] {
        if engine == Name::IoUring && engine::choose(Choice::IoUring).is_err() {
            eprintln!("SKIPPED on io_uring: refused here");
            continue;
        }
        let (cpus, faults) = (vec![first, second], Plan::default());
        let settings = Settings { cpus, engine, arena_bytes: 4 << 20, pool_threads_max: 1, faults };
        let running = cores::start(&settings, |index| {
            Box::pin(async move {
                if index == 0 {
                    let root = file::open_at_start(Path::new("/"), libc::O_DIRECTORY).unwrap();
                    file::read_directory(&root).await.unwrap();
                    // A list of more than one CPU has a comma or a dash.
                    let lists = pool_cpus();
                    assert!(
                        !lists.is_empty() && lists.iter().all(|list| list.contains([',', '-'])),
                        "{lists:?}"
                    );
                }
            })
        });
        let running = running.unwrap();
        let counters = running.counters();
        running.join().unwrap();
        assert_eq!(counters[0].task_panics.read(), 0, "on {engine}");
    }
}
