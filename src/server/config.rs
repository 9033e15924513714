//! The server's configuration: one value, checked once, handed down by reference.
//! It owns every limit an operator may move, with its unit, its default and the reason for it, and the relations
//! between them. It reads no flag, environment or file: `cli` fills the fields, with the types of `setting`.
//! Limits that the protocol fixes live beside their types in `http` and `s3`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use crate::auth::authenticate::RegionRule;
use crate::server::setting::{
    Access, Buckets, Cores, DirMode, Domain, Durability, EngineChoice, EtagKind, FileMode, LogFormat, Region,
    SettingError, Switch,
};

/// Everything `ringway serve` can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The served tree; its top-level directories are the buckets. Made when missing.
    pub root: PathBuf,
    /// Identity, keys, lock and control socket of this server.
    pub state_dir: PathBuf,
    /// Where S3 is served; at least one.
    pub listen: Vec<SocketAddr>,
    /// Where health and metrics are served.
    pub admin_listen: SocketAddr,
    /// Which CPUs get a core.
    pub cores: Cores,
    /// Which engine runs the operations.
    pub engine: EngineChoice,
    /// What a 200 to a write promises.
    pub durability: Durability,
    /// What ETags are.
    pub etag: EtagKind,
    /// Which directories are buckets.
    pub buckets: Buckets,
    /// Who has the last word on a request.
    pub access: Access,
    /// Mode of a new object's file.
    pub file_mode: FileMode,
    /// Mode of a new directory.
    pub dir_mode: DirMode,
    /// The region that GetBucketLocation and redirects carry.
    pub region: Region,
    /// Whether a signature may name another region.
    pub region_rule: RegionRule,
    /// Domains under which a bucket may be the host name.
    pub domains: Vec<Domain>,
    /// Sizes, counts and times.
    pub limits: Limits,
    /// Which events are logged, in the grammar of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether each request leaves a line.
    pub access_log: Switch,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said anything.
    Default,
    /// A flag, the environment or the file.
    Operator,
}

/// The bounds of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one core's buffer arena, registered with its ring.
    pub arena_bytes_per_core: u64,
    /// Memory of one core for documents, both ways, and pages of listings; beyond it requests wait, then are told to
    /// slow down.
    pub document_bytes_per_core: u64,
    /// Open S3 connections of the whole server; beyond it accept pauses.
    pub connections_max: u32,
    /// Who said so: a default is as many as this process has descriptors for.
    pub connections_origin: Origin,
    /// From the first byte of a request head to its last.
    pub header_timeout_ms: u64,
    /// Between a response and the next request on the same connection.
    pub idle_timeout_ms: u64,
    /// A body that moves slower, either way, ends its connection; 0 allows any.
    pub body_rate_min_bytes_per_s: u64,
    /// From the first stop signal until what still runs is cut.
    pub drain_deadline_ms: u64,
}

impl Limits {
    /// The defaults, each with its reason.
    pub const DEFAULT: Limits = Limits {
        // Sixteen uploads of 1 MiB blocks with the next block on its way fill half of it; on a machine of 64 cores
        // it is 4 GiB, which such a machine has.
        arena_bytes_per_core: 64 << 20,
        // Sixteen of the largest documents, or 64 pages of listings in the making, keep a core busy; one of 10,000
        // connections with a document each would hold 40 GB.
        document_bytes_per_core: 64 << 20,
        // An idle connection may cost 4 KiB: 64 MiB at this count, no more than one core's arena.
        connections_max: 16_384,
        connections_origin: Origin::Default,
        // A head is at most 16 KiB, and SDKs send it at once: ten seconds are several retransmissions on a lossy path, and
        // short for a slowloris.
        header_timeout_ms: 10_000,
        // SDKs keep idle connections up to 60 s. The client should be the one that closes: a request that crosses
        // our close on the wire is an error that it must retry.
        idle_timeout_ms: 75_000,
        // Slower than the slowest modem; a body at this rate holds its blocks for a quarter of an hour a MiB.
        body_rate_min_bytes_per_s: 1024,
        // Kubernetes and most service managers kill 30 to 90 s after SIGTERM; this ends before the shortest.
        drain_deadline_ms: 25_000,
    };
}

