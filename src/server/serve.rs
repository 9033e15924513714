//! Starting and running a server: listeners, cores, control thread, and what each core does from first to last.
//!
//! The first core probes the root's filesystem and removes what killed servers left before any core listens. It serves no
//! request itself. Source: ARCHITECTURE.md, "Start and stop".

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use uring::cores::{self, Main, Running, Settings, StartError};
use uring::engine;
use uring::errno::Errno;
use uring::fault::Plan;
use uring::net::Listener;

use crate::auth::authenticate::Rules;
use crate::auth::credential::{Caller, CallerKind, Credential, Credentials, Secret};
use crate::fs::inflight::Instance;
use crate::fs::tree::Shared;
use crate::s3::error::Code;
use crate::s3::operation::Operation;
use crate::server::config::Config;
use crate::server::control::{self, Control, Setup, Signals};
use crate::server::core_link::{CommandReceiver, CommandSender, command_channel, reports};
use crate::server::core_main::{self, Given, Wakeup};
use crate::server::lifecycle::Outcome;
use crate::server::log_writer::LogSink;
use crate::server::metrics::{CoreMetrics, Labels};
use crate::server::root_key::RootKey;
use crate::server::setting::{Cores, EngineChoice};
use crate::server::start::Opened;

/// Threads of the blocking pool when io_uring does the rest, and when the pool does everything.
const POOL_THREADS: [usize; 2] = [8, 32];
/// And for each core, so that a mount's share of the pool, which its cores divide, is at least one thread a core.
const POOL_THREADS_A_CORE: [usize; 2] = [2, 4];

/// Why a server that was opened does not run.
#[derive(Debug)]
pub enum ServeError {
    /// io_uring was demanded and is refused.
    Engine(engine::Refusal),
    /// An address cannot be listened on.
    Listen(SocketAddr, Errno),
    /// The admin address cannot be listened on, or the control thread cannot start.
    Control(std::io::Error),
    /// No core, or fewer than asked for, can be had.
    Cores(Errno),
    /// A CPU was named that the process may not use.
    Cpu(usize),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Engine(refusal) => refusal.fmt(f),
            ServeError::Listen(address, errno) => write!(f, "cannot listen on {address}: {errno}"),
            ServeError::Control(error) => write!(f, "cannot start the control thread: {error}"),
            ServeError::Cores(errno) => write!(f, "cannot start the cores: {errno}"),
            ServeError::Cpu(cpu) => write!(f, "CPU {cpu} is not among those this process may use"),
        }
    }
}

impl std::error::Error for ServeError {}

/// A server that runs.
pub struct Server {
    /// Where S3 is served, ports resolved.
    pub s3: Vec<SocketAddr>,
    control: Control,
    running: Running,
    // The state directory's lock is held as long as this lives.
    _opened: Opened,
}

impl Server {
    /// Where the admin pages are.
    pub fn admin_address(&self) -> SocketAddr {
        self.control.admin_address()
    }

    /// The mailboxes of the cores, for tests that plan faults.
    pub fn mailboxes(&self) -> Vec<Arc<uring::mailbox::Mailbox>> {
        self.running.mailboxes()
    }

    /// Waits until the server is over.
    pub fn wait(self) -> Outcome {
        end(self.control.wait(), self.running)
    }

    /// Drains the server as the first stop signal does, and waits until it is over.
    pub fn stop(self) -> Outcome {
        end(self.control.stop(), self.running)
    }
}

fn end(outcome: Outcome, running: Running) -> Outcome {
    if outcome == Outcome::Drained {
        // The cores have said that they ended; their threads follow, unless the kernel still works for them.
        if let Err(left) = running.join_within(cores::TEARDOWN + JOIN_REST) {
            tracing::warn!(
                cores = left,
                "operations do not end: a filesystem does not answer; the server ends without them"
            );
        }
    }
    outcome
}

/// What a core's thread may take to end once it waits for no operation any more.
const JOIN_REST: Duration = Duration::from_secs(1);

/// What runs when a server is ready, with its S3 addresses and its admin address.
pub type OnReady = Box<dyn FnOnce(&[SocketAddr], SocketAddr) + Send>;

