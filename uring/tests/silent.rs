//! A core whose thread a silent filesystem holds is waited for no longer than asked.
//!
//! The filesystem is FUSE without a daemon: whatever is asked of it waits until its descriptor is closed. It stands in a
//! process of its own, because whatever looks at all mounts would wait too. Source: fuse(4).

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::fault::Plan;
use uring::file::{self, Opening};
use uring::identity::Identity;
use uring::lane::Reach;
use uring::time;

/// Mounts a filesystem that nobody serves; it fails what waits once the descriptor is closed.
fn mount_silent(point: &Path) -> std::io::Result<OwnedFd> {
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let options = CString::new(options).unwrap();
    let point = CString::new(point.as_os_str().as_bytes()).unwrap();
    let name = c"silent".as_ptr();
    // SAFETY: all arguments are C strings that live during the call.
    let result = unsafe { libc::mount(name, point.as_ptr(), c"fuse".as_ptr(), 0, options.as_ptr().cast()) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(device.into()) }
}

fn unmount(point: &Path) {
    let point = CString::new(point.as_os_str().as_bytes()).unwrap();
    // SAFETY: one C string that lives during the call.
    unsafe { libc::umount2(point.as_ptr(), libc::MNT_DETACH) };
}

#[test]
fn the_end_of_a_core_is_not_waited_for_longer_than_asked() {
    if engine::choose(Choice::IoUring).is_err() {
        eprintln!("SKIPPED the_end_of_a_core: io_uring is refused here");
        return;
    }
    let above: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "silent"].iter().collect();
    let point = above.join("point");
    std::fs::create_dir_all(&point).unwrap();
    let device = match mount_silent(&point) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("SKIPPED the_end_of_a_core: mounting FUSE is refused here: {error}");
            return;
        }
    };
    let cpus = vec![uring::affinity::allowed().unwrap()[0]];
    let (engine, faults) = (Name::IoUring, Plan::default());
    let settings = Settings { cpus, engine, arena_bytes: 4 << 20, pool_threads_max: 1, faults };
    let running = cores::start(&settings, move |_| {
        let above = above.clone();
        Box::pin(async move {
            let above = file::open_at_start(&above, libc::O_PATH | libc::O_DIRECTORY).unwrap();
            above.belongs_to_mount(1, Reach::Remote);
            let opening = Opening { flags: libc::O_RDONLY, mode: 0, resolve: 0 };
            let opened = file::open(&above, CString::from(c"point/any"), opening, Identity::SERVER);
            let late = time::now().after(Duration::from_millis(50));
            assert!(time::before(late, opened).await.is_none(), "nobody answers");
        })
    });
    let running = running.unwrap();
    assert_eq!(running.counters()[0].task_panics.read(), 0);
    assert_eq!(running.join_within(cores::TEARDOWN + Duration::from_secs(1)), Err(1));
    drop(device);
    unmount(&point);
}
