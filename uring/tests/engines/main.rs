//! Both engines run the same operations with the same results, faults included.
//!
//! Each test runs once an engine, on real files and loopback sockets. The ring is expected to work where these tests
//! run; where it is refused its half says so and is skipped.

mod closes;
mod sockets;

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use uring::arena::{self, BlockSize};
use uring::aside::Aside;
use uring::cores::{self, Settings};
use uring::engine::{self, Choice, Name};
use uring::errno::Errno;
use uring::fault::{self, Fault, Nth, OperationKind, Plan, Poison, Rule};
use uring::file::{self, File, Opening, Sync};
use uring::identity::Identity;
use uring::net::{self, Acceptor, Fill, Following, Listener, Readiness};
use uring::{stat, task, time};

const ME: Identity = Identity::SERVER;

fn settings(engine: Name) -> Settings {
    let cpus = vec![uring::affinity::allowed().expect("the scheduler answers")[0]];
    let faults = Plan { rules: Vec::new(), poison: Poison::On };
    Settings { cpus, engine, arena_bytes: 4 << 20, pool_threads_max: 4, faults }
}

/// Runs a test body once an engine; the body gets a directory of its own.
fn on_both_engines<F: Future<Output = ()> + 'static>(name: &str, body: impl Fn(File) -> F + Copy + 'static) {
    for engine in [Name::IoUring, Name::Threads] {
        if engine == Name::IoUring && engine::choose(Choice::IoUring).is_err() {
            eprintln!("SKIPPED {name} on io_uring: refused here");
            continue;
        }
        let path: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &format!("{name}-{engine}")].iter().collect();
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the target directory is writable");
        let passed = Rc::new(Cell::new(false));
        let flag = passed.clone();
        let run = async move {
            let directory = file::open_at_start(&path, libc::O_DIRECTORY | libc::O_RDONLY).unwrap();
            body(directory).await;
            flag.set(true);
        };
        cores::block_on(&settings(engine), run).expect("the core starts");
        assert!(passed.get(), "{name} failed on {engine}");
    }
}

/// Both ends of a new connection.
async fn connected() -> (net::Socket, net::Socket) {
    let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let (address, mut acceptor) = (listener.address(), Acceptor::new(listener).unwrap());
    let client = net::connect(address).await.unwrap();
    (client, acceptor.accept().await.unwrap())
}

fn name(text: &str) -> CString {
    CString::new(text).unwrap()
}

const MAKE: Opening = Opening { flags: libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode: 0o640, resolve: 0 };

#[test]
fn a_file_is_written_named_read_and_removed() {
    on_both_engines("life", |directory| async move {
        let unnamed = Opening { flags: libc::O_RDWR | libc::O_TMPFILE, mode: 0o640, resolve: 0 };
        let file = file::open(&directory, name("."), unnamed, ME).await.unwrap();
        let mut block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        block[..5].copy_from_slice(b"hello");
        let (written, block) = file::write_at(&file, block.freeze(), 0..5, 0, ME).finish().await;
        assert_eq!(written, Ok(5));
        file::set_attribute(&file, c"user.s3", Box::from(*b"record"), 0, ME).await.unwrap();
        file::sync(&file, Sync::Content).await.unwrap();
        file::link(&file, &directory, name("object"), ME).await.unwrap();
        assert_eq!(file::link(&file, &directory, name("object"), ME).await, Err(Errno::EXIST));
        file::sync(&directory, Sync::Everything).await.unwrap();

        let read = Opening { flags: libc::O_RDONLY, mode: 0, resolve: libc::RESOLVE_BENEATH };
        let again = file::open(&directory, name("object"), read, ME).await.unwrap();
        assert_eq!(stat::stat(&again).unwrap().size_bytes, 5);
        assert_eq!(stat::stat_slow(&again).await.unwrap().inode, stat::stat(&file).unwrap().inode);
        let mut value = [0; 16];
        assert_eq!(file::read_attribute(&again, c"user.s3", &mut value), Ok(6));
        assert_eq!(file::read_attribute_slow(&again, c"user.s3", 16).await.unwrap(), b"record");
        let block = block.unfreeze().map_err(|_| "shared").unwrap();
        let (read, block) = file::read_at(&again, block, 0..100, 0).await;
        assert_eq!((read, &block[..5]), (Ok(5), &b"hello"[..]));

        file::make_directory(&directory, name("sub"), 0o750, ME).await.unwrap();
        let listed: Vec<_> = file::read_directory(&directory).await.unwrap();
        let mut names: Vec<_> = listed.into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, [b"object".to_vec(), b"sub".to_vec()]);
        file::rename(&directory, name("object"), &directory, name("other"), 0, ME).await.unwrap();
        file::unlink(&directory, name("other"), 0, ME).await.unwrap();
        assert_eq!(file::unlink(&directory, name("other"), 0, ME).await, Err(Errno::NOENT));
        file::unlink(&directory, name("sub"), libc::AT_REMOVEDIR, ME).await.unwrap();
    });
}