/// Starts a server; `on_ready` runs once when every core listens.
///
/// Errors: see `ServeError`; nothing is left running then.
pub fn start(
    opened: Opened,
    faults: Plan,
    signals: Signals,
    log: LogSink,
    on_ready: OnReady,
) -> Result<Server, ServeError> {
    let config = &opened.config;
    let engine = choose_engine(config)?;
    let cpus = choose_cpus(&config.cores)?;
    let listeners = listen(config, cpus.len())?;
    let s3: Vec<SocketAddr> =
        listeners.first().map(|own| own.iter().map(Listener::address).collect()).unwrap_or_default();
    let admin = TcpListener::bind(config.admin_listen).map_err(ServeError::Control)?;
    let admin_address = admin.local_addr().map_err(ServeError::Control)?;
    let labels = labels();
    let metrics: Vec<_> = cpus.iter().map(|_| Arc::new(CoreMetrics::new(&labels))).collect();
    let (core_reports, inbox) = reports(cpus.len());
    let (commands, receivers): (Vec<_>, Vec<_>) = cpus.iter().map(|_| command()).unzip();
    let given = Given {
        config: config.clone(),
        shared: Arc::new(Shared::new(Instance::new())),
        credentials: Arc::new(credentials(&opened.root_key)),
        rules: Rules { region: config.region.as_str().to_owned(), strict_region: config.region_rule },
        log: log.clone(),
    };
    let own = listeners.into_iter().zip(receivers).zip(core_reports).zip(metrics.clone());
    let own: Vec<_> = own
        .map(|(((listeners, commands), reports), metrics)| core_main::Own {
            listeners,
            commands,
            reports,
            metrics,
        })
        .map(Some)
        .collect();
    let own = Arc::new(Mutex::new(own));
    let main = move |index: usize| -> Main {
        let mut own = own.lock().expect("no core panics while it takes what is its own");
        let own = own[index].take().expect("each core starts once");
        Box::pin(core_main::run(given.clone(), own))
    };
    let running = start_cores(config, (engine, cpus), faults, main)?;
    let setup = Setup {
        admin,
        commands,
        inbox,
        labels,
        metrics,
        log,
        drain_deadline_ms: config.limits.drain_deadline_ms,
        signals,
        on_ready: {
            let s3 = s3.clone();
            Box::new(move || on_ready(&s3, admin_address))
        },
    };
    let control = control::start(setup).map_err(ServeError::Control)?;
    Ok(Server { s3, control, running, _opened: opened })
}

/// Starts the cores on the engine that was chosen, or on the other one when it cannot be had for each of them.
fn start_cores(
    config: &Config,
    (engine, cpus): (engine::Name, Vec<usize>),
    faults: Plan,
    main: impl Fn(usize) -> Main + Clone + Send + Sync + 'static,
) -> Result<Running, ServeError> {
    let arena_bytes = config.limits.arena_bytes_per_core as usize;
    let start = |engine: engine::Name| {
        let kind = usize::from(engine == engine::Name::Threads);
        let pool_threads_max = POOL_THREADS[kind].max(POOL_THREADS_A_CORE[kind] * cpus.len());
        let (cpus, faults) = (cpus.clone(), faults.clone());
        cores::start(&Settings { cpus, engine, arena_bytes, pool_threads_max, faults }, main.clone())
    };
    let started = match start(engine) {
        // RLIMIT_MEMLOCK may have room for one ring and not for one a core.
        Err(StartError::Engine(refusal)) if config.engine == EngineChoice::Auto => {
            let (engine, _) = engine::choose(engine::Choice::Threads).map_err(ServeError::Engine)?;
            tracing::warn!("{refusal}; serving with the threads engine");
            start(engine)
        }
        started => started,
    };
    let running = started.map_err(|error| match error {
        StartError::Engine(refusal) => ServeError::Engine(refusal),
        StartError::System(errno) => ServeError::Cores(errno),
    })?;
    for notice in &running.notices {
        tracing::warn!("{notice}");
    }
    Ok(running)
}

fn choose_engine(config: &Config) -> Result<engine::Name, ServeError> {
    let choice = match config.engine {
        EngineChoice::Auto => engine::Choice::Auto,
        EngineChoice::IoUring => engine::Choice::IoUring,
        EngineChoice::Threads => engine::Choice::Threads,
    };
    let (name, refusal) = engine::choose(choice).map_err(ServeError::Engine)?;
    if let Some(refusal) = refusal {
        tracing::warn!("{refusal}; serving with the threads engine");
    }
    Ok(name)
}

