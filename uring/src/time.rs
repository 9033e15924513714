//! Time: the only file that reads a clock, and the timers of a core.
//!
//! Time-outs use the monotonic clock; only signatures, dates and logs use wall time. A timer is an entry of its
//! core's ordered map; the core's wait ends no later than the first entry.
//! Source: clock_gettime(2).

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::cores;

/// Monotonic time since an arbitrary start.
///
/// Units: nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `duration` later.
    pub fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration.as_nanos().min(u128::from(u64::MAX)) as u64))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Reads the monotonic clock.
pub fn now() -> Moment {
    Moment(read_clock(libc::CLOCK_MONOTONIC))
}

/// Reads the wall clock.
///
/// Units: nanoseconds since 1970-01-01 00:00 UTC.
pub fn unix_ns() -> u64 {
    read_clock(libc::CLOCK_REALTIME)
}

/// The CPU time this thread has used.
///
/// Units: nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The CPU time this process has used, all threads together.
///
/// Units: nanoseconds.
pub fn process_cpu_ns() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut value = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `value` is a valid timespec for the length of the call and the clock ids above always exist.
    let result = unsafe { libc::clock_gettime(clock, &mut value) };
    assert!(result == 0, "clock_gettime cannot fail for a clock that exists");
    (value.tv_sec as u64) * 1_000_000_000 + value.tv_nsec as u64
}

/// The timers of one core, first deadline first.
#[derive(Default)]
pub(crate) struct Timers {
    // INVARIANT: the second half of the key is unique, so two timers of one moment never collide.
    entries: BTreeMap<(Moment, u64), Waker>,
    next_serial: u64,
}

impl Timers {
    fn insert(&mut self, deadline: Moment, waker: Waker) -> u64 {
        self.next_serial += 1;
        self.entries.insert((deadline, self.next_serial), waker);
        self.next_serial
    }

    /// The first deadline, when there is one.
    pub(crate) fn first(&self) -> Option<Moment> {
        self.entries.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Takes one waker whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Moment) -> Option<Waker> {
        let (deadline, serial) = *self.entries.first_key_value()?.0;
        if deadline > now { None } else { self.entries.remove(&(deadline, serial)) }
    }
}

/// Ends at a moment; made by [`sleep`] and [`sleep_until`].
pub struct Sleep {
    deadline: Moment,
    serial: Option<u64>,
    // The serial is a number of this core's timers, so a sleep must not move to a thread that has others.
    of_core: PhantomData<*const ()>,
}

impl Sleep {
    /// Whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        now() >= self.deadline
    }
}

/// Waits for `duration` on the current core.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now().after(duration))
}

/// Waits until `deadline` on the current core.
pub fn sleep_until(deadline: Moment) -> Sleep {
    Sleep { deadline, serial: None, of_core: PhantomData }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        cores::with(|core| {
            let mut timers = core.timers.borrow_mut();
            match self.serial {
                // An entry that is gone has fired; one that is there may have been polled by another wake-up.
                Some(serial) => match timers.entries.get_mut(&(deadline, serial)) {
                    None => Poll::Ready(()),
                    Some(waker) => {
                        waker.clone_from(context.waker());
                        Poll::Pending
                    }
                },
                None if now() >= deadline => Poll::Ready(()),
                None => {
                    self.serial = Some(timers.insert(deadline, context.waker().clone()));
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(serial) = self.serial {
            let deadline = self.deadline;
            cores::try_with(|core| core.timers.borrow_mut().entries.remove(&(deadline, serial)));
        }
    }
}

/// The first of two futures to end; the other is dropped with the returned future.
pub enum First<A, B> {
    /// The left future ended.
    Left(A),
    /// The right future ended.
    Right(B),
}

/// Polls two futures, the left one first, until one ends.
///
/// Both stay with the caller, so that the loser may be awaited again.
pub async fn race<A, B>(
    left: &mut (impl Future<Output = A> + Unpin),
    right: &mut (impl Future<Output = B> + Unpin),
) -> First<A, B> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = Pin::new(&mut *left).poll(context) {
            return Poll::Ready(First::Left(value));
        }
        Pin::new(&mut *right).poll(context).map(First::Right)
    })
    .await
}

/// Waits for `future` until `deadline`; `None` when the deadline came first and the future was dropped.
pub async fn before<T>(deadline: Moment, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut sleep = sleep_until(deadline);
    match race(&mut future, &mut sleep).await {
        First::Left(value) => Some(value),
        First::Right(()) => None,
    }
}
