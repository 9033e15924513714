//! An arena larger than what the kernel registers as one buffer is registered all the same.
//!
//! It stands in a process of its own because it takes more than 1 GiB for a moment. Only the ring engine registers.
//! Where RLIMIT_MEMLOCK refuses an arena of any size the test says so and is skipped.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::rc::Rc;

use uring::arena::{self, BlockSize};
use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::fault::Plan;
use uring::file;
use uring::identity::Identity;

const ARENA_BYTES: usize = (1 << 30) + (8 << 20);

#[test]
fn every_block_of_a_large_arena_is_registered() {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if engine::choose(Choice::IoUring).is_err() || !is_root {
        eprintln!("SKIPPED: io_uring is refused here, or RLIMIT_MEMLOCK applies");
        return;
    }
    let cpus = vec![uring::affinity::allowed().unwrap()[0]];
    let (engine, faults) = (Name::IoUring, Plan::default());
    let settings = Settings { cpus, engine, arena_bytes: ARENA_BYTES, pool_threads_max: 1, faults };
    let passed = Rc::new(Cell::new(false));
    let flag = passed.clone();
    let run = async move {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large-arena");
        std::fs::write(&path, []).unwrap();
        let file = file::open_at_start(&path, libc::O_RDWR).unwrap();
        let mut blocks: Vec<_> =
            std::iter::from_fn(|| arena::try_acquire(BlockSize::Large, 1)).flatten().collect();
        // The lowest and the highest block of the part that is cut into large ones, on both sides of the first GiB.
        for block in [blocks.pop().unwrap(), blocks.remove(0)] {
            let (written, block) =
                file::write_at(&file, block.freeze(), 0..16, 0, Identity::SERVER).finish().await;
            assert_eq!(written, Ok(16));
            let block = block.unfreeze().map_err(|_| "shared").unwrap();
            assert_eq!(file::read_at(&file, block, 0..16, 0).await.0, Ok(16));
        }
        flag.set(true);
    };
    let running = cores::start(&settings, |_| Box::pin(async {})).unwrap();
    assert_eq!(running.notices, Vec::<String>::new());
    running.join().unwrap();
    cores::block_on(&settings, run).unwrap();
    assert!(passed.get());
}