#[test]
fn space_is_reserved_cut_copied_and_times_are_set() {
    on_both_engines("space", |directory| async move {
        let file = file::open(&directory, name("a"), MAKE, ME).await.unwrap();
        file::allocate(&file, 0, 8192, ME).await.unwrap();
        assert_eq!(stat::stat(&file).unwrap().size_bytes, 8192);
        file::truncate(&file, 5000, ME).await.unwrap();
        assert_eq!(stat::stat(&file).unwrap().size_bytes, 5000);
        file::write_bytes(&file, Box::from(*b"abc"), 0, ME).await.unwrap();
        let copy = file::open(&directory, name("b"), MAKE, ME).await.unwrap();
        assert_eq!(file::copy_range((&file, 0), (&copy, 0), 3, ME).await, Ok(3));
        assert_eq!(file::read_bytes(&copy, 10, 0).await.unwrap(), b"abc");
        file::set_modified(&copy, 1_000_000_123, ME).await.unwrap();
        assert_eq!(stat::stat(&copy).unwrap().modified_ns, 1_000_000_123);
        assert!(stat::space(&copy).unwrap().available_bytes > 0);
    });
}

#[test]
fn a_time_beyond_nanoseconds_is_the_last_that_can_be_said() {
    on_both_engines("year", |directory| async move {
        let opened = file::open(&directory, name("a"), MAKE, ME).await.unwrap();
        let far = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(12_000_000_000);
        let path = format!("/proc/self/fd/{}", opened.raw());
        std::fs::File::options().write(true).open(path).unwrap().set_modified(far).unwrap();
        assert_eq!(stat::stat(&opened).unwrap().modified_ns, i64::MAX);
    });
}

#[test]
fn floods_of_operations_complete_or_are_dropped() {
    on_both_engines("flood", |directory| async move {
        let file = file::open(&directory, name("a"), MAKE, ME).await.unwrap();
        file::write_bytes(&file, Box::from(*b"abc"), 0, ME).await.unwrap();
        // More than the submission and the completion queue of a ring hold.
        let reads: Vec<_> = (0..10_000).map(|_| file::read_bytes(&file, 3, 0)).collect();
        for read in reads {
            assert_eq!(read.await.unwrap(), b"abc");
        }
        let reads: Vec<_> = (0..10_000).map(|_| file::read_bytes(&file, 3, 0)).collect();
        time::sleep(Duration::from_micros(100)).await;
        drop(reads);
        for block in arena::acquire(BlockSize::Small, 64).await {
            drop(file::read_at(&file, block, 0..3, 0));
        }
        for block in arena::acquire(BlockSize::Small, 64).await {
            drop(file::write_at(&file, block.freeze(), 0..3, 0, ME));
        }
        assert_eq!(arena::acquire(BlockSize::Small, 64).await.len(), 64);
    });
}

