//! What one core of the server does from its first turn to its last: make ready, accept, drain, end.
//!
//! Source: ARCHITECTURE.md, "Start and stop"; the order of reports is `lifecycle`'s.

use std::cell::Cell;
use std::ffi::CString;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use uring::cores;
use uring::errno::Errno;
use uring::identity::Identity;
use uring::net::{Acceptor, Listener};
use uring::task;
use uring::time::{self, Sleep};

use crate::auth::authenticate::Rules;
use crate::auth::credential::Credentials;
use crate::fs::bucket::{self, Bucket};
use crate::fs::collect;
use crate::fs::inflight;
use crate::fs::leftovers;
use crate::fs::multipart;
use crate::fs::tree::{Durability, Making, Shared, Tree};
use crate::ops::call::{Etags, Service};
use crate::ops::memory::Memory;
use crate::s3::names::BucketName;
use crate::server::access_log::AccessLog;
use crate::server::config::Config;
use crate::server::connection;
use crate::server::core_link::{CommandReceiver, CoreCommand, CoreReports};
use crate::server::core_state::CoreState;
use crate::server::log_writer::LogSink;
use crate::server::metrics::CoreMetrics;
use crate::server::setting;

/// What all cores are given.
#[derive(Clone)]
pub struct Given {
    /// The configuration.
    pub config: Config,
    /// What the cores share of the tree.
    pub shared: Arc<Shared>,
    /// Who may call.
    pub credentials: Arc<Credentials>,
    /// What signatures have to be like.
    pub rules: Rules,
    /// Where log lines go.
    pub log: LogSink,
}

/// What one core is given for itself.
pub struct Own {
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// The control thread's commands, and what wakes the core for them.
    pub commands: (CommandReceiver, Arc<Wakeup>),
    /// Its voice.
    pub reports: CoreReports,
    /// Its numbers.
    pub metrics: Arc<CoreMetrics>,
}

/// Wakes a core for a command; any thread may call it.
#[derive(Default)]
pub struct Wakeup(Mutex<Option<Waker>>);

impl Wakeup {
    /// Wakes whoever waits.
    pub fn wake(&self) {
        if let Some(waker) = self.0.lock().expect("no holder of the lock panics").take() {
            waker.wake();
        }
    }

    fn set(&self, waker: &Waker) {
        *self.0.lock().expect("no holder of the lock panics") = Some(waker.clone());
    }
}

/// How often numbers are copied and log lines handed over.
const TICK: Duration = Duration::from_millis(250);
/// How long accepting rests after an error such as EMFILE.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How long a core waits for the first one to probe the filesystem.
const PROBE_WAIT: Duration = Duration::from_millis(2);
/// Between two looks for sidecars that nothing refers to.
const COLLECT_PAUSE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Runs a core.
pub async fn run(given: Given, own: Own) {
    let Own { listeners, commands: (receiver, wakeup), reports, metrics } = own;
    let commands = Commands { receiver, wakeup, kept: Cell::new(None) };
    let tree = match commands.unless_stopped(make_ready(&given)).await {
        // Another core failed, or the operator does not want to wait.
        None => return reports.ended(),
        Some(Ok(tree)) => tree,
        Some(Err(error)) => {
            tracing::error!("the root cannot be served: {error}");
            // Dropped without a last word, `reports` says that the core failed.
            return;
        }
    };
    let etags = match given.config.etag {
        setting::EtagKind::Md5 => Etags::Md5,
        setting::EtagKind::Opaque => Etags::Opaque,
    };
    let memory = Memory::new(given.config.limits.document_bytes_per_core);
    let (region, region_rule) = (given.config.region.as_str().to_owned(), given.config.region_rule);
    let service = Service { tree, region, region_rule, etags, memory };
    let access_log = (given.config.access_log == setting::Switch::On)
        .then(|| AccessLog::new(given.log.clone(), given.config.log_format));
    let Given { config, credentials, rules, .. } = given;
    let core = CoreState::new(service, credentials, rules, &config, metrics, access_log);
    let limit = (config.limits.connections_max as usize).div_ceil(config.cores.count()).max(1);
    task::spawn(tick(core.clone()));
    let acceptors = listeners.into_iter().map(Acceptor::new).collect::<Result<Vec<_>, Errno>>();
    let acceptors = match acceptors {
        Ok(acceptors) => acceptors,
        Err(error) => return tracing::error!("a listener cannot be used: {error}"),
    };
    // A page that is asked for as soon as the server is ready shows no zeros.
    observe(&core);
    reports.ready();
    let mut gate = Gate { core: core.clone(), acceptors, limit, rest: None, refused: 0 };
    let mut command = next_command(&commands, Some(&mut gate)).await;
    drop(gate);
    if command == CoreCommand::Drain {
        core.connections.drain();
        command = drained_or_stopped(&core, &commands, &reports).await;
    }
    assert!(command == CoreCommand::Stop, "a core is told to drain once");
    if let Some(log) = &core.access_log {
        log.borrow_mut().flush();
    }
    observe(&core);
    reports.ended();
}

