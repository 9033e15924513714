//! `ringway serve`: its flags, and how they become one `Config`.
//! The texts are what a person learns the server from; a test holds their defaults to those of `Config`.
//! It starts nothing.
//! Source: `server::config` for what each setting means and why its default is what it is.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::cli::layers::Environment;
use std::io::{IsTerminal, Write};

use uring::fault::Plan;

use crate::auth::authenticate::RegionRule;
use crate::server::banner::{self, Session, StoredSecret};
use crate::server::config::{Config, Limits, Origin};
use crate::server::control::Signals;
use crate::server::descriptors;
use crate::server::lifecycle::Outcome;
use crate::server::root_key::{ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE};
use crate::server::serve::Server;
use crate::server::setting::{
    Access, Buckets, Cores, DirMode, Domain, Durability, EngineChoice, EtagKind, FileMode, LogFormat, Region,
    SettingError, Switch, parse_size_bytes, parse_time_ms,
};
use crate::server::start::GivenRootKey;
use crate::server::start::Opened;
use crate::server::{self, log, log_writer};

/// The flags of `ringway serve`. Each is none when nobody gave it: the default is `Config`'s.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The directory to serve: its top-level directories are the buckets, files below them are the objects.
    /// Made when it is missing.
    #[arg(value_name = "ROOT")]
    root: Option<PathBuf>,

    /// A TOML file whose keys are these flags without the dashes, such as `listen = ["0.0.0.0:9000"]`.
    /// A flag beats the environment, the environment beats the file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where S3 is served; may be given more than once. Port 0 takes a free port [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Addresses and names")]
    listen: Vec<SocketAddr>,

    /// Where /health/live, /health/ready and /metrics are served, without authentication [default: 127.0.0.1:9001]
    #[arg(long, value_name = "ADDR:PORT", help_heading = "Addresses and names")]
    admin_listen: Option<SocketAddr>,

    /// A domain whose subdomains are buckets: with `s3.example.com`, the host `photos.s3.example.com` is the bucket
    /// `photos`. May be given more than once; path-style requests always work
    #[arg(long, value_name = "NAME", help_heading = "Addresses and names")]
    domain: Vec<Domain>,

    /// The region that the server says it is in [default: us-east-1]
    #[arg(long, value_name = "NAME", help_heading = "Addresses and names")]
    region: Option<Region>,

    /// Refuse signatures and new buckets that name another region; otherwise any is accepted [default: off]
    #[arg(
        long,
        value_name = "on|off",
        num_args = 0..=1,
        default_missing_value = "on",
        require_equals = true,
        help_heading = "Addresses and names"
    )]
    strict_region: Option<Switch>,

    /// What a 200 to a write promises: `full`, bytes and name survive power loss; `data`, the bytes do; `none`, the
    /// object survives a crash of the server, not a power cut [default: full]
    #[arg(long, value_name = "none|data|full", help_heading = "The tree")]
    durability: Option<Durability>,

    /// What the ETag of an object put in one piece is: `md5` of its bytes; `opaque`, a random value that takes no CPU
    /// time and cannot be taken for an MD5 [default: md5]
    #[arg(long, value_name = "md5|opaque", help_heading = "The tree")]
    etag: Option<EtagKind>,

    /// Which directories of ROOT are buckets: `all` those with a legal bucket name, at once; `registered` is not
    /// built yet [default: all]
    #[arg(long, value_name = "all|registered", help_heading = "The tree")]
    buckets: Option<Buckets>,

    /// Who has the last word on a request: `policy`; `posix`, where the kernel must agree too, is not built yet
    /// [default: policy]
    #[arg(long, value_name = "policy|posix", help_heading = "The tree")]
    access: Option<Access>,

    /// Permissions of a new object's file, in octal [default: 0640]
    #[arg(long, value_name = "MODE", help_heading = "The tree")]
    file_mode: Option<FileMode>,

    /// Permissions of a new directory, in octal [default: 0750]
    #[arg(long, value_name = "MODE", help_heading = "The tree")]
    dir_mode: Option<DirMode>,

    /// Keys, lock and options of this server; one server at a time. In ROOT its name begins with `.ringway`
    /// [default: ROOT/.ringway]
    #[arg(long, value_name = "DIR", help_heading = "The tree")]
    state_dir: Option<PathBuf>,

    /// CPUs that get a core, a thread of their own: `auto` for all that the process may use, a count, or a list such
    /// as `0,2,4-7` [default: auto]
    #[arg(long, value_name = "auto|N|LIST", help_heading = "Machine")]
    cores: Option<Cores>,

    /// How work reaches the kernel: `io_uring`, `threads` (plain system calls, where containers refuse io_uring), or
    /// `auto`, which takes the first and falls back with one log line [default: auto]
    #[arg(long, value_name = "auto|io_uring|threads", help_heading = "Machine")]
    engine: Option<EngineChoice>,

    /// Memory for bodies in flight, of each core; it never grows [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes, help_heading = "Machine")]
    arena_size: Option<u64>,

    /// Memory for XML documents, both ways, and listings, of each core; beyond it requests wait and are then answered
    /// 503 SlowDown [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes, help_heading = "Machine")]
    document_memory: Option<u64>,

    /// Open S3 connections at most; beyond it new ones wait. The default is lower where the limit of file descriptors is
    /// [default: 16384]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    connections_max: Option<u32>,

    /// A request head that is not whole by then closes its connection [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_time_ms, help_heading = "Limits")]
    header_timeout: Option<u64>,

    /// A connection without a request for this long is closed [default: 75s]
    #[arg(long, value_name = "TIME", value_parser = parse_time_ms, help_heading = "Limits")]
    idle_timeout: Option<u64>,

    /// A body that moves less a second, either way, closes its connection; 0 allows any [default: 1KiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes, help_heading = "Limits")]
    body_rate_min: Option<u64>,

    /// After SIGTERM or Ctrl-C requests in flight have this long to finish; a second signal stops at once
    /// [default: 25s]
    #[arg(long, value_name = "TIME", value_parser = parse_time_ms, help_heading = "Limits")]
    drain_deadline: Option<u64>,

    /// What is logged to stderr: off, error, warn, info, debug, trace, or directives such as
    /// `info,ringway::ops=debug` [default: info]
    #[arg(long, value_name = "FILTER", help_heading = "Logs")]
    log: Option<String>,

    /// How log lines look: `text` for people, `json` for programs [default: text]
    #[arg(long, value_name = "text|json", help_heading = "Logs")]
    log_format: Option<LogFormat>,

    /// One line a request, on stderr too [default: on]
    #[arg(long, value_name = "on|off", help_heading = "Logs")]
    access_log: Option<Switch>,
}

