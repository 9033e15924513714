//! The control thread: a current-thread runtime with the admin listener, the stop signals and the lifecycle.
//! It carries out what `lifecycle` decides and never touches a request; cores hear of it through `core_link`.
//! Source: signal(7); the thread catches the signals, so that no core ever does.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::server::admin::{self, View};
use crate::server::core_link::{CommandSender, CoreCommand, Inbox, SIGNALS_MAX};
use crate::server::lifecycle::{Action, Deadline, Event, Lifecycle, Outcome};
use crate::server::log_writer::LogSink;
use crate::server::metrics::{CoreMetrics, Labels};

/// What the control thread is given.
pub struct Setup {
    /// Bound and listening already, so that a port in use is an error of the start.
    pub admin: TcpListener,
    /// One for each core, in the order of their indexes.
    pub commands: Vec<CommandSender>,
    /// What the cores say.
    pub inbox: Inbox,
    /// The names behind the cores' indexes.
    pub labels: Labels,
    /// One for each core.
    pub metrics: Vec<Arc<CoreMetrics>>,
    /// For its count of dropped lines.
    pub log: LogSink,
    /// From the first stop signal until what still runs is cut.
    pub drain_deadline_ms: u64,
    /// Whether SIGTERM and SIGINT are caught.
    pub signals: Signals,
    /// Runs once on the control thread, when every core is ready.
    pub on_ready: Box<dyn FnOnce() + Send>,
}

/// Who has the stop signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signals {
    /// The control thread, for the whole process.
    Caught,
    /// Nobody new: a server inside a program that has its own plans for them.
    Left,
}

/// A running control thread.
pub struct Control {
    admin_address: SocketAddr,
    events: mpsc::Sender<Event>,
    thread: JoinHandle<Outcome>,
}

/// Cores that were told to stop cut their connections and end; one that hangs in the kernel is left behind.
pub const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Starts the control thread.
/// Errors: no thread, no epoll, no signal handler.
pub fn start(setup: Setup) -> io::Result<Control> {
    assert_eq!(setup.commands.len(), setup.inbox.cores_count, "each core hears and speaks");
    assert_eq!(setup.metrics.len(), setup.inbox.cores_count, "each core counts");
    let admin_address = setup.admin.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Here and not on the thread: what fails, fails before anything serves, and a signal from now on is caught.
    let sockets = {
        let _entered = runtime.enter();
        setup.admin.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(setup.admin.try_clone()?)?;
        let signals = match setup.signals {
            Signals::Caught => Some([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]),
            Signals::Left => None,
        };
        Sockets { listener, signals }
    };
    let events = setup.inbox.own.clone();
    let thread = thread::Builder::new()
        .name("ringway-control".to_owned())
        .spawn(move || run(&runtime, setup, sockets))?;
    Ok(Control { admin_address, events, thread })
}

impl Control {
    /// Where the admin pages are, with the port resolved.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Drains as the first stop signal does, and waits until the server is over.
    pub fn stop(self) -> Outcome {
        // Closed means that the server has ended by itself; for one stop there is always room.
        let _ = self.events.try_send(Event::StopSignal);
        self.wait()
    }

    /// Waits until the server is over.
    /// A core that hung may still run: the caller ends the process.
    pub fn wait(self) -> Outcome {
        // A panic of the control thread was reported by the panic hook; without it nobody would drain the cores.
        self.thread.join().unwrap_or(Outcome::Failed)
    }
}

struct Sockets {
    listener: tokio::net::TcpListener,
    signals: Option<[Signal; 2]>,
}

fn run(runtime: &Runtime, setup: Setup, sockets: Sockets) -> Outcome {
    let local = LocalSet::new();
    local.block_on(runtime, async move {
        let lifecycle = Lifecycle::new(setup.inbox.cores_count);
        let view = Rc::new(View {
            state: Cell::new(lifecycle.state()),
            labels: setup.labels,
            cores: setup.metrics,
            log: setup.log,
        });
        tokio::task::spawn_local(admin::serve(sockets.listener, Rc::clone(&view)));
        // One task a signal, and a shared count: together they never say more than has room in the inbox.
        let told = Rc::new(Cell::new(0));
        for signal in sockets.signals.into_iter().flatten() {
            tokio::task::spawn_local(tell_signals(signal, setup.inbox.own.clone(), Rc::clone(&told)));
        }
        let cores = Cores {
            commands: setup.commands,
            own: setup.inbox.own,
            drain_deadline: Duration::from_millis(setup.drain_deadline_ms),
        };
        live(lifecycle, setup.inbox.events, &cores, &view, setup.on_ready).await
    })
}