/// Opens the tree; the first core also probes it and cleans up after servers that are gone.
async fn make_ready(given: &Given) -> Result<Rc<Tree>, Errno> {
    let config = &given.config;
    let durability = match config.durability {
        setting::Durability::None => Durability::None,
        setting::Durability::Data => Durability::Data,
        setting::Durability::Full => Durability::Full,
    };
    let (file_mode, directory_mode) = (config.file_mode.bits(), config.dir_mode.bits());
    let making = Making { durability, file_mode, directory_mode };
    let tree = Tree::open(&config.root, given.shared.clone(), making)?;
    if cores::index() > 0 {
        while given.shared.mount(tree.root_mount).is_none() {
            time::sleep(PROBE_WAIT).await;
        }
        tree.probe_root().await?;
        return Ok(tree);
    }
    let mount = tree.probe_root().await?;
    tracing::info!(root = %config.root.display(), "{mount}");
    if durability == Durability::Full && !mount.syncs_directories {
        tracing::error!(
            "--durability full is refused here: this filesystem cannot flush directories; use data or none"
        );
        return Err(Errno::NOTSUP);
    }
    if !mount.keeps_attributes {
        tracing::warn!(
            "this filesystem keeps no extended attributes: ETags are synthetic, metadata is not stored"
        );
    }
    sweep(&tree).await;
    task::spawn(collect(tree.clone()));
    Ok(tree)
}

async fn sweep(tree: &Rc<Tree>) {
    let Ok(buckets) = bucket::list(tree).await else { return };
    for listed in buckets {
        let Ok(bucket) = Bucket::open(tree, &listed.name, Identity::SERVER).await else { continue };
        let names = inflight::sweep(tree, &bucket).await.map(|swept| {
            if !swept.doubtful.is_empty() {
                task::spawn(walk(tree.clone(), listed.name.clone(), swept.doubtful));
            }
            swept.removed
        });
        let uploads = multipart::sweep::sweep(tree, &bucket, time::unix_ns()).await;
        for (what, swept) in [("temporary names", names), ("remains of uploads", uploads)] {
            match swept {
                Ok(0) => {}
                Ok(removed) => tracing::info!(bucket = listed.name.as_str(), removed, "{what} removed"),
                Err(error) => {
                    tracing::warn!(bucket = listed.name.as_str(), "sweep of {what} failed: {error}")
                }
            }
        }
    }
}

/// Looks for temporary names in a bucket where a power cut may have lost the notes of them; it may be large, so nobody waits.
async fn walk(tree: Rc<Tree>, bucket: BucketName, doubtful: Vec<CString>) {
    let walked = async {
        // A bucket that has gone meanwhile takes its names with it.
        let Ok(opened) = Bucket::open(&tree, &bucket, Identity::SERVER).await else { return Ok(0) };
        leftovers::collect(&tree, &opened, doubtful).await
    };
    let bucket = bucket.as_str();
    match walked.await {
        Ok(removed) => tracing::info!(bucket, removed, "walked for temporary names after an unclean end"),
        Err(error) => tracing::warn!(bucket, "the walk for temporary names failed: {error}"),
    }
}

/// Removes sidecars that nothing refers to any more, at start and then once in a while: what they cost is a block each, and
/// finding them may take a walk over the whole tree.
async fn collect(tree: Rc<Tree>) {
    loop {
        match collect::collect(&tree).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "sidecars that nothing refers to removed"),
            Err(error) => tracing::warn!("sidecars could not be collected: {error}"),
        }
        time::sleep(COLLECT_PAUSE).await;
    }
}

