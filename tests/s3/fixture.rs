//! A whole server in this process: one core on a directory of its own, on the engine a test asks for.
//!
//! Tests reach its tree through POSIX, its core through the mailbox and its objects through sockets. A server is stopped
//! when its fixture is dropped, so that a test that fails leaves nothing behind.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ringway::server::config::Config;
use ringway::server::control::Signals;
use ringway::server::lifecycle::Outcome;
use ringway::server::serve::{self, Server};
use ringway::server::setting::{Cores, Durability, EngineChoice, Switch};
use ringway::server::start::{self, GivenRootKey};
use ringway::server::{log_writer, root_key};
use tempfile::TempDir;
use uring::cores;
use uring::engine::{self, Choice};
use uring::fault::{self, Plan, Poison, Rule};
use uring::mailbox::Mailbox;

use crate::connection::{Answer, Connection};
use crate::request::Request;

/// The root user's pair in every test.
pub const ACCESS_KEY_ID: &str = "AKIDEXAMPLEROOT";
pub const SECRET_ACCESS_KEY: &str = "a-secret-of-the-tests-alone";
/// The bucket that every server begins with.
pub const BUCKET: &str = "bkt";

/// Long enough for a file that is closed by another thread to be closed on a busy machine.
const SETTLE_TRIES: usize = 400;
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// Runs a test once an engine; where the ring is refused its half says so and is skipped.
pub fn on_both_engines(test: impl Fn(EngineChoice)) {
    for engine in [EngineChoice::IoUring, EngineChoice::Threads] {
        if engine == EngineChoice::IoUring && engine::choose(Choice::IoUring).is_err() {
            eprintln!("SKIPPED on io_uring: refused here");
            continue;
        }
        test(engine);
    }
}

/// A server that runs, with the bucket `bkt`.
pub struct Fixture {
    // `None` only while it is dropped.
    server: Option<Server>,
    root: TempDir,
    core: Arc<Mailbox>,
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub admin: SocketAddr,
}

impl Fixture {
    /// A server that promises all a server can.
    pub fn start(engine: EngineChoice) -> Fixture {
        Fixture::start_with(engine, Durability::Full)
    }

    /// A server with a promise of its own.
    pub fn start_with(engine: EngineChoice, durability: Durability) -> Fixture {
        let root =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let mut config = Config::new(root.path().to_owned());
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        config.listen = vec![anywhere];
        config.admin_listen = anywhere;
        config.cores = Cores::List(vec![next_cpu()]);
        config.engine = engine;
        config.durability = durability;
        config.limits.arena_bytes_per_core = 16 << 20;
        config.limits.drain_deadline_ms = 1_000;
        config.access_log = Switch::Off;
        let given = GivenRootKey {
            access_key_id: Some(ACCESS_KEY_ID.to_owned()),
            secret_access_key: Some(SECRET_ACCESS_KEY.to_owned().into()),
        };
        let opened = start::open(config, given).expect("a fresh directory is opened");
        assert_eq!(opened.root_key.origin(), root_key::Origin::Environment);
        let (log, _) = log_writer::start(Box::new(io::sink())).expect("a thread for the log");
        let (tell_ready, ready) = mpsc::channel();
        let on_ready = Box::new(move |_: &[SocketAddr], _| tell_ready.send(()).expect("the fixture waits"));
        // A block that the kernel writes to after it came back ends the process.
        let faults = Plan { rules: Vec::new(), poison: Poison::On };
        let server = serve::start(opened, faults, Signals::Left, log, on_ready).expect("started");
        ready.recv().expect("the server becomes ready");
        let core = server.mailboxes().remove(0);
        let (address, admin) = (server.s3[0], server.admin_address());
        let fixture = Fixture { address, admin, core, server: Some(server), root };
        std::fs::create_dir(fixture.path("")).expect("a directory is a bucket");
        fixture
    }

