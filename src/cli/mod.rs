//! Floor 6: the command line, one file per command group.
//! Flags, environment and the TOML file become one configuration here; errors become one sentence and an exit code.
//! Source: ARCHITECTURE.md.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub mod bench;
mod layers;
mod root_key;
mod serve;

#[cfg(test)]
mod tests;

pub use layers::Environment;

use crate::cli::bench::BenchCommand;
use crate::cli::root_key::RootKeyCommand;
use crate::cli::serve::ServeArgs;
use crate::server::root_key::RootKeyError;
use crate::server::start::{self, StartError};

/// Serves a plain directory tree over S3: buckets are directories, objects are files
///
/// What S3 clients upload, POSIX users read with `cat`; what POSIX users write, S3 clients list and get.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, after_help = EXAMPLES, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a directory over S3
    ///
    /// Prints a session to paste on stderr and, when it is ready, one line on stdout:
    /// `ringway ready s3=http://ADDR:PORT admin=http://ADDR:PORT`
    #[command(after_help = SERVE_NOTES, after_long_help = SERVE_NOTES)]
    Serve(Box<ServeArgs>),
    /// Show the root user's key pair, or make a new one
    #[command(subcommand)]
    RootKey(RootKeyCommand),
    /// Measure an S3 server: throughput, latency, CPU time
    ///
    /// Signs with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The bucket is made when it is missing, and what `get`
    /// and `stat` ask for is put first; neither is in the figures.
    #[command(subcommand, after_help = BENCH_EXAMPLES, after_long_help = BENCH_EXAMPLES)]
    Bench(BenchCommand),
}

const EXAMPLES: &str = "\
Examples:
  ringway serve ./data                         serve ./data on 127.0.0.1:9000, for this host only
  ringway serve /srv/s3 --listen 0.0.0.0:9000  ... for other hosts too
  ringway serve --config /etc/ringway.toml     ... with everything from a file
  eval \"$(ringway root-key show ./data)\"       put the key pair into this shell
  aws --endpoint-url http://127.0.0.1:9000 s3 ls

Exit codes: 0 done, 1 failed, 2 wrong usage.";

const SERVE_NOTES: &str = "\
Every flag is also a variable (--admin-listen is RINGWAY_ADMIN_LISTEN; a list is
separated by commas) and a key of the TOML file. Flag beats environment beats file:

  root = \"/srv/s3\"
  listen = [\"0.0.0.0:9000\"]
  durability = \"data\"
  strict-region = true

The root user's key pair is made at the first start and kept in the state
directory; RINGWAY_ROOT_ACCESS_KEY and RINGWAY_ROOT_SECRET_KEY replace it (both).

Signals: SIGTERM and Ctrl-C drain, the second stops at once.";

const BENCH_EXAMPLES: &str = "\
Examples:
  ringway bench put --size 64MiB --connections 16 --seconds 30
  ringway bench put --size 64MiB --signing trailer --checksum crc64nvme
  ringway bench get http://10.0.0.5:9000 --size 4KiB --keys 1000 --count 100000 --json
  ringway bench stat --cores 3-3 --server-pid \"$(pgrep -x ringway | head -n 1)\"

A client on the server's host takes CPU from it: keep them apart with --cores.";

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// clap's own answer: a usage error, or the help or version that was asked for.
    Clap(clap::Error),
    /// The command line, environment or file is wrong: exit code 2.
    Usage(String),
    /// The command was understood and failed: exit code 1.
    Failed(String),
}

impl Failure {
    fn failed(error: impl Display) -> Failure {
        Failure::Failed(error.to_string())
    }

    /// Tells the person, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::Clap(error) if !error.use_stderr() => {
                // A reader that closed the pipe has seen enough of the help.
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // With nothing said at all, the help is the best sentence.
            Failure::Clap(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = error.print();
            }
            Failure::Clap(error) => eprintln!("ringway: {}", sentence(error)),
            Failure::Usage(sentence) | Failure::Failed(sentence) => eprintln!("ringway: {sentence}"),
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Clap(error) if !error.use_stderr() => 0,
            Failure::Clap(_) | Failure::Usage(_) => 2,
            Failure::Failed(_) => 1,
        }
    }
}

/// clap's error without its own prefix.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

/// Carries out the command line `argv`, the program's name first.
/// Errors: see `Failure`; nothing is printed for one before `report`.
pub fn run(argv: &[OsString], environment: Environment<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    match parse(argv, environment)? {
        Command::Serve(args) => {
            let config = args.config()?;
            let opened = start::open(config, serve::given_root_key(environment)?).map_err(not_opened)?;
            serve::run(opened)
        }
        Command::RootKey(command) => root_key::run(command, out),
        Command::Bench(command) => bench::run(command, environment, out),
    }
}

/// A setting that only the open directories could judge is still wrong usage.
fn not_opened(error: StartError) -> Failure {
    match error {
        StartError::Setting(_) | StartError::RootKey(RootKeyError::Environment(_)) => {
            Failure::Usage(error.to_string())
        }
        StartError::Directory(..) | StartError::StateDir(_) | StartError::RootKey(_) => {
            Failure::failed(error)
        }
    }
}

fn parse(argv: &[OsString], environment: Environment<'_>) -> Result<Command, Failure> {
    let command = command();
    let settings = command.find_subcommand("serve").expect("serve is a command");
    let matches = layers::parse(&command, settings, argv, environment)?;
    Arguments::from_arg_matches(&matches).map(|arguments| arguments.command).map_err(Failure::Clap)
}

fn command() -> clap::Command {
    Arguments::command().mut_subcommand("serve", layers::with_variables_in_help)
}
