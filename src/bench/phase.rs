//! A phase: one kind of request over all connections, from the first ticket to the last answer.
//! Every core opens its connections before any sends its first request, so that the figures are those of requests.
//! Cores share nothing but the tickets, and the body, which nobody writes.
//! What the phase is for, and what its figures mean, is known above.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use uring::cores::{self, Main, Settings, StartError};
use uring::errno::Errno;
use uring::net::Socket;
use uring::task;
use uring::time::{self, Moment};

use crate::bench::body::Body;
use crate::bench::exchange::Sink;
use crate::bench::lane::{self, Shared};
use crate::bench::plan::{BenchPlan, Extent};
use crate::bench::request::{Verb, Writer};
use crate::bench::tally::Tally;

/// What a phase is made of.
pub struct Phase<'a> {
    /// The run that it belongs to.
    pub plan: &'a BenchPlan,
    /// What its requests do.
    pub verb: Verb,
    /// When it is over.
    pub extent: Extent,
    /// Connections over all cores.
    pub connections_count: u32,
    /// What its requests carry.
    pub body: Arc<Body>,
    /// The server.
    pub address: SocketAddr,
}

/// What a phase came to.
pub struct Measured {
    /// What the cores counted.
    pub tally: Tally,
    /// From the first request to the last answer.
    pub time_ns: u64,
    /// What this process used in that time.
    pub client_cpu_ns: u64,
    /// What the cores said at their start.
    pub notices: Vec<String>,
}

/// Why a phase came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhaseError {
    /// The cores cannot be started.
    Cores(StartError),
    /// A connection cannot be opened before the first request.
    Connect(Errno),
    /// A core or a lane ended without its counts: a defect of this program.
    Lost,
}

impl fmt::Display for PhaseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PhaseError::Cores(error) => write!(out, "no core can be started: {error}"),
            PhaseError::Connect(errno @ (Errno::MFILE | Errno::NFILE)) => {
                write!(out, "too many connections ({errno}): raise `ulimit -n` or lower --connections")
            }
            PhaseError::Connect(errno) => write!(out, "cannot connect: {errno}"),
            PhaseError::Lost => out.write_str("a connection's counts were lost: this is a defect of ringway"),
        }
    }
}

impl std::error::Error for PhaseError {}

/// Hands out the numbers of requests, over all cores.
pub struct Tickets {
    extent: Extent,
    next: AtomicU64,
    start: OnceLock<Moment>,
    is_closed: AtomicBool,
}

impl Tickets {
    /// Tickets for as many requests as `extent` says.
    pub fn new(extent: Extent) -> Tickets {
        Tickets { extent, next: AtomicU64::new(0), start: OnceLock::new(), is_closed: AtomicBool::new(false) }
    }

    /// The next request's number; none when the phase is over.
    pub fn take(&self) -> Option<u64> {
        let now = time::now();
        let start = *self.start.get_or_init(|| now);
        let is_in_time = match self.extent {
            Extent::Time { time_ms } => now < start.after(Duration::from_millis(time_ms)),
            Extent::Count(_) => true,
        };
        let is_open = is_in_time && !self.is_closed.load(Ordering::Relaxed);
        // Relaxed: the number is all that is shared.
        let number = is_open.then(|| self.next.fetch_add(1, Ordering::Relaxed))?;
        match self.extent {
            Extent::Time { .. } => Some(number),
            Extent::Count(count) => (number < count).then_some(number),
        }
    }

    /// Ends the phase for all cores: there are no more tickets.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }
}

/// What a core reports at its end.
struct CoreReport {
    tally: Tally,
    end: Moment,
}

type Reports = mpsc::Sender<Result<CoreReport, Errno>>;