impl ServeArgs {
    /// The configuration that these flags ask for, checked.
    /// Errors: Usage.
    pub fn config(self) -> Result<Config, Failure> {
        let root = self.root.ok_or_else(|| {
            Failure::Usage("ROOT is missing: ringway serve ./data serves the directory ./data".to_owned())
        })?;
        let mut config = Config::new(absolute(root)?);
        if let Some(state_dir) = self.state_dir {
            config.state_dir = absolute(state_dir)?;
        }
        if !self.listen.is_empty() {
            config.listen = self.listen;
        }
        config.domains = self.domain;
        replace(&mut config.admin_listen, self.admin_listen);
        replace(&mut config.region, self.region);
        replace(&mut config.region_rule, self.strict_region.map(region_rule));
        replace(&mut config.durability, self.durability);
        replace(&mut config.etag, self.etag);
        replace(&mut config.buckets, self.buckets);
        replace(&mut config.access, self.access);
        replace(&mut config.file_mode, self.file_mode);
        replace(&mut config.dir_mode, self.dir_mode);
        replace(&mut config.cores, self.cores);
        replace(&mut config.engine, self.engine);
        replace(&mut config.limits.arena_bytes_per_core, self.arena_size);
        replace(&mut config.limits.document_bytes_per_core, self.document_memory);
        if let Some(connections_max) = self.connections_max {
            config.limits.connections_max = connections_max;
            config.limits.connections_origin = Origin::Operator;
        }
        replace(&mut config.limits.header_timeout_ms, self.header_timeout);
        replace(&mut config.limits.idle_timeout_ms, self.idle_timeout);
        replace(&mut config.limits.body_rate_min_bytes_per_s, self.body_rate_min);
        replace(&mut config.limits.drain_deadline_ms, self.drain_deadline);
        replace(&mut config.log_filter, self.log);
        replace(&mut config.log_format, self.log_format);
        replace(&mut config.access_log, self.access_log);
        config.check().map_err(usage)?;
        log::check_filter(&config.log_filter).map_err(|error| Failure::Usage(format!("--log: {error}")))?;
        Ok(config)
    }
}