#[test]
fn a_step_that_is_left_out_makes_no_descriptor() {
    on_both_engines("skip", |directory| async move {
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, mut acceptor) = (listener.address(), Acceptor::new(listener).unwrap());
        let _client = net::connect(address).await.unwrap();
        let skip = |kind| Rule { kind: Some(kind), nth: Nth::From(1), fault: Fault::Skip };
        fault::install(vec![
            skip(OperationKind::Open),
            skip(OperationKind::Accept),
            skip(OperationKind::Sync),
        ]);
        file::sync(&directory, Sync::Everything).await.unwrap();
        assert_eq!(file::open(&directory, name("a"), MAKE, ME).await.err(), Some(Errno::IO));
        assert_eq!(acceptor.accept().await.err(), Some(Errno::IO));
    });
}

#[test]
fn planned_faults_strike_the_nth_operation() {
    on_both_engines("faults", |directory| async move {
        let second_fails = Rule {
            kind: Some(OperationKind::MakeDirectory),
            nth: Nth::Only(2),
            fault: Fault::Fail(Errno::NOSPC),
        };
        let short = Rule { kind: Some(OperationKind::Write), nth: Nth::From(1), fault: Fault::Shorten(2) };
        let slow = Rule {
            kind: Some(OperationKind::Sync),
            nth: Nth::Only(1),
            fault: Fault::Delay(Duration::from_millis(5)),
        };
        fault::install(vec![second_fails, short, slow]);
        file::make_directory(&directory, name("one"), 0o750, ME).await.unwrap();
        assert_eq!(file::make_directory(&directory, name("two"), 0o750, ME).await, Err(Errno::NOSPC));
        file::make_directory(&directory, name("three"), 0o750, ME).await.unwrap();
        let file = file::open(&directory, name("a"), MAKE, ME).await.unwrap();
        // Cut short, and so written in two.
        file::write_bytes(&file, Box::from(*b"abc"), 0, ME).await.unwrap();
        file::sync(&file, Sync::Content).await.unwrap();
        assert_eq!(fault::counted(), 7);
        assert_eq!(file::read_bytes(&file, 9, 0).await.unwrap(), b"abc");
    });
}

#[test]
fn a_delayed_operation_can_be_cancelled() {
    let begun = std::time::Instant::now();
    on_both_engines("delay", |directory| async move {
        let forever = Fault::Delay(Duration::from_secs(3600));
        let all = |kind| Rule { kind: Some(kind), nth: Nth::From(1), fault: forever };
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, mut acceptor) = (listener.address(), Acceptor::new(listener).unwrap());
        let _client = net::connect(address).await.unwrap();
        let server = acceptor.accept().await.unwrap();
        fault::install(vec![all(OperationKind::Receive), all(OperationKind::Sync)]);
        let soon = || time::now().after(Duration::from_millis(5));
        // Cancelled at its deadline.
        let block = arena::acquire(BlockSize::Small, 1).await.remove(0);
        let receiving = net::receive(&server, block, 0..12, Fill::Some, soon());
        let late = time::now().after(Duration::from_secs(5));
        let (received, block) = time::before(late, receiving).await.expect("the deadline ends it");
        assert_eq!(received, Err(Errno::TIMEDOUT));
        // Dropped: the block comes back.
        let lent = || cores::counters().arena_bytes.read() - cores::counters().arena_free_bytes.read();
        let receiving = net::receive(&server, block, 0..12, Fill::Some, late);
        assert!(time::before(soon(), receiving).await.is_none());
        time::sleep(Duration::from_millis(1)).await;
        assert_eq!(lent(), 0);
        // Under way when the core ends, which waits for no delay.
        task::spawn(async move { file::sync(&directory, Sync::Everything).await.unwrap() });
        time::sleep(Duration::from_millis(1)).await;
    });
    assert!(begun.elapsed() < Duration::from_secs(4), "a core waited for an operation no engine had");
}

