//! `ringway serve` with faults that a test plans while it runs.
//!
//! It takes ROOT and engine as `ringway serve` does, and then lines on standard input: `FAULT KIND NTH`, as `skip sync 2`, or
//! `none`. Each line replaces the plan of every core, starts counting anew and is answered by `planned`.
//! The recipe that runs is the product's own; only what the kernel is asked differs.

use std::io::{BufRead, Write};

use ringway::server::banner::ready_line;
use ringway::server::config::Config;
use ringway::server::control::Signals;
use ringway::server::root_key::{ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE};
use ringway::server::setting::{Cores, EngineChoice};
use ringway::server::start::GivenRootKey;
use ringway::server::{log, log_writer, serve, start};
use uring::fault::{Fault, Nth, OperationKind, Plan, Rule};
use zeroize::Zeroizing;

fn main() {
    let (config, given) = from_process();
    let (sink, writer) = log_writer::start(Box::new(std::io::stderr())).expect("a thread for the log");
    log::start(&config.log_filter, config.log_format, sink.clone()).expect("the log starts once");
    let opened = start::open(config, given).expect("a tree that can be served");
    let on_ready = Box::new(|s3: &[_], admin| println!("{}", ready_line(s3, admin)));
    let server = serve::start(opened, Plan::default(), Signals::Caught, sink, on_ready).expect("a server");
    let cores = server.mailboxes();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let rules = rules(&line.expect("lines of text"));
            for core in &cores {
                let (rules, (done, waits)) = (rules.clone(), std::sync::mpsc::channel());
                core.run(move || {
                    uring::fault::install(rules);
                    let _ = done.send(());
                });
                waits.recv().expect("the core runs");
            }
            writeln!(std::io::stdout(), "planned").expect("a reader");
        }
    });
    server.wait();
    writer.finish();
}

/// `serve ROOT --engine ENGINE`, on a free port and one core, so that operations are counted in one place.
fn from_process() -> (Config, GivenRootKey) {
    let arguments: Vec<String> = std::env::args().collect();
    let mut config = Config::new(arguments[2].clone().into());
    let engine = arguments.iter().position(|argument| argument == "--engine").map(|at| &arguments[at + 1]);
    config.engine = match engine.map(String::as_str) {
        Some("threads") => EngineChoice::Threads,
        Some("io_uring") => EngineChoice::IoUring,
        other => panic!("no engine is called {other:?}"),
    };
    config.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.admin_listen = "127.0.0.1:0".parse().expect("an address");
    config.cores = Cores::Count(1);
    let given = GivenRootKey {
        access_key_id: std::env::var(ACCESS_KEY_VARIABLE).ok(),
        secret_access_key: std::env::var(SECRET_KEY_VARIABLE).ok().map(Zeroizing::new),
    };
    (config, given)
}

fn rules(line: &str) -> Vec<Rule> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [fault, kind, nth] = words[..] else { return Vec::new() };
    let fault = match fault {
        "skip" => Fault::Skip,
        "kill" => Fault::Kill,
        other => panic!("no fault is called {other}"),
    };
    let kind = match kind {
        "any" => None,
        "attribute" => Some(OperationKind::SetAttribute),
        "rename" => Some(OperationKind::Rename),
        "sync" => Some(OperationKind::Sync),
        other => panic!("no kind is called {other}"),
    };
    vec![Rule { kind, nth: Nth::Only(nth.parse().expect("a number")), fault }]
}
