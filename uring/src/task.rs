//! The executor of a core: tasks that never leave it.
//!
//! A waker is a number: the core's serial, the task's index and its generation. Waking on the task's own core pushes
//! the index to a queue; from elsewhere it goes through the mailbox. A task that panics ends alone and is counted;
//! a panic outside a task ends the process. Tasks have no handles: they report through what they share.
//! Source: std::task::RawWaker.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use crate::cores::{self, Core};
use crate::mailbox;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

struct Entry {
    // Out of its place while it is polled.
    future: Option<Boxed>,
    generation: u16,
    queued: bool,
    used: bool,
}

/// The tasks of one core.
#[derive(Default)]
pub(crate) struct Tasks {
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<u32>>,
    panics: Cell<u64>,
    // Set when the core ends: a task that is started by the drop of another would not be dropped with its core.
    is_closed: Cell<bool>,
}

/// A task's number as it stands in a waker.
///
/// Shape: core serial in bits 48..64, generation in 32..48, index in 0..32.
#[derive(Clone, Copy)]
struct TaskNumber(u64);

impl TaskNumber {
    fn new(serial: u16, generation: u16, index: u32) -> TaskNumber {
        TaskNumber(u64::from(serial) << 48 | u64::from(generation) << 32 | u64::from(index))
    }

    fn serial(self) -> u16 {
        (self.0 >> 48) as u16
    }

    fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }

    fn index(self) -> u32 {
        self.0 as u32
    }
}

const _: () = assert!(size_of::<usize>() == 8, "a task's number must fit a pointer");

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone_waker, wake_by_number, wake_by_number, |_| {});

fn clone_waker(number: *const ()) -> RawWaker {
    RawWaker::new(number, &VTABLE)
}

fn wake_by_number(number: *const ()) {
    let number = TaskNumber(number.addr() as u64);
    let here = cores::try_with(|core| {
        let is_home = core.registered.serial == number.serial();
        if is_home {
            core.tasks.wake(number.0);
        }
        is_home
    });
    if here != Some(true) {
        mailbox::wake(number.serial(), number.0);
    }
}

fn waker(number: TaskNumber) -> Waker {
    let raw = RawWaker::new(std::ptr::without_provenance(number.0 as usize), &VTABLE);
    // SAFETY: the functions of the table treat the pointer as a number, so cloning and dropping need nothing, and
    // waking is allowed from any thread: off its core it goes through a mailbox that is Sync.
    unsafe { Waker::from_raw(raw) }
}

impl Tasks {
    fn insert(&self, future: Boxed) {
        if self.is_closed.get() {
            return self.dispose(future);
        }
        let mut entries = self.entries.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            entries.push(Entry { future: None, generation: 0, queued: false, used: false });
            u32::try_from(entries.len() - 1).expect("fewer than 4 billion tasks")
        });
        let entry = &mut entries[index as usize];
        entry.future = Some(future);
        entry.used = true;
        entry.queued = true;
        self.ready.borrow_mut().push_back(index);
    }

    /// Queues a task to be polled; a number of an earlier tenant is ignored.
    pub(crate) fn wake(&self, number: u64) {
        let number = TaskNumber(number);
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(number.index() as usize) else { return };
        if entry.used && entry.generation == number.generation() && !entry.queued {
            entry.queued = true;
            self.ready.borrow_mut().push_back(number.index());
        }
    }

    /// Whether a task waits to be polled.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// How many tasks live on the core.
    pub(crate) fn count(&self) -> usize {
        self.entries.borrow().len() - self.free.borrow().len()
    }

    /// How many tasks have panicked.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Polls up to `most` ready tasks and returns how many.
    pub(crate) fn run(&self, core: &Core, most: usize) -> usize {
        for polled in 0..most {
            let Some(index) = self.ready.borrow_mut().pop_front() else { return polled };
            let (future, generation) = {
                let entry = &mut self.entries.borrow_mut()[index as usize];
                entry.queued = false;
                (entry.future.take(), entry.generation)
            };
            let Some(future) = future else { continue };
            self.poll(core, index, generation, future);
        }
        most
    }

    fn poll(&self, core: &Core, index: u32, generation: u16, mut future: Boxed) {
        let waker = waker(TaskNumber::new(core.registered.serial, generation, index));
        let mut context = Context::from_waker(&waker);
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        match polled {
            Ok(std::task::Poll::Pending) => {
                self.entries.borrow_mut()[index as usize].future = Some(future);
                return;
            }
            Ok(std::task::Poll::Ready(())) => {}
            Err(_) => self.panics.set(self.panics.get() + 1),
        }
        self.dispose(future);
        self.release(index);
    }

    /// Drops a future, which must happen while no table is borrowed: its parts may wake, spawn and panic.
    fn dispose(&self, future: Boxed) {
        if std::panic::catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            self.panics.set(self.panics.get() + 1);
        }
    }

    fn release(&self, index: u32) {
        let entry = &mut self.entries.borrow_mut()[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.used = false;
        self.free.borrow_mut().push(index);
    }

    /// Drops all tasks, and from now on new ones at once, for the end of the core.
    pub(crate) fn clear(&self) {
        self.is_closed.set(true);
        let count = self.entries.borrow().len();
        for index in 0..count {
            let future = self.entries.borrow_mut()[index].future.take();
            if let Some(future) = future {
                self.dispose(future);
                self.release(index as u32);
            }
        }
        self.ready.borrow_mut().clear();
    }
}

/// Ends the process when a panic passes it.
///
/// A thread that unwinds would free slots and blocks that the kernel and other threads still use.
pub(crate) struct PanicEndsProcess;

impl Drop for PanicEndsProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Starts a task on the current core; a core that ends drops it at once.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let future: Boxed = Box::pin(future);
    cores::with(|core| core.tasks.insert(future));
}

/// Lets other ready tasks of the core run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