/// How long a body may stay under the minimum rate before its connection is closed.
/// A TCP retransmission back-off of a few rounds on a lossy path must not end an upload.
pub const BODY_RATE_WINDOW_MS: u64 = 10_000;

/// A core needs a few large blocks at once or uploads wait for each other.
const ARENA_BYTES_MIN: u64 = 4 << 20;
/// One registered buffer table entry is at most 1 GiB, and 64 of them are more than a core can keep busy.
const ARENA_BYTES_MAX: u64 = 64 << 30;
/// Two of the largest documents; a lot of memory.
const DOCUMENT_BYTES: RangeInclusive<u64> = 8 << 20..=64 << 30;
/// O_DIRECT wants it, and the kernel pins whole pages.
const PAGE_BYTES: u64 = 4096;
/// Under a second a time-out hits healthy clients; over an hour it protects nothing.
const TIMEOUT_MS: RangeInclusive<u64> = 1_000..=3_600_000;
/// The kernel's ceiling for descriptors of one process (fs.nr_open) is 1,048,576 by default.
const CONNECTIONS: RangeInclusive<u32> = 1..=1_000_000;
/// One listening socket a core for each: a bound for descriptors, not for taste.
const LISTEN_MAX: usize = 16;
/// Each request's Host is compared with all of them.
const DOMAINS_MAX: usize = 16;

const _: () = assert!(Limits::DEFAULT.arena_bytes_per_core >= ARENA_BYTES_MIN);
const _: () = assert!(Limits::DEFAULT.arena_bytes_per_core.is_multiple_of(PAGE_BYTES));
// A client that is on time must not lose against the idle clock that ran before its first byte.
const _: () = assert!(Limits::DEFAULT.header_timeout_ms <= Limits::DEFAULT.idle_timeout_ms);
// A stalled body is cut by its rate before the drain has to cut it.
const _: () = assert!(BODY_RATE_WINDOW_MS < Limits::DEFAULT.drain_deadline_ms);

impl Config {
    /// What a server of `root` does when nothing else is said.
    pub fn new(root: PathBuf) -> Config {
        Config {
            state_dir: root.join(".ringway"),
            root,
            // Loopback: a server started to be looked at is not open to the network.
            listen: vec![loopback(9000)],
            admin_listen: loopback(9001),
            cores: Cores::Auto,
            engine: EngineChoice::Auto,
            durability: Durability::Full,
            etag: EtagKind::Md5,
            buckets: Buckets::All,
            access: Access::Policy,
            file_mode: FileMode::DEFAULT,
            dir_mode: DirMode::DEFAULT,
            region: DEFAULT_REGION.parse().expect("the default region is a region"),
            region_rule: RegionRule::Any,
            domains: Vec::new(),
            limits: Limits::DEFAULT,
            log_filter: "info".to_owned(),
            log_format: LogFormat::Text,
            access_log: Switch::On,
        }
    }