/// The operator's root key. It has no flag and no key in the file: both are read by more people than own the key.
/// Errors: Usage when a variable is no text.
pub fn given_root_key(environment: Environment<'_>) -> Result<GivenRootKey, Failure> {
    let text = |name: &str| match environment(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(Failure::Usage(format!("{name} is not UTF-8"))),
    };
    Ok(GivenRootKey {
        access_key_id: text(ACCESS_KEY_VARIABLE)?,
        secret_access_key: text(SECRET_KEY_VARIABLE)?.map(Zeroizing::new),
    })
}

/// Serves what was opened until a signal ends it.
/// Errors: Failed when it does not start, or when what ran was cut or broke.
pub fn run(mut opened: Opened) -> Result<(), Failure> {
    // The first thread of all: what refuses it would refuse the cores too.
    let started = log_writer::start(Box::new(std::io::stderr()));
    let (sink, writer) = started.map_err(|error| {
        Failure::failed(format!(
            "no thread can be started ({error}): a limit on processes is reached, or a container's seccomp profile \
             forbids clone3; raise the limit, or use a newer container runtime"
        ))
    })?;
    let config = &mut opened.config;
    log::start(&config.log_filter, config.log_format, sink.clone()).map_err(usage)?;
    provide_descriptors(&mut config.limits, config.cores.count());
    let (root, state_dir) = (config.root.clone(), config.state_dir.clone());
    let (region, root_key) = (config.region.as_str().to_owned(), opened.root_key.clone());
    let ready = move |s3: &[SocketAddr], admin: SocketAddr| {
        let is_terminal = std::io::stderr().is_terminal();
        let stored_secret = if is_terminal { StoredSecret::Shown } else { StoredSecret::Withheld };
        let session = Session {
            root: &root,
            state_dir: &state_dir,
            s3,
            region: &region,
            root_key: &root_key,
            stored_secret,
        };
        eprint!("{}", banner::session(&session));
        // A reader of stdout that is gone does not end the server.
        let _ = writeln!(std::io::stdout(), "{}", banner::ready_line(s3, admin));
    };
    let started = server::serve::start(opened, Plan::default(), Signals::Caught, sink, Box::new(ready));
    let outcome = started.map(Server::wait);
    writer.finish();
    match outcome.map_err(Failure::failed)? {
        Outcome::Drained => Ok(()),
        Outcome::Cut => Err(Failure::failed("requests that still ran were cut")),
        Outcome::Failed => Err(Failure::failed("a core failed; the log says why")),
    }
}

/// Raises the limit of descriptors; a default of connections is what it has room for, a number that was asked for stays.
fn provide_descriptors(limits: &mut Limits, cores_count: usize) {
    let connections_max = limits.connections_max;
    let needed = descriptors::needed(connections_max, cores_count);
    let Some(shortage) = descriptors::raise(&format!("--connections-max {connections_max}"), needed) else {
        return;
    };
    match limits.connections_origin {
        Origin::Operator => tracing::warn!("{shortage}"),
        Origin::Default => {
            limits.connections_max = shortage.connections(cores_count).min(connections_max);
            tracing::info!("--connections-max is {}: {shortage}", limits.connections_max);
        }
    }
}

fn replace<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

fn region_rule(strict: Switch) -> RegionRule {
    match strict {
        Switch::On => RegionRule::Strict,
        Switch::Off => RegionRule::Any,
    }
}

fn usage(error: SettingError) -> Failure {
    Failure::Usage(error.to_string())
}

/// Relations between paths are judged by their text: `./data` and `data` must be one.
fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path)
        .map_err(|error| Failure::Usage(format!("`{}` is no path: {error}", path.display())))
}
