//! How long a core's loop works, its waits for the kernel left out.
//!
//! All that a turn does is work but the time in which it surely waits. An entry of the kernel that waits also works: it
//! runs what was put off, such as the receiving of a body. That is known from the thread's CPU time, which costs a system
//! call and is read now and then. It decides nothing. Source: clock_gettime(2), CLOCK_THREAD_CPUTIME_ID.

use std::cell::Cell;
use std::time::Duration;

use crate::cores::Counters;
use crate::time::{self, Moment};

/// A turn longer than this is counted: it is what other connections of the core wait.
const SLOW_TURN: Duration = Duration::from_millis(10);
/// Between two looks at the thread's CPU time.
const CPU_LOOK: Duration = Duration::from_millis(10);

/// The clocks of one core's loop.
pub(crate) struct Meter {
    // When the last turn ended.
    turned: Cell<Moment>,
    // The last look at the CPU time, its answer, and what was known of work since.
    looked: Cell<Moment>,
    cpu_ns: Cell<u64>,
    worked_ns: Cell<u64>,
}

impl Meter {
    /// Begins now, on the core's own thread.
    pub(crate) fn start() -> Meter {
        let now = time::now();
        let (turned, looked) = (Cell::new(now), Cell::new(now));
        Meter { turned, looked, cpu_ns: Cell::new(time::thread_cpu_ns()), worked_ns: Cell::new(0) }
    }

    /// Counts a turn that has just ended, `waited` of it without work.
    pub(crate) fn turn_ended(&self, counters: &Counters, waited: Duration) {
        let now = time::now();
        let worked = now.since(self.turned.replace(now)).saturating_sub(waited);
        let worked_ns = worked.as_nanos() as u64;
        counters.turns.add(1);
        counters.busy_ns.add(worked_ns);
        if worked > SLOW_TURN {
            counters.slow_turns.add(1);
        }
        if worked_ns > counters.longest_turn_ns.read() {
            counters.longest_turn_ns.set(worked_ns);
        }
        self.worked_ns.set(self.worked_ns.get() + worked_ns);
        if now.since(self.looked.get()) >= CPU_LOOK {
            self.looked.set(now);
            self.add_hidden(counters);
        }
    }

    /// Adds the CPU time that was used while the loop seemed to wait.
    fn add_hidden(&self, counters: &Counters) {
        let cpu_ns = time::thread_cpu_ns();
        let used_ns = cpu_ns - self.cpu_ns.replace(cpu_ns);
        counters.busy_ns.add(used_ns.saturating_sub(self.worked_ns.replace(0)));
    }
}
