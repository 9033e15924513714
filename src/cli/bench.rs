//! `ringway bench put|get|stat`: its flags, and how they become one `BenchPlan`.
//! The key pair comes from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as for every S3 client: no secret in argv.
//! It measures nothing: the bench floor does.

use std::ffi::OsString;
use std::io::Write;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::bench;
use crate::bench::plan::{BenchPlan, Checksum, Credentials, Extent, Preparation, Signing, Target, Work};
use crate::cli::Failure;
use crate::cli::layers::Environment;
use crate::server::descriptors;
use crate::server::setting::{Cores, EngineChoice, parse_size_bytes};

/// What the requests do.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Upload objects of one size
    Put {
        /// The checksum that each upload carries
        #[arg(long, value_name = "none|crc32|crc32c|crc64nvme|sha1|sha256", default_value = "none")]
        checksum: Checksum,
        /// What all of them have.
        #[command(flatten)]
        flags: BenchArgs,
    },
    /// Read objects, put before the run unless --no-prepare says that they are there
    Get(BenchArgs),
    /// HEAD objects, put before the run unless --no-prepare says that they are there
    Stat(BenchArgs),
}

/// The flags that all of them have.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The server
    #[arg(value_name = "http://HOST:PORT", default_value = "http://127.0.0.1:9000")]
    target: Target,

    /// The bucket; made when it is missing
    #[arg(long, value_name = "NAME", default_value = "bench")]
    bucket: String,

    /// What the keys begin with; a number follows
    #[arg(long, value_name = "TEXT", default_value = "bench/")]
    prefix: String,

    /// How many different keys are used, over and over
    #[arg(long, value_name = "N", default_value_t = 1000)]
    keys: u64,

    /// Size of each object
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size_bytes)]
    size: u64,

    /// Bucket and objects are there already
    #[arg(long)]
    no_prepare: bool,

    /// Connections, each with one request at a time
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: u32,

    /// How long the run lasts
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "count")]
    seconds: u32,

    /// How many requests it makes instead
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// `header`: the payload's SHA-256 is signed; `unsigned`: it is not; `chunked`: aws-chunked, each chunk signed;
    /// `trailer`: aws-chunked with the checksum at the end; `none`: anonymous
    #[arg(long, value_name = "header|unsigned|chunked|trailer|none", default_value = "unsigned")]
    signing: Signing,

    /// The region of the signature
    #[arg(long, value_name = "NAME", default_value = "us-east-1")]
    region: String,

    /// CPUs that the client uses: `auto`, a count, or a list such as `0,2,4-7`
    #[arg(long, value_name = "auto|N|LIST", default_value = "auto")]
    cores: Cores,

    /// How the client reaches the kernel
    #[arg(long, value_name = "auto|io_uring|threads", default_value = "auto")]
    engine: EngineChoice,

    /// A server process on this host: its CPU time is told per GiB and per request
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// For a person.
    Table,
    /// For a program.
    Json,
}

impl BenchCommand {
    /// The run that the flags ask for, checked, and how to print its report.
    /// Errors: Usage.
    pub fn plan(self, environment: Environment<'_>) -> Result<(BenchPlan, ReportFormat), Failure> {
        let (work, checksum, flags) = match self {
            BenchCommand::Put { checksum, flags } => (Work::Put, checksum, flags),
            BenchCommand::Get(flags) => (Work::Get, Checksum::None, flags),
            BenchCommand::Stat(flags) => (Work::Stat, Checksum::None, flags),
        };
        let format = if flags.json { ReportFormat::Json } else { ReportFormat::Table };
        let credentials = match flags.signing {
            // A pair in the environment is for other commands.
            Signing::None => None,
            Signing::Header | Signing::Unsigned | Signing::Chunked | Signing::Trailer => {
                credentials(environment)?
            }
        };
        let plan = BenchPlan {
            work,
            target: flags.target,
            bucket: flags.bucket,
            prefix: flags.prefix,
            keys_count: flags.keys,
            size_bytes: flags.size,
            preparation: if flags.no_prepare { Preparation::Skip } else { Preparation::Make },
            connections_count: flags.connections,
            extent: match flags.count {
                Some(count) => Extent::Count(count),
                None => Extent::Time { time_ms: u64::from(flags.seconds) * 1000 },
            },
            signing: flags.signing,
            checksum,
            credentials,
            region: flags.region,
            cores: flags.cores,
            engine: flags.engine,
            server_pid: flags.server_pid,
        };
        plan.check().map_err(|error| Failure::Usage(error.to_string()))?;
        Ok((plan, format))
    }
}

