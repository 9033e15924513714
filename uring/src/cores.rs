//! Cores: pinned threads that share nothing, and the loop each of them runs.
//!
//! A core owns its engine, slots, arena, tasks and timers. One turn polls ready tasks, opens the mailbox, fires timers
//! and enters the kernel once. A core runs one main future; when that ends, its tasks are dropped, what is in flight is
//! awaited, the engine closes, and only then the arena. It knows nothing of what the tasks do.
//! Source: io-uring pitfalls in io_uring_cancelation(7).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::affinity;
use crate::arena::{Arena, Registration};
use crate::blocking::Pool;
use crate::engine::{Engine, Name, Refusal};
use crate::errno::Errno;
use crate::fault::{Faults, Plan};
use crate::flight;
use crate::lane::Lanes;
use crate::mailbox::{Letter, Mailbox, Registered};
use crate::meter::Meter;
use crate::ring;
use crate::shortage::{self, Shortage};
use crate::slot::Slots;
use crate::task::{self, PanicEndsProcess, Tasks};
use crate::time::{self, Moment, Timers};

/// Tasks polled before the kernel is entered again.
const POLLS_A_TURN: usize = 128;
/// Letters opened before the kernel is entered again.
const LETTERS_A_TURN: usize = 256;
/// How long a core waits at its end for operations the kernel will not give back.
pub const TEARDOWN: Duration = Duration::from_secs(5);

/// How a start of cores is to look.
#[derive(Clone)]
pub struct Settings {
    /// The CPU of each core, in order.
    pub cpus: Vec<usize>,
    /// Which engine runs.
    pub engine: Name,
    /// The size of each core's arena in bytes.
    pub arena_bytes: usize,
    /// The most threads of the blocking pool, all cores together.
    pub pool_threads_max: usize,
    /// Planned faults; empty in production.
    pub faults: Plan,
}

/// One counter with one writer, readable from any thread.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds on the owning core.
    pub fn add(&self, amount: u64) {
        // One writer, so a plain load and store are enough and cost no locked instruction.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Sets on the owning core.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads from anywhere.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a core counts about itself.
#[derive(Default)]
pub struct Counters {
    /// Turns of the loop.
    pub turns: Counter,
    /// Nanoseconds not spent waiting for the kernel, entries of it included.
    pub busy_ns: Counter,
    /// The longest turn in nanoseconds, waiting not counted.
    pub longest_turn_ns: Counter,
    /// Turns longer than 10 ms, waiting not counted.
    pub slow_turns: Counter,
    /// Times the submission queue was full before the turn's end.
    pub submissions_full: Counter,
    /// `io_uring_enter` or `epoll_pwait2` calls.
    pub enters: Counter,
    /// Completions taken in from the ring.
    pub completions: Counter,
    /// Operations handed to the blocking pool.
    pub pool_jobs: Counter,
    /// Threads of the pool at work.
    pub pool_busy: Counter,
    /// Operations waiting for a thread of the pool.
    pub pool_queued: Counter,
    /// Writes of blocks through the registered arena into a file opened with O_DIRECT.
    pub writes_fixed_direct: Counter,
    /// Other writes of blocks.
    pub writes_other: Counter,
    /// Operations in flight.
    pub slots_in_use: Counter,
    /// Tasks alive.
    pub tasks: Counter,
    /// Tasks that ended by a panic.
    pub task_panics: Counter,
    /// Memory of the arena's blocks.
    pub arena_bytes: Counter,
    /// Memory of the blocks that are free.
    pub arena_free_bytes: Counter,
    /// Submission queue entries of the ring; zero for the other engine.
    pub ring_entries: Counter,
    /// Operations that had not ended when the core did.
    pub left_behind: Counter,
}

impl Counters {
    pub(crate) fn count_write(&self, registration: Registration, is_direct: bool) {
        let counter = match registration {
            Registration::Registered { .. } if is_direct => &self.writes_fixed_direct,
            Registration::Registered { .. } | Registration::Unregistered => &self.writes_other,
        };
        counter.add(1);
    }
}

/// Whether a turn may wait in the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Work is there: look and go on.
    No,
    /// Nothing to do before this moment, or before something happens.
    Until(Option<Moment>),
}

/// Everything a core owns.
pub(crate) struct Core {
    // INVARIANT: dropped in this order: the engine lets go of the kernel before slots and arena are freed.
    pub(crate) engine: Engine,
    pub(crate) slots: Slots,
    pub(crate) tasks: Tasks,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) faults: Faults,
    pub(crate) lanes: Lanes,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) registered: Registered,
    pub(crate) index: usize,
    // Set when the main future has ended, so that the turn it ended in does not wait.
    has_ended: Cell<bool>,
    pub(crate) arena: Arena,
}