#[test]
fn a_panicking_task_ends_alone() {
    on_both_engines("panic", |_| async move {
        task::spawn(async { panic!("this task was made to panic") });
        task::yield_now().await;
        task::yield_now().await;
        time::sleep(Duration::from_millis(1)).await;
        assert_eq!(cores::counters().task_panics.read(), 1);
    });
}

/// A waker that looks into the arena, as one of a combinator may by what it drops.
struct LooksIn;

impl std::task::Wake for LooksIn {
    fn wake(self: std::sync::Arc<Self>) {
        assert!(arena::try_acquire(BlockSize::Small, 1).is_none(), "the block that came back is granted");
    }
}

/// Compiles only for types that stay on their core: for one that is `Send` the choice of `A` is ambiguous.
trait StaysOnItsCore<A> {
    fn stays() {}
}

impl<T: ?Sized> StaysOnItsCore<()> for T {}
impl<T: ?Sized + Send> StaysOnItsCore<u8> for T {}

#[test]
fn flights_and_timers_stay_on_their_core() {
    <net::Ready as StaysOnItsCore<_>>::stays();
    <file::Writing as StaysOnItsCore<_>>::stays();
    <time::Sleep as StaysOnItsCore<_>>::stays();
    <arena::Acquire as StaysOnItsCore<_>>::stays();
    <arena::BlockMut as StaysOnItsCore<_>>::stays();
}

#[test]
fn a_waker_finds_nothing_borrowed() {
    on_both_engines("waker", |_| async move {
        let mut all = arena::acquire(BlockSize::Small, 64).await;
        let mut waits = arena::acquire(BlockSize::Small, 1);
        let waker = std::task::Waker::from(std::sync::Arc::new(LooksIn));
        let mut context = std::task::Context::from_waker(&waker);
        assert!(std::pin::Pin::new(&mut waits).poll(&mut context).is_pending());
        drop(all.pop());
        assert_eq!(waits.await.len(), 1);
    });
}

#[test]
fn a_spare_block_is_lent_while_a_quarter_stays_free() {
    let settings = Settings { arena_bytes: 16 << 20, ..settings(Name::Threads) };
    let passed = Rc::new(Cell::new(false));
    let flag = passed.clone();
    let run = async move {
        let spare = || arena::try_acquire_spare(BlockSize::Large);
        let mut lent: Vec<_> = std::iter::from_fn(spare).collect();
        let free: Vec<_> = std::iter::from_fn(|| arena::try_acquire(BlockSize::Large, 1)).collect();
        assert_eq!(free.len(), (lent.len() + free.len()) / 4);
        drop(free);
        assert!(spare().is_none());
        lent.pop();
        assert!(spare().is_some());
        flag.set(true);
    };
    cores::block_on(&settings, run).unwrap();
    assert!(passed.get());
}

#[test]
fn a_block_may_outlive_its_core() {
    for engine in [Name::IoUring, Name::Threads] {
        let kept = Rc::new(RefCell::new(None));
        let keep = kept.clone();
        let first = async move {
            let mut block = arena::acquire(BlockSize::Small, 1).await.remove(0);
            block[0] = 1;
            *keep.borrow_mut() = Some(block);
        };
        cores::block_on(&settings(engine), first).unwrap();
        assert_eq!(kept.borrow().as_ref().unwrap()[..2], [1, 0xA5]);
        let free = Rc::new(Cell::new((0, 1)));
        let counted = free.clone();
        let second = async move {
            kept.borrow_mut().take();
            time::sleep(Duration::from_millis(1)).await;
            let counters = cores::counters();
            counted.set((counters.arena_free_bytes.read(), counters.arena_bytes.read()));
        };
        cores::block_on(&settings(engine), second).unwrap();
        assert_eq!(free.get().0, free.get().1, "the block of another core was taken in on {engine}");
    }
}