fn choose_cpus(cores: &Cores) -> Result<Vec<usize>, ServeError> {
    let allowed = uring::affinity::allowed().map_err(ServeError::Cores)?;
    match cores {
        Cores::Auto => {
            let most = uring::affinity::quota().unwrap_or(usize::MAX);
            Ok(allowed.into_iter().take(most.max(1)).collect())
        }
        // More cores than CPUs share them, which is of use for tests only but does no harm.
        Cores::Count(count) => Ok(allowed.iter().copied().cycle().take(*count).collect()),
        Cores::List(list) => match list.iter().find(|cpu| !allowed.contains(cpu)) {
            Some(cpu) => Err(ServeError::Cpu(*cpu)),
            None => Ok(list.clone()),
        },
    }
}

/// Opens a listener an address for each core, all of one address sharing its port.
fn listen(config: &Config, cores_count: usize) -> Result<Vec<Vec<Listener>>, ServeError> {
    let mut listeners: Vec<Vec<Listener>> = (0..cores_count).map(|_| Vec::new()).collect();
    for wanted in &config.listen {
        let mut address = *wanted;
        for own in &mut listeners {
            let listener = Listener::open(address).map_err(|errno| ServeError::Listen(address, errno))?;
            // Port zero is resolved by the first core's listener.
            address = listener.address();
            own.push(listener);
        }
    }
    Ok(listeners)
}

fn labels() -> Labels {
    let operations: Vec<&'static str> = Operation::all().map(Operation::name).collect();
    let codes: Vec<&'static str> = Code::all().map(Code::wire).collect();
    // Once a start, and for the life of the process: metrics carry these names from thread to thread.
    Labels { operations: operations.leak(), error_codes: codes.leak() }
}

fn command() -> (CommandSender, (CommandReceiver, Arc<Wakeup>)) {
    let wakeup = Arc::new(Wakeup::default());
    let waker = wakeup.clone();
    let (sender, receiver) = command_channel(Box::new(move || waker.wake()));
    (sender, (receiver, wakeup))
}

/// The root user, under the name and ids that responses and policies will carry.
fn credentials(root_key: &RootKey) -> Credentials {
    let caller = Caller {
        name: Arc::from("root"),
        canonical_id: Arc::from(ROOT_CANONICAL_ID),
        account_id: Arc::from(ROOT_ACCOUNT_ID),
        kind: CallerKind::Root,
    };
    Credentials::new([Credential {
        access_key_id: Arc::from(root_key.access_key_id()),
        secret_access_key: Secret::new(root_key.secret_access_key().to_owned()),
        caller,
    }])
}

/// The owner of everything until there are other users: stable, so that listings of two starts agree.
/// Shape: 64 hex digits, the SHA-256 of `ringway:root`.
pub const ROOT_CANONICAL_ID: &str = "e00d237c0a2a2a64a50c46c84b6868900390cc5e46943fcde5ac08249d1690bd";
/// The account of the root user. Shape: 12 digits.
pub const ROOT_ACCOUNT_ID: &str = "000000000001";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::log_writer;
    use crate::server::start::{self, GivenRootKey};
    use uring::fault::{Fault, Nth, OperationKind, Rule};
    use uring::time;

    #[test]
    fn a_root_that_cannot_be_served_ends_every_core() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::new(root.path().to_owned());
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.admin_listen = config.listen[0];
        config.cores = Cores::Count(2);
        config.engine = EngineChoice::Threads;
        config.limits.arena_bytes_per_core = 4 << 20;
        let opened = start::open(config, GivenRootKey::default()).expect("a fresh directory is opened");
        let (log, _writer) = log_writer::start(Box::new(std::io::sink())).expect("a thread");
        // The probe makes a directory and files; the second core waits for it.
        let refused = |kind| Rule { kind: Some(kind), nth: Nth::From(1), fault: Fault::Fail(Errno::IO) };
        let rules = vec![refused(OperationKind::MakeDirectory), refused(OperationKind::Open)];
        let faults = Plan { rules, ..Plan::default() };
        let begun = time::now();
        let server = super::start(opened, faults, Signals::Left, log, Box::new(|_, _| ())).expect("started");
        assert_eq!(server.wait(), Outcome::Failed);
        // A core that did not hear of it would be left behind at the control thread's deadline.
        assert!(time::now().since(begun) < control::STOP_DEADLINE);
    }
}