thread_local! {
    static CORE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Runs `act` with the current core.
pub(crate) fn with<T>(act: impl FnOnce(&Core) -> T) -> T {
    try_with(act).expect("this is called on a core's thread only")
}

/// Runs `act` with the current core, if this thread is one.
pub(crate) fn try_with<T>(act: impl FnOnce(&Core) -> T) -> Option<T> {
    CORE.try_with(|core| core.borrow().as_deref().map(act)).ok().flatten()
}

/// The current core's place in its start, from zero.
pub fn index() -> usize {
    with(|core| core.index)
}

/// The current core's counters.
pub fn counters() -> Arc<Counters> {
    with(|core| core.counters.clone())
}

/// What cores found at their start that an operator should know, as one sentence.
pub type Notice = String;

/// Why no core runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The engine cannot be had for each core; the other one may be.
    Engine(Refusal),
    /// Memory, a thread or a descriptor cannot be had.
    System(Errno),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Engine(refusal) => refusal.fmt(f),
            StartError::System(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> StartError {
        StartError::System(errno)
    }
}

/// Cores that run.
pub struct Running {
    cores: Vec<RunningCore>,
    /// What was found at start-up.
    pub notices: Vec<Notice>,
}

struct RunningCore {
    mailbox: Arc<Mailbox>,
    counters: Arc<Counters>,
    thread: JoinHandle<()>,
}

impl Running {
    /// The mailboxes, in the order of the cores.
    pub fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.cores.iter().map(|core| core.mailbox.clone()).collect()
    }

    /// The counters, in the order of the cores.
    pub fn counters(&self) -> Vec<Arc<Counters>> {
        self.cores.iter().map(|core| core.counters.clone()).collect()
    }

    /// Waits until every core's main future has ended.
    ///
    /// Errors: the number of cores whose future could not be made because `main` panicked. A panic in a task ends the
    /// task, any other the process.
    pub fn join(self) -> Result<(), usize> {
        let failed = self.cores.into_iter().filter_map(|core| core.thread.join().err()).count();
        if failed == 0 { Ok(()) } else { Err(failed) }
    }

    /// Waits as `join` does, but no longer than `within`, and not for threads that the kernel keeps: it lets none go as long
    /// as a filesystem does not answer an operation of its ring.
    ///
    /// Errors: the number of cores that have not ended, or not with all their operations; only the end of the process ends
    /// those.
    pub fn join_within(self, within: Duration) -> Result<(), usize> {
        let deadline = time::now().after(within);
        while self.cores.iter().any(|core| !core.thread.is_finished()) && time::now() < deadline {
            std::thread::sleep(JOIN_PAUSE);
        }
        let has_left =
            |core: &RunningCore| !core.thread.is_finished() || core.counters.left_behind.read() > 0;
        let (left, ended) = self.cores.into_iter().partition::<Vec<_>, _>(has_left);
        for core in ended {
            let _ = core.thread.join();
        }
        if left.is_empty() { Ok(()) } else { Err(left.len()) }
    }
}

/// Between two looks whether a thread has ended: nothing else tells without waiting for good.
const JOIN_PAUSE: Duration = Duration::from_millis(2);

/// A core's main future.
pub type Main = Pin<Box<dyn Future<Output = ()>>>;

/// Starts one thread for each CPU of `settings`; each runs the future that `main` makes for its index.
///
/// Errors: that of the first core whose engine, arena or mailbox cannot be had; no core runs then.
pub fn start(
    settings: &Settings,
    main: impl Fn(usize) -> Main + Send + Sync + 'static,
) -> Result<Running, StartError> {
    let main = Arc::new(main);
    let pool = Arc::new(Pool::new(settings.pool_threads_max, &settings.cpus));
    let mut running = Running { cores: Vec::new(), notices: Vec::new() };
    let (mut begins, mut shortages) = (Vec::new(), Vec::new());
    for (index, cpu) in settings.cpus.iter().enumerate() {
        let (opened_sender, opened) = mpsc::channel();
        let (begin, begin_receiver) = mpsc::channel::<()>();
        let (settings, pool, main, cpu) = (settings.clone(), pool.clone(), main.clone(), *cpu);
        let work = move || {
            let core = match open(&settings, index, cpu, pool) {
                Ok((core, shortages)) => {
                    let sent =
                        opened_sender.send(Ok((core.mailbox.clone(), core.counters.clone(), shortages)));
                    sent.expect("the starter waits for this");
                    core
                }
                Err(error) => return opened_sender.send(Err(error)).expect("the starter waits for this"),
            };
            // A starter that gave up drops its end.
            if begin_receiver.recv().is_ok() {
                run(core, main(index));
            }
        };
        let thread = std::thread::Builder::new().name(format!("ringway-core-{index}")).spawn(work);
        let thread = thread.map_err(Errno::from)?;
        let (mailbox, counters, lacks) = opened.recv().expect("a core reports how its start went")?;
        running.cores.push(RunningCore { mailbox, counters, thread });
        shortages.extend(lacks);
        begins.push(begin);
    }
    running.notices = shortage::tell(&shortages, settings.cpus.len());
    for begin in begins {
        begin.send(()).expect("a core that opened waits for this");
    }
    Ok(running)
}

