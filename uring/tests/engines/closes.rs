//! Which closes and ends of locks go through the engine, because they may take long or wait for another machine.
//!
//! The mount is a local one that is said to be far away: what may wait there is seen in what the core's plan of faults counts.
//! Source: flock(2), open(2).

use std::time::Duration;

use uring::errno::Errno;
use uring::fault::{self, Fault, Nth, OperationKind, Rule};
use uring::file::{self, File, Opening};
use uring::lane::Reach;
use uring::lock::{self, Hold};
use uring::{stat, time};

use crate::{MAKE, ME, name, on_both_engines};

#[test]
fn the_last_close_of_a_written_file_goes_through_the_engine() {
    on_both_engines("close", |directory| async move {
        count_operations();
        let opening = |flags| Opening { flags, mode: 0, resolve: 0 };
        let written = opening(libc::O_RDWR | libc::O_TMPFILE);
        let (read, path) = (opening(libc::O_RDONLY), opening(libc::O_PATH));
        for (what, opening, closes) in [("written", written, 1), ("read", read, 0), ("path", path, 0)] {
            let file = file::open(&directory, name("."), opening, ME).await.unwrap();
            let (before, clone) = (fault::counted(), file.clone());
            drop(file);
            assert_eq!(fault::counted() - before, 0, "{what}: a clone is left");
            drop(clone);
            assert_eq!(fault::counted() - before, closes, "{what}");
        }
    });
}

#[test]
fn the_last_close_of_a_large_file_goes_through_the_engine_once_it_is_known() {
    on_both_engines("large", |directory| async move {
        const LARGE_BYTES: u64 = 16 << 20;
        let file = file::open(&directory, name("large"), MAKE, ME).await.unwrap();
        file::allocate(&file, 0, LARGE_BYTES, ME).await.unwrap();
        let small = file::open(&directory, name("small"), MAKE, ME).await.unwrap();
        file::allocate(&small, 0, LARGE_BYTES / 2, ME).await.unwrap();
        count_operations();
        for (key, closes) in [("large", 1), ("small", 0)] {
            for flags in [libc::O_RDONLY, libc::O_PATH] {
                let opening = Opening { flags, mode: 0, resolve: 0 };
                for look in [Look::Plain, Look::Slow] {
                    let found = file::open(&directory, name(key), opening, ME).await.unwrap();
                    let stat = match look {
                        Look::Plain => stat::stat(&found).unwrap(),
                        Look::Slow => stat::stat_slow(&found).await.unwrap(),
                    };
                    assert_eq!(stat.allocated_bytes >= LARGE_BYTES, key == "large");
                    let before = fault::counted();
                    drop(found);
                    assert_eq!(fault::counted() - before, closes, "{key} with {flags:#o} by {look:?}");
                }
            }
        }
    });
}

/// How a file is looked at.
#[derive(Clone, Copy, Debug)]
enum Look {
    Plain,
    Slow,
}

#[test]
fn a_lock_far_away_ends_through_the_engine() {
    on_both_engines("lock-far", |directory| async move {
        directory.belongs_to_mount(1, Reach::Remote);
        let [first, second] = opened_twice(&directory).await;
        count_operations();
        let held = lock::try_lock_slow(&first, Hold::Exclusive).await.unwrap();
        assert_eq!(lock::try_lock_slow(&second, Hold::Exclusive).await.unwrap_err(), Errno::AGAIN);
        // Two locks, and the close of what the second would have been held by.
        assert_eq!(fault::counted(), 3);
        drop(held);
        assert_eq!(fault::counted(), 4, "the end of the lock");
        counted_beyond(4).await;
        assert_eq!(fault::counted(), 5, "the close");
        assert!(lock::try_lock_slow(&second, Hold::Exclusive).await.is_ok());
    });
}

#[test]
fn the_end_of_a_lock_far_away_is_not_waited_for() {
    on_both_engines("lock-slow", |directory| async move {
        directory.belongs_to_mount(1, Reach::Remote);
        let [first, second] = opened_twice(&directory).await;
        let held = lock::try_lock_slow(&first, Hold::Exclusive).await.unwrap();
        delay_a_lock(Duration::from_millis(50));
        drop((held, first));
        assert_eq!(lock::try_lock_slow(&second, Hold::Exclusive).await.unwrap_err(), Errno::AGAIN);
        while lock::try_lock_slow(&second, Hold::Exclusive).await.is_err() {
            time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn whoever_releases_a_lock_far_away_leaves_it_to_others() {
    on_both_engines("lock-released", |directory| async move {
        directory.belongs_to_mount(1, Reach::Remote);
        let [first, second] = opened_twice(&directory).await;
        let held = lock::try_lock_slow(&first, Hold::Exclusive).await.unwrap();
        delay_a_lock(Duration::from_millis(50));
        held.release().await;
        assert!(lock::try_lock_slow(&second, Hold::Exclusive).await.is_ok());
    });
}

#[test]
fn whoever_gives_a_lock_far_away_up_closes_through_the_engine() {
    on_both_engines("lock-dropped", |directory| async move {
        directory.belongs_to_mount(1, Reach::Remote);
        let [first, second] = opened_twice(&directory).await;
        delay_a_lock(Duration::from_secs(60));
        let late = time::now().after(Duration::from_millis(1));
        assert!(time::before(late, lock::try_lock_slow(&first, Hold::Exclusive)).await.is_none());
        assert_eq!(fault::counted(), 2, "the lock and the close");
        assert!(lock::try_lock_slow(&second, Hold::Exclusive).await.is_ok());
    });
}

#[test]
fn a_lock_at_hand_ends_at_once() {
    on_both_engines("lock-near", |directory| async move {
        let [first, second] = opened_twice(&directory).await;
        count_operations();
        let held = lock::try_lock(&first).unwrap();
        assert_eq!(lock::try_lock(&second).unwrap_err(), Errno::AGAIN);
        let before = fault::counted();
        drop(held);
        assert_eq!(fault::counted() - before, 1, "the file is open for writing, so its close may be long");
        let held = lock::try_lock(&second).unwrap();
        // Where there is no core a lock ends too.
        std::thread::spawn(move || drop(held)).join().unwrap();
        assert!(lock::try_lock(&first).is_ok());
    });
}

/// Two open descriptions of one file.
async fn opened_twice(directory: &File) -> [File; 2] {
    let again = Opening { flags: libc::O_RDWR, mode: 0, resolve: 0 };
    let first = file::open(directory, name("locked"), MAKE, ME).await.unwrap();
    [first, file::open(directory, name("locked"), again, ME).await.unwrap()]
}

/// Begins to count the operations of the core.
fn count_operations() {
    let (kind, nth, fault) = (Some(OperationKind::Close), Nth::From(u64::MAX), Fault::Fail(Errno::IO));
    fault::install(vec![Rule { kind, nth, fault }]);
}

/// Keeps the next lock or end of one from the engine for a while, and begins to count.
fn delay_a_lock(duration: Duration) {
    let (kind, nth, fault) = (Some(OperationKind::Lock), Nth::Only(1), Fault::Delay(duration));
    fault::install(vec![Rule { kind, nth, fault }]);
}

/// Waits until more operations have begun.
async fn counted_beyond(operations: u64) {
    while fault::counted() <= operations {
        time::sleep(Duration::from_millis(1)).await;
    }
}