#[test]
fn a_flight_that_outlives_its_core_leaves_the_next_one_alone() {
    for engine in [Name::IoUring, Name::Threads] {
        let kept = Rc::new(RefCell::new(None));
        let keep = kept.clone();
        let path: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &format!("outlives-{engine}")].iter().collect();
        std::fs::write(&path, b"").unwrap();
        let first = async move {
            let block = arena::acquire(BlockSize::Small, 1).await.remove(0);
            let opened = file::open_at_start(&path, libc::O_RDWR).unwrap();
            *keep.borrow_mut() = Some(file::write_at(&opened, block.freeze(), 0..5, 0, ME));
            time::sleep(Duration::from_millis(20)).await;
        };
        let begun = std::time::Instant::now();
        cores::block_on(&settings(engine), first).unwrap();
        assert!(begun.elapsed() < cores::TEARDOWN, "the core waited for an operation that had ended");
        let passed = Rc::new(Cell::new(false));
        let flag = passed.clone();
        let second = async move {
            let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
            let client = net::connect(listener.address()).await.unwrap();
            let server = Acceptor::new(listener).unwrap().accept().await.unwrap();
            let waits: Vec<_> = (0..4).map(|_| net::ready(&server, Readiness::Readable)).collect();
            time::sleep(Duration::from_millis(1)).await;
            drop(kept.borrow_mut().take());
            time::sleep(Duration::from_millis(1)).await;
            net::send_now(&client, &[std::io::IoSlice::new(b"x")], Following::Nothing).unwrap();
            for wait in waits {
                wait.await.unwrap();
            }
            flag.set(true);
        };
        cores::block_on(&settings(engine), second).unwrap();
        assert!(passed.get(), "on {engine}");
    }
}

#[test]
fn a_core_whose_main_panics_takes_no_letters() {
    for engine in [Name::IoUring, Name::Threads] {
        let running = cores::start(&settings(engine), |_| panic!("this main was made to panic")).unwrap();
        let mailboxes = running.mailboxes();
        assert_eq!(running.join(), Err(1), "on {engine}");
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        mailboxes[0].run(move || sender.send(()).unwrap());
        let answer = receiver.recv_timeout(Duration::from_secs(1));
        assert_eq!(answer, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "on {engine}");
    }
}

/// Starts a task when it is dropped; the task notes on which core it is dropped in turn.
struct SpawnsInDrop(Rc<Cell<Option<usize>>>);

impl Drop for SpawnsInDrop {
    fn drop(&mut self) {
        struct Notes(Rc<Cell<Option<usize>>>);
        impl Drop for Notes {
            fn drop(&mut self) {
                self.0.set(Some(cores::index()));
            }
        }
        let notes = Notes(self.0.clone());
        task::spawn(async move {
            time::sleep(Duration::from_secs(3600)).await;
            drop(notes);
        });
    }
}

#[test]
fn no_task_outlives_its_core() {
    for engine in [Name::IoUring, Name::Threads] {
        let noted = Rc::new(Cell::new(None));
        let spawns = SpawnsInDrop(noted.clone());
        let main = async move {
            task::spawn(async move {
                time::sleep(Duration::from_secs(3600)).await;
                drop(spawns);
            });
            task::yield_now().await;
        };
        cores::block_on(&settings(engine), main).unwrap();
        assert_eq!(noted.get(), Some(0), "a task was dropped outside its core on {engine}");
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("this drop was made to panic");
    }
}

#[test]
fn a_task_whose_drop_panics_ends_alone() {
    on_both_engines("bomb", |_| async move {
        let bomb = Bomb;
        // A closure keeps what it holds until the task is dropped, after its last poll.
        task::spawn(std::future::poll_fn(move |_| {
            let _held = &bomb;
            std::task::Poll::Ready(())
        }));
        time::sleep(Duration::from_millis(1)).await;
        assert_eq!(cores::counters().task_panics.read(), 1);
        // This one is dropped with the core.
        let bomb = Bomb;
        task::spawn(async move {
            time::sleep(Duration::from_secs(3600)).await;
            drop(bomb);
        });
    });
}