/// Runs one future on the calling thread as the only core, for tests and tools.
pub fn block_on(settings: &Settings, main: impl Future<Output = ()> + 'static) -> Result<(), StartError> {
    let cpu = settings.cpus.first().copied().ok_or(Errno::INVAL)?;
    let (core, _) = open(settings, 0, cpu, Arc::new(Pool::new(settings.pool_threads_max, &settings.cpus)))?;
    run(core, Box::pin(main));
    Ok(())
}

fn open(
    settings: &Settings,
    index: usize,
    cpu: usize,
    pool: Arc<Pool>,
) -> Result<(Core, Vec<Shortage>), StartError> {
    let mut shortages = Vec::new();
    if let Err(error) = affinity::pin(cpu) {
        shortages.push(Shortage::Cpu(error));
    }
    let arena = Arena::map(settings.arena_bytes, settings.faults.poison)?;
    let mailbox = Arc::new(Mailbox::new()?);
    let engine = Engine::open(settings.engine, &arena, &mailbox, &mut shortages)?;
    let counters = Arc::new(Counters::default());
    if let Engine::Ring(ring) = &engine {
        counters.ring_entries.set(u64::from(ring.entries));
    }
    let core = Core {
        engine,
        slots: Slots::default(),
        tasks: Tasks::default(),
        timers: RefCell::default(),
        faults: Faults::new(&settings.faults),
        lanes: Lanes::new(ring::WORKERS[0] as usize, settings.pool_threads_max, settings.cpus.len()),
        pool,
        counters,
        registered: Registered::new(mailbox.clone()),
        mailbox,
        index,
        has_ended: Cell::new(false),
        arena,
    };
    Ok((core, shortages))
}

fn run(core: Core, main: Main) {
    // Dropped last, after the core.
    let _guard = PanicEndsProcess;
    let core = Rc::new(core);
    CORE.with(|current| *current.borrow_mut() = Some(core.clone()));
    core.engine.start(&core);
    task::spawn(async move {
        // Set by a drop, so that a main future that panics ends the core too.
        let _end = EndOfMain;
        main.await;
    });
    let meter = Meter::start();
    while !core.has_ended.get() {
        turn(&core, &meter, None);
    }
    core.tasks.clear();
    let deadline = time::now().after(TEARDOWN);
    while core.slots.pending() > 0 && time::now() < deadline {
        turn(&core, &meter, Some(deadline));
    }
    core.registered.leave();
    CORE.with(|current| current.borrow_mut().take());
    if core.slots.pending() > 0 {
        core.counters.left_behind.set(core.slots.pending() as u64);
        // The kernel or a pool thread still has operations of a filesystem that hangs: their memory must stay.
        std::mem::forget(core);
    }
}

struct EndOfMain;

impl Drop for EndOfMain {
    fn drop(&mut self) {
        try_with(|core| core.has_ended.set(true));
    }
}

/// One turn of the loop; `latest` bounds its wait beside the timers.
fn turn(core: &Core, meter: &Meter, latest: Option<Moment>) {
    core.tasks.run(core, POLLS_A_TURN);
    for _ in 0..LETTERS_A_TURN {
        match core.mailbox.take() {
            None => break,
            Some(Letter::Wake(task)) => core.tasks.wake(task),
            Some(Letter::Completed(token, result)) => flight::complete(core, token, result),
            Some(Letter::Run(act)) => act(),
        }
    }
    fire_timers(core);
    // At the end of a core the turn that settles the last operation must not wait for another.
    let is_settled = core.has_ended.get() && (latest.is_none() || core.slots.pending() == 0);
    let wait = if is_settled || core.tasks.has_ready() || !core.mailbox.may_wait() {
        Wait::No
    } else {
        let timer = core.timers.borrow().first();
        Wait::Until(timer.into_iter().chain(latest).min())
    };
    observe(core);
    let waited = core.engine.turn(core, wait);
    core.mailbox.woke();
    meter.turn_ended(&core.counters, waited);
}

fn fire_timers(core: &Core) {
    if core.timers.borrow().first().is_none() {
        return;
    }
    let now = time::now();
    loop {
        // The borrow ends before the waker runs.
        let waker = core.timers.borrow_mut().expire(now);
        match waker {
            Some(waker) => waker.wake(),
            None => return,
        }
    }
}

fn observe(core: &Core) {
    let counters = &core.counters;
    counters.slots_in_use.set(core.slots.in_use() as u64);
    counters.tasks.set(core.tasks.count() as u64);
    counters.task_panics.set(core.tasks.panics());
    let (free_bytes, bytes) = core.arena.bytes();
    counters.arena_bytes.set(bytes);
    counters.arena_free_bytes.set(free_bytes);
    let (pool_busy, pool_queued) = core.pool.load();
    counters.pool_busy.set(pool_busy as u64);
    counters.pool_queued.set(pool_queued as u64);
}