/// Accepts connections up to the core's limit.
struct Gate {
    core: Rc<CoreState>,
    acceptors: Vec<Acceptor>,
    limit: usize,
    // Set after an error, until accepting is tried again.
    rest: Option<Sleep>,
    // Tries in a row that ended with an error.
    refused: u64,
}

/// Connections that are taken before the core does something else: a crowd must not keep it from those it serves.
const ACCEPTS_A_TURN: usize = 64;

impl Gate {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(rest) = &mut self.rest {
            if pin!(rest).poll(context).is_pending() {
                return;
            }
            self.rest = None;
        }
        for index in 0..self.acceptors.len() {
            if !self.take_from(index, context) {
                return;
            }
        }
    }

    /// Takes what waits at one listener; false when accepting rests.
    fn take_from(&mut self, index: usize, context: &mut Context<'_>) -> bool {
        let acceptor = &mut self.acceptors[index];
        for _ in 0..ACCEPTS_A_TURN {
            if self.core.connections.count() >= self.limit {
                acceptor.pause();
                self.core.connections.wake_on_close(context.waker());
                return true;
            }
            match pin!(acceptor.accept()).poll(context) {
                Poll::Pending => return true,
                Poll::Ready(Ok(socket)) => {
                    if self.refused > 0 {
                        tracing::info!(refused = self.refused, "accepting works again");
                        self.refused = 0;
                    }
                    task::spawn(connection::serve(self.core.clone(), socket));
                }
                Poll::Ready(Err(error)) => {
                    // Once: it may last for hours.
                    if self.refused == 0 {
                        tracing::warn!("accepting rests until it works again: {error}");
                    }
                    self.refused += 1;
                    let mut rest = time::sleep(ACCEPT_REST);
                    let _ = pin!(&mut rest).poll(context);
                    self.rest = Some(rest);
                    return false;
                }
            }
        }
        context.waker().wake_by_ref();
        true
    }
}

/// The commands of a core.
struct Commands {
    receiver: CommandReceiver,
    wakeup: Arc<Wakeup>,
    // One that came before the core could follow it.
    kept: Cell<Option<CoreCommand>>,
}

impl Commands {
    /// Takes the next command, or has `context` woken for it.
    fn take(&self, context: &Context<'_>) -> Option<CoreCommand> {
        // First the waker, then the look: a command between the two wakes again.
        self.wakeup.set(context.waker());
        self.kept.take().or_else(|| self.receiver.try_receive())
    }

    /// Waits for `start`; `None` when the core is told to stop before it ends.
    async fn unless_stopped<T>(&self, start: impl Future<Output = T>) -> Option<T> {
        let mut start = pin!(start);
        std::future::poll_fn(|context| {
            self.wakeup.set(context.waker());
            while let Some(command) = self.receiver.try_receive() {
                match command {
                    CoreCommand::Stop => return Poll::Ready(None),
                    CoreCommand::Drain => self.kept.set(Some(command)),
                }
            }
            start.as_mut().poll(context).map(Some)
        })
        .await
    }
}

/// Waits for a command, accepting meanwhile while there is a gate.
async fn next_command(commands: &Commands, mut gate: Option<&mut Gate>) -> CoreCommand {
    std::future::poll_fn(|context| {
        if let Some(command) = commands.take(context) {
            return Poll::Ready(command);
        }
        if let Some(gate) = gate.as_deref_mut() {
            gate.poll(context);
        }
        Poll::Pending
    })
    .await
}

/// Waits until no connection is left and says so, then for the command to stop, which may come first.
async fn drained_or_stopped(core: &CoreState, commands: &Commands, reports: &CoreReports) -> CoreCommand {
    let command = std::future::poll_fn(|context| {
        if let Some(command) = commands.take(context) {
            return Poll::Ready(Some(command));
        }
        if core.connections.count() == 0 {
            return Poll::Ready(None);
        }
        core.connections.wake_on_close(context.waker());
        Poll::Pending
    })
    .await;
    match command {
        Some(command) => command,
        None => {
            reports.drained();
            next_command(commands, None).await
        }
    }
}

/// Copies numbers and hands log lines over, as long as the core lives.
async fn tick(core: Rc<CoreState>) {
    loop {
        time::sleep(TICK).await;
        if let Some(log) = &core.access_log {
            log.borrow_mut().flush();
        }
        observe(&core);
    }
}

fn observe(core: &CoreState) {
    core.metrics.observe(&cores::counters(), core.service.tree.shared.names_hidden());
}