    /// Where a key of the bucket lies; the bucket itself for the empty key.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root().join(BUCKET).join(key)
    }

    /// The served tree.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// Sends a request over a connection of its own.
    pub fn send(&self, request: Request) -> Answer {
        self.connect().exchange(&request.signed())
    }

    /// Puts bytes and expects them to be taken.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Answer {
        let answer = self.send(Request::put(key).body(bytes));
        assert_eq!(answer.status, 200, "PUT {key}: {answer}");
        answer
    }

    /// Gets an object and expects it to be there.
    pub fn get(&self, key: &str) -> Answer {
        let answer = self.send(Request::get(key));
        assert_eq!(answer.status, 200, "GET {key}: {answer}");
        answer
    }

    /// Begins an upload and returns its id.
    pub fn begin_upload(&self, create: Request) -> String {
        let answer = self.send(create.query("uploads", ""));
        let id = answer.text().split_once("<UploadId>").and_then(|(_, rest)| rest.split_once("</UploadId>"));
        id.unwrap_or_else(|| panic!("no upload: {answer}")).0.to_owned()
    }

    /// Runs `act` on the core and returns what it says.
    pub fn on_core<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, said) = mpsc::channel();
        self.core.run(move || say.send(act()).expect("the test waits"));
        said.recv().expect("the core lives")
    }

    /// Waits until the core has seen what was sent to it: each letter is opened in a turn of its own, and between two
    /// turns the core asks the kernel what has happened.
    pub fn let_core_turn(&self) {
        for _ in 0..3 {
            self.on_core(|| ());
        }
    }

    /// Plans faults on the core and starts counting operations; no rules end both.
    pub fn plan(&self, rules: Vec<Rule>) {
        self.on_core(move || fault::install(rules));
    }

    /// How many operations were counted since rules were planned.
    pub fn counted(&self) -> u64 {
        self.on_core(fault::counted)
    }

    /// Descriptors of this process that are open in the served tree, nameless files and deleted ones included.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let listed = std::fs::read_dir("/proc/self/fd").expect("proc is mounted");
        // A descriptor may be closed between the listing and the look.
        let targets = listed.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let mut files: Vec<_> = targets.filter(|target| target.starts_with(self.root())).collect();
        files.sort();
        files
    }

    /// Waits until every block of the arena is free again.
    pub fn expect_blocks_back(&self, name: &str) {
        let arena = || {
            self.on_core(|| {
                let counters = cores::counters();
                (counters.arena_free_bytes.read(), counters.arena_bytes.read())
            })
        };
        let settled = settled(|| {
            let (free, all) = arena();
            free == all
        });
        assert!(settled, "{name}: {:?} bytes of the arena are free", arena());
    }

    /// Sidecars of all buckets.
    pub fn sidecars(&self) -> Vec<PathBuf> {
        let mut files = files_below(&self.root().join(".ringway/b"));
        files.retain(|file| file.parent().is_some_and(|parent| parent.ends_with("overflow")));
        files
    }

    /// Temporary names in the whole tree.
    pub fn temporary_names(&self) -> Vec<PathBuf> {
        let is_temporary = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".ringway-tmp-"))
        };
        let mut names = files_below(self.root());
        names.retain(is_temporary);
        names
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let outcome = self.server.take().map(Server::stop);
        if !thread::panicking() {
            assert_ne!(outcome, Some(Outcome::Failed), "a core failed");
        }
    }
}

/// Asks again and again until something holds; false when it does not come to hold.
pub fn settled(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..SETTLE_TRIES {
        if holds() {
            return true;
        }
        thread::sleep(SETTLE_PAUSE);
    }
    holds()
}

/// All that lies below a directory, directories excepted.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// Tests that run at once put their cores on different CPUs.
fn next_cpu() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let allowed = uring::affinity::allowed().expect("the scheduler answers");
    allowed[NEXT.fetch_add(1, Ordering::Relaxed) % allowed.len()]
}
