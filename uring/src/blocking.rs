//! The blocking pool: a bounded number of threads that run operations as plain system calls.
//!
//! One pool serves all cores of a start. A job is a slot: the thread runs the operation where it stands and sends the
//! result to the core's mailbox. Threads are started on demand and live as long as the pool.
//! It decides nothing about which operations need it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::affinity;
use crate::cores::Core;
use crate::mailbox::{Letter, Mailbox};
use crate::op::Op;
use crate::slot::Token;
use crate::task::PanicEndsProcess;

struct Job {
    op: *mut Option<Op>,
    token: Token,
    mailbox: Arc<Mailbox>,
}

// SAFETY: the pointer is to a slot's operation. From submission to completion the core neither touches nor moves it
// (see the invariant of `Slots`), and the core waits for all completions before its slots are freed. The thread reads
// descriptors and memory through it and clones or drops none of its reference counts.
unsafe impl Send for Job {}

enum Message {
    Run(Job),
    /// The thread that takes this ends.
    End,
}

/// What the threads take their jobs from. Who finds none sleeps at once: a channel that tries again and again first made
/// most of the system calls of the engine without a ring, and took the CPU from the cores that were to bring the jobs.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Message>,
    // Threads that have nothing to do.
    idle: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    /// Adds a message; false when there are more than threads to take them.
    fn push(&self, message: Message) -> bool {
        let mut state = self.lock();
        state.messages.push_back(message);
        let has_taker = state.messages.len() <= state.idle;
        drop(state);
        self.filled.notify_one();
        has_taker
    }

    fn take(&self) -> Message {
        let mut state = self.lock();
        state.idle += 1;
        loop {
            if let Some(message) = state.messages.pop_front() {
                state.idle -= 1;
                return message;
            }
            state = self.filled.wait(state).expect("no holder of the lock panics");
        }
    }
}

/// The pool all cores of a start share.
pub(crate) struct Pool {
    // INVARIANT: every job is a slot in use, so the table of slots bounds the queue. A bound of the queue's own would
    // leave a core with a job refused because of another core's, and nothing to tell it when there is room.
    queue: Arc<Queue>,
    threads_max: usize,
    // The CPUs of all cores: a thread would inherit the one of the core that happens to start it.
    cpus: Arc<[usize]>,
    started: AtomicUsize,
    busy: Arc<AtomicUsize>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    pub(crate) fn new(threads_max: usize, cpus: &[usize]) -> Pool {
        // Without a thread nothing here would ever complete.
        let threads_max = threads_max.max(1);
        let busy = Arc::new(AtomicUsize::new(0));
        Pool {
            queue: Arc::default(),
            threads_max,
            cpus: cpus.into(),
            started: AtomicUsize::new(0),
            busy,
            handles: Mutex::default(),
        }
    }

    /// Threads that are running an operation, and jobs that wait for one.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.busy.load(Ordering::Relaxed), self.queue.lock().messages.len())
    }

    /// Runs a slot's operation on a thread of the pool.
    pub(crate) fn run(&self, core: &Core, token: Token) {
        let job = Job { op: core.slots.address(token.index), token, mailbox: core.mailbox.clone() };
        let has_taker = self.queue.push(Message::Run(job));
        core.counters.pool_jobs.add(1);
        if !has_taker && self.started.load(Ordering::Relaxed) < self.threads_max {
            self.start_thread();
        }
    }

    fn start_thread(&self) {
        let mut handles = self.handles.lock().expect("no holder of the lock panics");
        if handles.len() >= self.threads_max {
            return;
        }
        let (queue, busy, cpus) = (self.queue.clone(), self.busy.clone(), self.cpus.clone());
        let work = move || {
            let _guard = PanicEndsProcess;
            // Where the CPUs are refused the core runs unpinned too, and has said so.
            let _ = affinity::confine(&cpus);
            while let Message::Run(job) = queue.take() {
                busy.fetch_add(1, Ordering::Relaxed);
                run(job);
                busy.fetch_sub(1, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("ringway-pool".to_string()).spawn(work);
        match thread {
            Ok(handle) => {
                handles.push(handle);
                self.started.store(handles.len(), Ordering::Relaxed);
            }
            // With one thread the pool still works; with none it cannot.
            Err(error) => assert!(!handles.is_empty(), "no thread for the blocking pool: {error}"),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let handles = std::mem::take(&mut *self.handles.lock().expect("no holder of the lock panics"));
        for _ in &handles {
            // A thread that a hung filesystem holds never takes its message.
            self.queue.push(Message::End);
        }
        // The threads are not joined: one that hangs in the kernel must not keep the process from ending.
        drop(handles);
    }
}

fn run(job: Job) {
    // SAFETY: see `Job`: until the letter below arrives this thread alone uses the operation.
    let op = unsafe { &mut *job.op };
    let op = op.as_mut().expect("a submitted slot has an operation");
    let mut result = op.call();
    while result == -libc::EINTR {
        result = op.call();
    }
    job.mailbox.post(Letter::Completed(job.token, result));
}
