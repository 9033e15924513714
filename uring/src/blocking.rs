//! The blocking pool: a bounded number of threads that run operations as plain system calls.
//!
//! One pool serves all cores of a start. A job is a slot: the thread runs the operation where it stands and sends the
//! result to the core's mailbox. Threads are started on demand and live as long as the pool.
//! It decides nothing about which operations need it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, unbounded};

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

/// The pool all cores of a start share.
pub(crate) struct Pool {
    // INVARIANT: every job is a slot in use, so the table of slots bounds the queue. A bound of the queue's own would
    // leave a core with a job refused because of another core's, and nothing to tell it when there is room.
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    threads_max: usize,
    // The CPUs of all cores: a thread would inherit the one of the core that happens to start it.
    cpus: Arc<[usize]>,
    started: AtomicUsize,
    busy: Arc<AtomicUsize>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    pub(crate) fn new(threads_max: usize, cpus: &[usize]) -> Pool {
        let (sender, receiver) = unbounded();
        // Without a thread nothing here would ever complete.
        let threads_max = threads_max.max(1);
        let busy = Arc::new(AtomicUsize::new(0));
        Pool {
            sender,
            receiver,
            threads_max,
            cpus: cpus.into(),
            started: AtomicUsize::new(0),
            busy,
            handles: Mutex::default(),
        }
    }

    /// Threads that are running an operation, and jobs that wait for one.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.busy.load(Ordering::Relaxed), self.sender.len())
    }

    /// Runs a slot's operation on a thread of the pool.
    pub(crate) fn run(&self, core: &Core, token: Token) {
        let job = Job { op: core.slots.address(token.index), token, mailbox: core.mailbox.clone() };
        let sent = self.sender.send(Message::Run(job));
        assert!(sent.is_ok(), "the pool keeps a receiver of its own");
        core.counters.pool_jobs.add(1);
        self.start_thread_if_needed();
    }

    fn start_thread_if_needed(&self) {
        let started = self.started.load(Ordering::Relaxed);
        if started >= self.threads_max
            || (self.sender.is_empty() && started > self.busy.load(Ordering::Relaxed))
        {
            return;
        }
        let mut handles = self.handles.lock().expect("no holder of the lock panics");
        if handles.len() >= self.threads_max {
            return;
        }
        let (receiver, busy, cpus) = (self.receiver.clone(), self.busy.clone(), self.cpus.clone());
        let work = move || {
            let _guard = PanicEndsProcess;
            // Where the CPUs are refused the core runs unpinned too, and has said so.
            let _ = affinity::confine(&cpus);
            while let Ok(Message::Run(job)) = receiver.recv() {
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
            let _ = self.sender.send(Message::End);
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
