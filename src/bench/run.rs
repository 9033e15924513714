//! One run: what must be there first, then the phase that is measured.
//! Preparation goes over the wire like everything else, by the same code, and is in no figure.
//! It prints nothing: the report is returned.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

use uring::affinity;
use uring::cores::Settings;
use uring::engine::{self, Choice, Refusal};
use uring::fault::{Plan, Poison};

use crate::bench::body::Body;
use crate::bench::phase::{self, Phase, PhaseError};
use crate::bench::plan::{BenchPlan, Extent, Preparation, Work};
use crate::bench::process_cpu::{self, ProcessCpuError};
use crate::bench::report::Report;
use crate::bench::request::Verb;
use crate::bench::tally::Tally;
use crate::server::setting::{Cores, EngineChoice};

/// Why a run came to no report.
#[derive(Debug)]
pub enum BenchError {
    /// The target has no address that takes a connection.
    Address(String),
    /// The CPUs that were asked for are not there.
    Cpus(String),
    /// The engine that was asked for is refused.
    Engine(Refusal),
    /// The bucket or the objects could not be put in place.
    Prepare(String),
    /// The run itself failed.
    Phase(PhaseError),
    /// The server's CPU time cannot be read.
    ServerCpu(ProcessCpuError),
}

impl fmt::Display for BenchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BenchError::Address(sentence) | BenchError::Cpus(sentence) | BenchError::Prepare(sentence) => {
                out.write_str(sentence)
            }
            BenchError::Engine(refusal) => refusal.fmt(out),
            BenchError::Phase(error) => error.fmt(out),
            BenchError::ServerCpu(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for BenchError {}

impl From<PhaseError> for BenchError {
    fn from(error: PhaseError) -> BenchError {
        BenchError::Phase(error)
    }
}

impl From<ProcessCpuError> for BenchError {
    fn from(error: ProcessCpuError) -> BenchError {
        BenchError::ServerCpu(error)
    }
}

/// Answers to CreateBucket that mean the bucket is there; the last is that of servers that only know directories.
const BUCKET_IS_THERE: [&str; 3] = ["409 BucketAlreadyOwnedByYou", "409 BucketAlreadyExists", "409"];

/// Carries out a run on cores of its own and waits for its end.
/// Errors: `BenchError`. Requests that fail are in the report and no error of the run.
pub fn run(plan: &BenchPlan) -> Result<Report, BenchError> {
    let (settings, refusal) = settings_of(plan)?;
    let address = resolve(plan)?;
    let body = match (plan.work, plan.preparation) {
        (Work::Put, _) | (Work::Get | Work::Stat, Preparation::Make) => Arc::new(Body::of(plan)),
        (Work::Get | Work::Stat, Preparation::Skip) => Arc::new(Body::empty()),
    };
    if plan.preparation == Preparation::Make {
        prepare(plan, &settings, address, &body)?;
    }
    let connections_count = plan.connections_count;
    let (verb, extent) = (Verb::Object(plan.work), plan.extent);
    let body = if plan.work == Work::Put { body } else { Arc::new(Body::empty()) };
    let server_cpu_ns = || plan.server_pid.map(process_cpu::read).transpose();
    let server_cpu_before_ns = server_cpu_ns()?;
    let phase = Phase { plan, verb, extent, connections_count, body, address };
    let measured = phase::run(&phase, &settings)?;
    let server_cpu_after_ns = server_cpu_ns()?;
    let used_ns = |(after_ns, before_ns): (u64, u64)| after_ns.saturating_sub(before_ns);
    Ok(Report {
        plan: plan.clone(),
        engine: settings.engine.to_string(),
        cpus: settings.cpus,
        tally: measured.tally,
        time_ns: measured.time_ns,
        client_cpu_ns: measured.client_cpu_ns,
        server_cpu_ns: server_cpu_after_ns.zip(server_cpu_before_ns).map(used_ns),
        notices: refusal.iter().map(Refusal::to_string).chain(measured.notices).collect(),
    })
}

fn prepare(
    plan: &BenchPlan,
    settings: &Settings,
    address: SocketAddr,
    body: &Arc<Body>,
) -> Result<(), BenchError> {
    let one = Settings { cpus: settings.cpus.iter().copied().take(1).collect(), ..settings.clone() };
    let bucket = Phase {
        plan,
        verb: Verb::CreateBucket,
        extent: Extent::Count(1),
        connections_count: 1,
        body: Arc::new(Body::empty()),
        address,
    };
    let mut made = phase::run(&bucket, &one)?.tally;
    made.failures.retain(|what, _| !BUCKET_IS_THERE.contains(&what.as_str()));
    refuse_failures(&format!("cannot make the bucket {}", plan.bucket), &made)?;
    if plan.work == Work::Put {
        return Ok(());
    }
    let objects_count = match plan.extent {
        Extent::Time { .. } => plan.keys_count,
        Extent::Count(count) => plan.keys_count.min(count),
    };
    let objects = Phase {
        plan,
        verb: Verb::Object(Work::Put),
        extent: Extent::Count(objects_count),
        connections_count: plan.connections_count,
        body: body.clone(),
        address,
    };
    refuse_failures("cannot put the objects that are to be read", &phase::run(&objects, settings)?.tally)
}

fn refuse_failures(sentence: &str, tally: &Tally) -> Result<(), BenchError> {
    let Some((what, count)) = tally.failures.iter().max_by_key(|(_, count)| **count) else { return Ok(()) };
    let many = if *count > 1 { format!(" ({count} times)") } else { String::new() };
    Err(BenchError::Prepare(format!("{sentence}: {what}{many}")))
}

fn settings_of(plan: &BenchPlan) -> Result<(Settings, Option<Refusal>), BenchError> {
    let choice = match plan.engine {
        EngineChoice::Auto => Choice::Auto,
        EngineChoice::IoUring => Choice::IoUring,
        EngineChoice::Threads => Choice::Threads,
    };
    let (engine, refusal) = engine::choose(choice).map_err(BenchError::Engine)?;
    let mut cpus = cpus_of(&plan.cores)?;
    // A core without a connection would only wait.
    cpus.truncate(plan.connections_count as usize);
    let settings = Settings {
        cpus,
        engine,
        // Bodies lie in memory of the bench; the least arena there is will do.
        arena_bytes: 0,
        // Sockets never need the pool.
        pool_threads_max: 1,
        faults: Plan { rules: Vec::new(), poison: Poison::Off },
    };
    Ok((settings, refusal))
}

fn cpus_of(cores: &Cores) -> Result<Vec<usize>, BenchError> {
    let wrong = |sentence: String| Err(BenchError::Cpus(sentence));
    let allowed = match affinity::allowed() {
        Ok(allowed) => allowed,
        Err(errno) => return wrong(format!("the scheduler does not tell the allowed CPUs: {errno}")),
    };
    match cores {
        Cores::Auto => {
            let count = affinity::quota().unwrap_or(allowed.len());
            Ok(allowed.into_iter().take(count).collect())
        }
        Cores::Count(count) if *count <= allowed.len() => Ok(allowed.into_iter().take(*count).collect()),
        Cores::Count(count) => {
            wrong(format!("--cores {count}: this process may run on {} CPUs", allowed.len()))
        }
        Cores::List(cpus) => match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            Some(cpu) => wrong(format!("--cores: this process may not run on CPU {cpu}")),
            None => Ok(cpus.clone()),
        },
    }
}

/// The first address of the target that takes a connection: `localhost` has two, and most servers listen on one.
fn resolve(plan: &BenchPlan) -> Result<SocketAddr, BenchError> {
    let (host, port) = (plan.target.host(), plan.target.port());
    let addresses = (host, port).to_socket_addrs();
    let addresses =
        addresses.map_err(|error| BenchError::Address(format!("{host} has no address: {error}")))?;
    let mut refusal = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(address),
            Err(error) => refusal = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(BenchError::Address(refusal))
}