    /// Checks what no single setting can know: relations between settings, and ranges.
    /// Errors: a sentence that names the settings by their flags.
    pub fn check(&self) -> Result<(), SettingError> {
        self.check_addresses()?;
        self.check_paths()?;
        self.check_limits()?;
        if self.domains.len() > DOMAINS_MAX {
            return Err(SettingError::new(format!("at most {DOMAINS_MAX} --domain")));
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), SettingError> {
        if self.listen.is_empty() || self.listen.len() > LISTEN_MAX {
            return Err(SettingError::new(format!("--listen is given 1 to {LISTEN_MAX} times")));
        }
        for (index, address) in self.listen.iter().enumerate() {
            // Port 0 is another port each time, so the same text twice is no conflict.
            if address.port() == 0 {
                continue;
            }
            if self.listen[..index].contains(address) {
                return Err(SettingError::new(format!("--listen {address} is given twice")));
            }
            if *address == self.admin_listen {
                return Err(SettingError::new(format!("--listen and --admin-listen are both {address}")));
            }
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), SettingError> {
        if self.root.as_os_str().is_empty() || self.state_dir.as_os_str().is_empty() {
            return Err(SettingError::new("ROOT and --state-dir are not empty"));
        }
        if self.root.starts_with(&self.state_dir) {
            return Err(SettingError::new("ROOT lies in --state-dir: keys would be served as objects"));
        }
        match self.state_dir.strip_prefix(&self.root) {
            Ok(below) if !is_reserved(below) => Err(SettingError::new(
                "--state-dir lies in ROOT under a name that does not begin with .ringway: it would be a bucket",
            )),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), SettingError> {
        let limits = &self.limits;
        let arena = limits.arena_bytes_per_core;
        if !(ARENA_BYTES_MIN..=ARENA_BYTES_MAX).contains(&arena) || !arena.is_multiple_of(PAGE_BYTES) {
            return Err(SettingError::new("--arena-size is 4MiB to 64GiB in whole pages of 4096 bytes"));
        }
        if !DOCUMENT_BYTES.contains(&limits.document_bytes_per_core) {
            return Err(SettingError::new("--document-memory is 8MiB to 64GiB"));
        }
        if !CONNECTIONS.contains(&limits.connections_max) {
            return Err(SettingError::new("--connections-max is 1 to 1000000"));
        }
        let times = [
            ("--header-timeout", limits.header_timeout_ms),
            ("--idle-timeout", limits.idle_timeout_ms),
            ("--drain-deadline", limits.drain_deadline_ms),
        ];
        for (flag, time_ms) in times {
            if !TIMEOUT_MS.contains(&time_ms) {
                return Err(SettingError::new(format!("{flag} is 1s to 1h")));
            }
        }
        Ok(())
    }
}

/// AWS's own default, which SDKs assume when nothing is configured.
const DEFAULT_REGION: &str = "us-east-1";

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// Whether a path below ROOT begins with a name that no bucket can have.
fn is_reserved(below: &Path) -> bool {
    match below.components().next() {
        Some(Component::Normal(name)) => name.as_encoded_bytes().starts_with(b".ringway"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, change: impl FnOnce(&mut Config), want: Result<(), &str>) {
        let mut config = Config::new(PathBuf::from("/srv/tree"));
        change(&mut config);
        match (config.check(), want) {
            (Ok(()), Ok(())) => (),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
            (got, want) => panic!("{name}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn addresses() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("a test address");
        check("defaults", |_| (), Ok(()));
        check("none", |config| config.listen.clear(), Err("1 to 16"));
        check("twice", |config| config.listen.push(config.listen[0]), Err("given twice"));
        check("admin", |config| config.admin_listen = config.listen[0], Err("both 127.0.0.1:9000"));
        let any = address("127.0.0.1:0");
        check(
            "port 0 repeats",
            |config| {
                config.listen = vec![any, any];
                config.admin_listen = any;
            },
            Ok(()),
        );
    }

    #[test]
    fn paths() {
        let state = |path: &'static str| move |config: &mut Config| config.state_dir = PathBuf::from(path);
        check("default name", state("/srv/tree/.ringway"), Ok(()));
        check("another reserved name", state("/srv/tree/.ringway-b/state"), Ok(()));
        check("elsewhere", state("/var/lib/ringway"), Ok(()));
        check("beside, same letters", state("/srv/tree.ringway"), Ok(()));
        check("a bucket", state("/srv/tree/state"), Err("would be a bucket"));
        check("root itself", state("/srv/tree"), Err("ROOT lies in --state-dir"));
        check("around root", state("/srv"), Err("ROOT lies in --state-dir"));
        check("empty", state(""), Err("not empty"));
    }

    #[test]
    fn limits() {
        check("arena small", |config| config.limits.arena_bytes_per_core = 4096, Err("--arena-size"));
        check("arena odd", |config| config.limits.arena_bytes_per_core = (8 << 20) + 1, Err("--arena-size"));
        check("arena least", |config| config.limits.arena_bytes_per_core = 4 << 20, Ok(()));
        check(
            "documents small",
            |config| config.limits.document_bytes_per_core = 1 << 20,
            Err("--document-memory"),
        );
        check("no connections", |config| config.limits.connections_max = 0, Err("--connections-max"));
        check("idle 0", |config| config.limits.idle_timeout_ms = 0, Err("--idle-timeout"));
        check("drain long", |config| config.limits.drain_deadline_ms = 3_600_001, Err("--drain-deadline"));
    }
}