/// Carries out a phase on cores of its own and waits for its end.
pub fn run(phase: &Phase<'_>, settings: &Settings) -> Result<Measured, PhaseError> {
    let tickets = Arc::new(Tickets::new(phase.extent));
    let (reports, received) = mpsc::channel();
    let cpu_before_ns = time::process_cpu_ns();
    let main = main_of(phase, settings.cpus.len(), tickets.clone(), reports);
    let running = cores::start(settings, main).map_err(PhaseError::Cores)?;
    let (notices, counters) = (running.notices.clone(), running.counters());
    running.join().map_err(|_| PhaseError::Lost)?;
    let client_cpu_ns = time::process_cpu_ns() - cpu_before_ns;
    let mut tally = Tally::new();
    let mut end = None;
    for _ in 0..settings.cpus.len() {
        let report = received.try_recv().map_err(|_| PhaseError::Lost)?.map_err(PhaseError::Connect)?;
        tally.add(report.tally);
        end = end.max(Some(report.end));
    }
    if counters.iter().any(|counters| counters.task_panics.read() > 0) {
        return Err(PhaseError::Lost);
    }
    let time = match (tickets.start.get(), end) {
        (Some(start), Some(end)) => end.since(*start),
        (None, _) | (_, None) => return Err(PhaseError::Lost),
    };
    Ok(Measured { tally, time_ns: time.as_nanos() as u64, client_cpu_ns, notices })
}

/// What each core runs: its share of the connections.
fn main_of(
    phase: &Phase<'_>,
    cores_count: usize,
    tickets: Arc<Tickets>,
    reports: Reports,
) -> impl Fn(usize) -> Main + Send + Sync + 'static {
    let (plan, body) = (phase.plan.clone(), phase.body.clone());
    let connected = Arc::new(Barrier::new(cores_count));
    let (verb, address, connections_count) = (phase.verb, phase.address, phase.connections_count as usize);
    move |index| {
        let shared = Rc::new(Shared {
            address,
            verb,
            tickets: tickets.clone(),
            body: body.clone(),
            writer: RefCell::new(Writer::new(&plan, verb, body.clone())),
            sink: Sink::new(),
            tally: RefCell::new(Tally::new()),
        });
        // The first cores take one more each when the connections do not divide.
        let share = connections_count / cores_count + usize::from(index < connections_count % cores_count);
        let (reports, connected) = (reports.clone(), connected.clone());
        Box::pin(async move {
            let report = work(shared, share, &connected).await;
            // The receiver waits for every core; it has gone only if it gave the phase up.
            let _ = reports.send(report);
        })
    }
}

async fn work(
    shared: Rc<Shared>,
    connections_count: usize,
    connected: &Barrier,
) -> Result<CoreReport, Errno> {
    let sockets = connect_all(shared.address, connections_count).await;
    if sockets.is_err() {
        // Without these connections the figures of the other cores would not be what was asked for.
        shared.tickets.close();
    }
    // It stops the core's thread, which has nothing else to do yet. Every core comes here, the failed ones too.
    connected.wait();
    let sockets = sockets?;
    let lanes = Rc::new(Lanes { left: Cell::new(connections_count), waiter: RefCell::new(None) });
    for socket in sockets {
        let (shared, end) = (shared.clone(), EndOfLane(lanes.clone()));
        task::spawn(async move {
            let _end = end;
            lane::run(&shared, socket).await;
        });
    }
    lanes.all_ended().await;
    Ok(CoreReport { tally: shared.tally.take(), end: time::now() })
}

async fn connect_all(address: SocketAddr, count: usize) -> Result<Vec<Socket>, Errno> {
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(lane::connect(address).await?);
    }
    Ok(sockets)
}

/// How many lanes of the core are at work, and who waits for the last.
struct Lanes {
    left: Cell<usize>,
    waiter: RefCell<Option<Waker>>,
}

impl Lanes {
    async fn all_ended(&self) {
        poll_fn(|context| {
            if self.left.get() == 0 {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Dropped with its lane's task, also when that panics.
struct EndOfLane(Rc<Lanes>);

impl Drop for EndOfLane {
    fn drop(&mut self) {
        let left = self.0.left.get() - 1;
        self.0.left.set(left);
        if left == 0
            && let Some(waiter) = self.0.waiter.borrow_mut().take()
        {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_handed_out_once() {
        let tickets = Tickets::new(Extent::Count(3));
        let numbers: Vec<u64> = std::iter::from_fn(|| tickets.take()).take(9).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn time_begins_with_the_first_request() {
        let tickets = Tickets::new(Extent::Time { time_ms: 3_600_000 });
        assert!(tickets.start.get().is_none());
        assert_eq!((tickets.take(), tickets.take()), (Some(0), Some(1)));
        tickets.close();
        assert_eq!(tickets.take(), None, "closed");
        let over = Tickets { start: OnceLock::from(Moment(0)), ..Tickets::new(Extent::Time { time_ms: 1 }) };
        assert_eq!(over.take(), None, "the millisecond after the clock's start is over");
    }
}
