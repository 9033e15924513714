//! What the control thread and a core say to each other: commands one way, reports the other.
//! Neither side ever waits: a command is queued and the core woken by a function it chose, a report has its place
//! kept from the start. It carries no request and no byte of an object.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use tokio::sync::mpsc;

use crate::server::lifecycle::{Ending, Event};

/// What the control thread tells a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreCommand {
    /// Take no new connection, let requests in flight finish, close idle connections, then report `drained`.
    Drain,
    /// Cut what still runs and end the thread.
    Stop,
}

/// Each command is sent at most once in a core's life.
const COMMANDS_MAX: usize = 2;

/// The control thread's end of one core's commands.
pub struct CommandSender {
    queue: Arc<ArrayQueue<CoreCommand>>,
    wake: Box<dyn Fn() + Send>,
}

/// The core's end of its commands.
pub struct CommandReceiver {
    queue: Arc<ArrayQueue<CoreCommand>>,
}

/// A channel for commands to one core.
/// Shape: `wake` runs on the control thread after each command; it must not block (an eventfd write does not).
pub fn command_channel(wake: Box<dyn Fn() + Send>) -> (CommandSender, CommandReceiver) {
    let queue = Arc::new(ArrayQueue::new(COMMANDS_MAX));
    (CommandSender { queue: Arc::clone(&queue), wake }, CommandReceiver { queue })
}

impl CommandSender {
    /// Queues `command` and wakes the core.
    pub fn send(&self, command: CoreCommand) {
        self.queue.push(command).expect("a command is sent at most once");
        (self.wake)();
    }
}

impl CommandReceiver {
    /// The next command, if one is queued.
    pub fn try_receive(&self) -> Option<CoreCommand> {
        self.queue.pop()
    }
}

/// One core's voice to the control thread.
/// Dropped without `ended`, by a panic too, it reports that the core failed: no core can vanish unnoticed.
pub struct CoreReports {
    core_index: usize,
    events: mpsc::Sender<Event>,
    ending: Ending,
}

/// The control thread's end of all reports.
pub struct Inbox {
    pub(super) cores_count: usize,
    pub(super) events: mpsc::Receiver<Event>,
    /// For what the control thread itself has to say: signals and deadlines.
    pub(super) own: mpsc::Sender<Event>,
}

/// Ready, drained, ended.
const REPORTS_PER_CORE: usize = 3;
/// Three signals (drain, stop, leave) and two deadlines; after those nobody listens any more.
pub(super) const SIGNALS_MAX: usize = 3;
const DEADLINES_MAX: usize = 2;
/// The process that holds the server may stop it once.
const STOPS_MAX: usize = 1;

/// The reports of `cores_count` cores, in the order of their indexes.
pub fn reports(cores_count: usize) -> (Vec<CoreReports>, Inbox) {
    // Room for everything that can ever be said, so that no core waits and nothing is lost.
    let capacity = cores_count * REPORTS_PER_CORE + SIGNALS_MAX + DEADLINES_MAX + STOPS_MAX;
    let (own, events) = mpsc::channel(capacity);
    let voice = |core_index| CoreReports { core_index, events: own.clone(), ending: Ending::Failed };
    ((0..cores_count).map(voice).collect(), Inbox { cores_count, events, own })
}

impl CoreReports {
    /// The core listens.
    pub fn ready(&self) {
        self.say(Event::CoreReady(self.core_index));
    }

    /// The core has no connection left.
    pub fn drained(&self) {
        self.say(Event::CoreDrained(self.core_index));
    }

    /// The core did what Stop asked; the last word.
    pub fn ended(mut self) {
        self.ending = Ending::Done;
    }

    fn say(&self, event: Event) {
        match self.events.try_send(event) {
            Ok(()) => (),
            // The control thread is gone: it ended without this core, and the process follows.
            Err(mpsc::error::TrySendError::Closed(_)) => (),
            Err(mpsc::error::TrySendError::Full(_)) => unreachable!("each report has its place"),
        }
    }
}

impl Drop for CoreReports {
    fn drop(&mut self) {
        self.say(Event::CoreEnded(self.core_index, self.ending));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_command_wakes_its_core() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wakes);
        let (sender, receiver) = command_channel(Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(receiver.try_receive(), None);
        sender.send(CoreCommand::Drain);
        sender.send(CoreCommand::Stop);
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        assert_eq!(receiver.try_receive(), Some(CoreCommand::Drain));
        assert_eq!(receiver.try_receive(), Some(CoreCommand::Stop));
        assert_eq!(receiver.try_receive(), None);
    }

    #[test]
    fn every_report_has_its_place_and_no_core_vanishes() {
        let (cores, mut inbox) = reports(2);
        let mut cores = cores.into_iter();
        let (first, second) = (cores.next().expect("core 0"), cores.next().expect("core 1"));
        let panicked = std::thread::spawn(move || {
            let core = second;
            core.ready();
            panic!("the test's own panic");
        });
        assert!(panicked.join().is_err());
        first.ready();
        first.drained();
        first.ended();
        let events: Vec<Event> = std::iter::from_fn(|| inbox.events.try_recv().ok()).collect();
        let want = [
            Event::CoreReady(1),
            Event::CoreEnded(1, Ending::Failed),
            Event::CoreReady(0),
            Event::CoreDrained(0),
            Event::CoreEnded(0, Ending::Done),
        ];
        assert_eq!(events, want);
    }
}