/// The engine a process started by the next test is to panic on.
const PANIC_ON: &str = "URING_TEST_PANIC_ON";

#[test]
fn a_panic_outside_a_task_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    if let Ok(engine) = std::env::var(PANIC_ON) {
        let engine = if engine == "threads" { Name::Threads } else { Name::IoUring };
        let sleep = |_| -> cores::Main { Box::pin(time::sleep(Duration::from_secs(30))) };
        let running = cores::start(&settings(engine), sleep).unwrap();
        running.mailboxes()[0].run(|| panic!("this letter was made to panic"));
        let _ = running.join();
        std::process::exit(0);
    }
    for engine in [Name::IoUring, Name::Threads] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "a_panic_outside_a_task_ends_the_process"]);
        let ended = child.env(PANIC_ON, engine.to_string()).output().unwrap();
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "on {engine}");
    }
}

#[test]
fn a_letter_to_a_core_that_has_ended_is_dropped() {
    for engine in [Name::IoUring, Name::Threads] {
        let running = cores::start(&settings(engine), |_| Box::pin(async {})).unwrap();
        let mailboxes = running.mailboxes();
        running.join().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        mailboxes[0].run(move || sender.send(()).unwrap());
        let answer = receiver.recv_timeout(Duration::from_secs(1));
        assert_eq!(answer, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "on {engine}");
    }
}

#[test]
fn a_core_that_fills_the_pool_does_not_stop_another() {
    const COPIES: usize = 3000;
    for engine in [Name::IoUring, Name::Threads] {
        let path: PathBuf = [env!("CARGO_TARGET_TMPDIR"), &format!("pool-{engine}")].iter().collect();
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("from"), vec![7; 256 * 1024]).unwrap();
        std::fs::write(path.join("to"), []).unwrap();
        let mut settings = settings(engine);
        settings.cpus = vec![settings.cpus[0]; 2];
        settings.pool_threads_max = 1;
        let (sender, receiver) = crossbeam::channel::bounded(1);
        let running = cores::start(&settings, move |index| {
            let (path, sender, receiver) = (path.clone(), sender.clone(), receiver.clone());
            Box::pin(async move {
                let from = file::open_at_start(&path.join("from"), libc::O_RDONLY).unwrap();
                if index == 0 {
                    let to = file::open_at_start(&path.join("to"), libc::O_RDWR).unwrap();
                    let copy = |_| file::copy_range((&from, 0), (&to, 0), 256 * 1024, ME);
                    let copies: Vec<_> = (0..COPIES).map(copy).collect();
                    sender.send(()).unwrap();
                    for copy in copies {
                        copy.await.unwrap();
                    }
                } else {
                    receiver.recv().unwrap();
                    let one = file::set_modified(&from, 1_000_000_000, ME);
                    let late = time::now().after(Duration::from_secs(30));
                    time::before(late, one).await.expect("the pool serves both cores").unwrap();
                }
            })
        });
        let running = running.unwrap();
        let counters = running.counters();
        running.join().unwrap();
        assert_eq!(counters[1].task_panics.read(), 0, "on {engine}");
    }
}

#[test]
fn cores_reach_each_other_through_mailboxes() {
    for engine in [Name::IoUring, Name::Threads] {
        let mut settings = settings(engine);
        settings.cpus = vec![settings.cpus[0]; 2];
        let (sender, receiver) = std::sync::mpsc::channel();
        let running = cores::start(&settings, |_| {
            Box::pin(async {
                time::sleep(Duration::from_millis(100)).await;
            })
        })
        .unwrap();
        for mailbox in running.mailboxes() {
            let sender = sender.clone();
            mailbox.run(move || sender.send(cores::index()).unwrap());
        }
        let mut seen = [receiver.recv().unwrap(), receiver.recv().unwrap()];
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
        running.join().unwrap();
    }
}