/// Descriptors of a run beside its connections: rings and mailboxes of up to a few dozen cores.
const DESCRIPTORS_OWN: u64 = 128;

/// Carries out a run and prints its report to `out`, what else there is to say to stderr.
/// Errors: Usage; Failed when the run came to no report, or no request succeeded.
pub fn run(command: BenchCommand, environment: Environment<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let (plan, format) = command.plan(environment)?;
    // A socket for each, and what the process has for itself.
    let needed = u64::from(plan.connections_count) + DESCRIPTORS_OWN;
    if let Some(shortage) = descriptors::raise(&format!("--connections {}", plan.connections_count), needed) {
        eprintln!("ringway: {shortage}");
    }
    let report = bench::run(&plan).map_err(Failure::failed)?;
    for notice in &report.notices {
        eprintln!("ringway: {notice}");
    }
    let printed = match format {
        ReportFormat::Table => out.write_all(report.table().as_bytes()),
        ReportFormat::Json => writeln!(out, "{}", report.json()),
    };
    printed.and_then(|()| out.flush()).map_err(Failure::failed)?;
    if report.tally.done_count == 0 {
        return Err(Failure::Failed("no request succeeded".to_owned()));
    }
    Ok(())
}

fn credentials(environment: Environment<'_>) -> Result<Option<Credentials>, Failure> {
    let text = |name: &str| match environment(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(_)) => Err(Failure::Usage(format!("{name} is not UTF-8"))),
    };
    match (text("AWS_ACCESS_KEY_ID")?, text("AWS_SECRET_ACCESS_KEY")?.map(Zeroizing::new)) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Ok(Some(Credentials { access_key_id, secret_access_key }))
        }
        (None, _) | (_, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Subcommand};

    fn check(line: &str, want: Result<(Work, u64, Extent, ReportFormat), &str>) {
        let command = BenchCommand::augment_subcommands(clap::Command::new("bench"));
        command.clone().debug_assert();
        let environment = |name: &str| name.starts_with("AWS_").then(|| OsString::from("pair"));
        let got = command
            .try_get_matches_from(["bench"].into_iter().chain(line.split_whitespace()))
            .and_then(|matches| BenchCommand::from_arg_matches(&matches))
            .map_err(Failure::Clap)
            .and_then(|command| command.plan(&environment));
        match (got, want) {
            (Ok((plan, format)), Ok(want)) => {
                assert_eq!((plan.work, plan.size_bytes, plan.extent, format), want, "{line}")
            }
            (Err(Failure::Usage(text)), Err(part)) => assert!(text.contains(part), "{line}: {text}"),
            (Err(Failure::Clap(error)), Err(part)) => {
                assert!(error.to_string().contains(part), "{line}: {error}")
            }
            (got, want) => panic!("{line}: got {got:?}, want {want:?}"),
        }
    }

    #[test]
    fn flags() {
        let ten_seconds = Extent::Time { time_ms: 10_000 };
        const MIB: u64 = 1 << 20;
        check("put", Ok((Work::Put, MIB, ten_seconds, ReportFormat::Table)));
        check("put --size 4KiB --json", Ok((Work::Put, 4096, ten_seconds, ReportFormat::Json)));
        check("get http://[::1]:1 --count 7", Ok((Work::Get, MIB, Extent::Count(7), ReportFormat::Table)));
        check("stat --signing none", Ok((Work::Stat, MIB, ten_seconds, ReportFormat::Table)));
        check("put --signing trailer", Err("needs a --checksum"));
        check("get --checksum crc32", Err("--checksum"));
        check("put --checksum md5", Err("expected none, crc32"));
        check("put --size 6GiB", Err("at most 5GiB"));
        check("get --count 7 --seconds 1", Err("cannot be used with"));
        check("get --seconds 0", Err("at least 1"));
        check("get --signing v2", Err("expected header"));
        check("get ftp://a", Err("expected http://HOST:PORT"));
    }

    #[test]
    fn a_run_without_a_server_fails_and_prints_nothing() {
        // Nobody listens on the port any more once the listener is dropped.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let line = format!("ringway bench put http://{} --signing none", closed.expect("a port"));
        let argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let mut out = Vec::new();
        let failure = crate::cli::run(&argv, &|_| None, &mut out).expect_err("nobody is there");
        assert!(matches!(&failure, Failure::Failed(text) if text.contains("cannot connect")), "{failure:?}");
        assert!(out.is_empty());
    }
}