async fn tell_signals(mut signal: Signal, events: mpsc::Sender<Event>, told: Rc<Cell<usize>>) {
    while signal.recv().await.is_some() && told.get() < SIGNALS_MAX {
        told.set(told.get() + 1);
        if events.send(Event::StopSignal).await.is_err() {
            return;
        }
    }
}

/// The way to the cores and back.
struct Cores {
    commands: Vec<CommandSender>,
    own: mpsc::Sender<Event>,
    drain_deadline: Duration,
}

impl Cores {
    fn tell(&self, command: CoreCommand) {
        for core in &self.commands {
            core.send(command);
        }
    }

    /// Says that `deadline` is over when `time` is.
    fn set_deadline(&self, deadline: Deadline, time: Duration) {
        let events = self.own.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(time).await;
            // The server may have ended in time.
            let _ = events.send(Event::DeadlinePassed(deadline)).await;
        });
    }
}

async fn live(
    mut lifecycle: Lifecycle,
    mut events: mpsc::Receiver<Event>,
    cores: &Cores,
    view: &View,
    on_ready: Box<dyn FnOnce() + Send>,
) -> Outcome {
    let mut on_ready = Some(on_ready);
    loop {
        let event = events.recv().await.expect("the control thread holds a sender itself");
        let action = lifecycle.step(event);
        view.state.set(lifecycle.state());
        tracing::debug!(?event, ?action, "lifecycle");
        match action {
            Action::Wait => (),
            Action::Announce => on_ready.take().expect("a server becomes ready once")(),
            Action::Drain => {
                let deadline_ms = u64::try_from(cores.drain_deadline.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(deadline_ms, "draining: a second signal stops at once");
                cores.tell(CoreCommand::Drain);
                cores.set_deadline(Deadline::Drain, cores.drain_deadline);
            }
            Action::Stop => {
                tracing::info!("stopping");
                cores.tell(CoreCommand::Stop);
                cores.set_deadline(Deadline::Stop, STOP_DEADLINE);
            }
            Action::Finish(outcome) => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::core_link::{self, CommandReceiver, CoreReports};
    use crate::server::log_writer;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc as std_mpsc;

    const LABELS: Labels = Labels { operations: &["GetObject"], error_codes: &["NoSuchKey"] };

    /// What a core of these tests waits for between its reports.
    type Wakes = std_mpsc::Receiver<()>;

    struct Rig {
        control: Control,
        cores: Vec<(CoreReports, CommandReceiver, Wakes)>,
        metrics: Vec<Arc<CoreMetrics>>,
        ready: std_mpsc::Receiver<()>,
        events: mpsc::Sender<Event>,
    }

    fn rig(drain_deadline_ms: u64, signals: Signals) -> Rig {
        let (voices, inbox) = core_link::reports(2);
        let events = inbox.own.clone();
        let (mut commands, mut cores) = (Vec::new(), Vec::new());
        for voice in voices {
            let (wake, wakes) = std_mpsc::channel();
            let (sender, receiver) = core_link::command_channel(Box::new(move || {
                let _ = wake.send(());
            }));
            commands.push(sender);
            cores.push((voice, receiver, wakes));
        }
        let metrics: Vec<_> = (0..2).map(|_| Arc::new(CoreMetrics::new(&LABELS))).collect();
        let (log, _writer) = log_writer::start(Box::new(io::sink())).expect("a thread");
        let (tell_ready, ready) = std_mpsc::channel();
        let setup = Setup {
            admin: TcpListener::bind("127.0.0.1:0").expect("a free port"),
            commands,
            inbox,
            labels: LABELS,
            metrics: metrics.clone(),
            log,
            drain_deadline_ms,
            signals,
            on_ready: Box::new(move || tell_ready.send(()).expect("the test waits")),
        };
        Rig { control: start(setup).expect("started"), cores, metrics, ready, events }
    }

    fn next(core: &(CoreReports, CommandReceiver, Wakes)) -> CoreCommand {
        core.2.recv().expect("a wake");
        core.1.try_receive().expect("a command behind the wake")
    }

    /// Sends `head` over a connection of its own and returns all that comes back.
    fn exchange(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(head.as_bytes()).expect("send");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("receive");
        response
    }

    fn get(address: SocketAddr, path: &str) -> (String, String) {
        let response =
            exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"));
        let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }

    fn check(address: SocketAddr, path: &str, status: &str, body: &str) {
        let (head, got) = get(address, path);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head}");
        assert_eq!(got, body, "{path}");
    }

    const SIGTERM: nix::sys::signal::Signal = nix::sys::signal::Signal::SIGTERM;

    fn raise() {
        nix::sys::signal::kill(nix::unistd::getpid(), SIGTERM).expect("a signal to ourselves");
    }

    /// The one test that sends signals: they go to the whole test process, whose other control threads leave them.
    #[test]
    fn signals_drain_and_then_stop() {
        let mut rig = rig(600_000, Signals::Caught);
        let address = rig.control.admin_address();
        check(address, "/health/live", "200", "live\n");
        check(address, "/health/ready", "503", "starting\n");
        rig.cores.iter().for_each(|core| core.0.ready());
        rig.ready.recv().expect("announced");
        check(address, "/health/ready", "200", "ready\n");
        raise();
        assert!(rig.cores.iter().all(|core| next(core) == CoreCommand::Drain));
        check(address, "/health/ready", "503", "draining\n");
        check(address, "/health/live", "200", "live\n");
        rig.cores[0].0.drained();
        raise();
        assert!(rig.cores.iter().all(|core| next(core) == CoreCommand::Stop));
        check(address, "/health/ready", "503", "stopping\n");
        rig.cores.drain(..).for_each(|core| core.0.ended());
        assert_eq!(rig.control.wait(), Outcome::Cut);
        assert!(TcpStream::connect(address).is_err(), "the admin listener is closed with its thread");
    }

    #[test]
    fn the_drain_deadline_stops() {
        let mut rig = rig(1, Signals::Left);
        rig.cores.iter().for_each(|core| core.0.ready());
        rig.events.try_send(Event::StopSignal).expect("room for a signal");
        assert!(rig.cores.iter().all(|core| next(core) == CoreCommand::Drain));
        // Nobody drains; only the deadline can bring the next command.
        assert!(rig.cores.iter().all(|core| next(core) == CoreCommand::Stop));
        rig.cores.drain(..).for_each(|core| core.0.ended());
        assert_eq!(rig.control.wait(), Outcome::Cut);
    }

    #[test]
    fn a_stop_from_within_drains() {
        let mut rig = rig(600_000, Signals::Left);
        rig.cores.iter().for_each(|core| core.0.ready());
        rig.ready.recv().expect("announced");
        let control = rig.control;
        let stopped = thread::spawn(move || control.stop());
        assert!(rig.cores.iter().all(|core| next(core) == CoreCommand::Drain));
        rig.cores.iter().for_each(|core| core.0.drained());
        assert!(rig.cores.iter().all(|core| next(core) == CoreCommand::Stop));
        rig.cores.drain(..).for_each(|core| core.0.ended());
        assert_eq!(stopped.join().expect("no panic"), Outcome::Drained);
    }

    #[test]
    fn a_core_that_is_gone_stops_the_others() {
        let mut rig = rig(1000, Signals::Left);
        rig.cores[0].0.ready();
        drop(rig.cores.remove(1));
        assert_eq!(next(&rig.cores[0]), CoreCommand::Stop);
        rig.cores.drain(..).for_each(|core| core.0.ended());
        assert_eq!(rig.control.wait(), Outcome::Failed);
    }

    #[test]
    fn pages_over_a_real_connection() {
        let rig = rig(1000, Signals::Left);
        let address = rig.control.admin_address();
        rig.metrics[1].count_request(Some(0), 200, 1_000);
        let (head, page) = get(address, "/metrics");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(
            page.contains("ringway_requests_total{operation=\"GetObject\",status=\"200\"} 1\n"),
            "{page}"
        );
        assert!(page.contains("ringway_ready 0\n"), "{page}");
        check(address, "/", "404", "the pages are /health/live, /health/ready and /metrics\n");
        check(address, "/health/live?x=1", "200", "live\n");
        let head = exchange(address, "HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        let post = "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let post = exchange(address, post);
        assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");
        assert!(exchange(address, "no request\r\n\r\n").starts_with("HTTP/1.1 400"));
        // Two requests on one connection.
        let pair = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert_eq!(exchange(address, pair).matches("HTTP/1.1 200").count(), 2);
    }
}
