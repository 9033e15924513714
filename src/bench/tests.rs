//! Whole runs against a small HTTP server on real sockets: it checks every request as Ringway does, with the floors
//! below, and answers as a behaviour says. Each run is made on both engines.
//! Nothing here measures: figures are compared with what the server has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use uring::engine::{self, Choice};

use crate::auth::authenticate::{PayloadAuth, RegionRule, Rules, authenticate};
use crate::auth::credential::{Caller, CallerKind, Credential, Credentials, Secret};
use crate::auth::signing_key::SigningKeys;
use crate::bench::plan::{
    BenchPlan, Checksum, Extent, Preparation, Signing, Work, tests::plan as plan_of_puts,
};
use crate::bench::report::Report;
use crate::bench::run;
use crate::digest::stream::{Kind, Stream};
use crate::http::framing::{BodyLength, Framing};
use crate::http::head::{Method, Parsed, RequestHead};
use crate::s3::aws_chunked::decoder::Decoder;
use crate::s3::aws_chunked::trailer::Trailer;
use crate::s3::checksum::Algorithm;
use crate::s3::error::{Code, S3Error};
use crate::s3::payload::{Coding, Payload, Purpose};
use crate::s3::query::Query;
use crate::server::setting::{Cores, EngineChoice};

/// How the server answers objects' requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// As S3 does.
    Serve,
    /// As S3 does, and says `Connection: close`.
    SayClose,
    /// As S3 does, then closes without a word: the client finds out with its next request.
    CloseSilently,
    /// 403 after the head, nothing of the body read, then the end of the connection.
    RefuseEarly,
    /// 503 for every second request.
    Busy,
    /// As SayClose, and takes no connection after the first five: one to find the address, the bucket's, one a lane.
    Vanish,
    /// Announces a byte more than it sends.
    CutShort,
}

/// What the server was asked, and what it keeps.
#[derive(Default)]
struct Seen {
    /// Requests of objects by method, CreateBucket among the PUTs.
    methods: BTreeMap<String, u64>,
    objects: BTreeMap<String, Vec<u8>>,
    connections: u64,
    /// To requests of objects.
    answers: u64,
    refused: BTreeSet<String>,
}

struct TinyServer {
    behaviour: Behaviour,
    credentials: Option<Credentials>,
    seen: Mutex<Seen>,
}

const NOW: fn() -> u64 = || uring::time::unix_ns() / 1_000_000_000;

impl TinyServer {
    /// Starts a server; its threads end with the process.
    fn start(behaviour: Behaviour, plan: &BenchPlan) -> (Arc<TinyServer>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let caller = Caller {
            name: "root".into(),
            canonical_id: "0".repeat(64).into(),
            account_id: "0".repeat(12).into(),
            kind: CallerKind::Root,
        };
        let credentials = plan.credentials.as_ref().map(|pair| {
            let secret_access_key = Secret::new(pair.secret_access_key.to_string());
            let access_key_id = pair.access_key_id.as_str().into();
            Credentials::new([Credential { access_key_id, secret_access_key, caller }])
        });
        let server = Arc::new(TinyServer { behaviour, credentials, seen: Mutex::default() });
        let served = server.clone();
        let connections_max = if behaviour == Behaviour::Vanish { 5 } else { usize::MAX };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take(connections_max) {
                let server = served.clone();
                // A connection that breaks is the client's to notice.
                std::thread::spawn(move || server.connection(stream));
            }
        });
        (server, address)
    }

    fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut is_first = true;
        while let Some(head) = read_head(&mut stream, &mut bytes)? {
            if std::mem::take(&mut is_first) {
                self.seen.lock().unwrap().connections += 1;
            }
            *self.seen.lock().unwrap().methods.entry(head.method_text().to_owned()).or_default() += 1;
            let is_object = head.raw_path().matches('/').count() > 1;
            if is_object && self.behaviour == Behaviour::RefuseEarly {
                stream.write_all(&error_answer(Code::AccessDenied, "close"))?;
                stream.shutdown(Shutdown::Write)?;
                io::copy(&mut stream.take(1 << 20), &mut io::sink())?;
                return Ok(());
            }
            let body = read_body(&mut stream, &mut bytes, &head)?;
            if self.answer(&mut stream, &head, body, is_object)? == After::Close {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        stream: &mut TcpStream,
        head: &RequestHead,
        body: Vec<u8>,
        is_object: bool,
    ) -> io::Result<After> {
        let checked = self.check(head, body);
        let mut seen = self.seen.lock().unwrap();
        let body = match checked {
            Ok(body) => body,
            Err(error) => {
                seen.refused.insert(format!("{} {error:?}", head.raw_path()));
                stream.write_all(&error_answer(error.code(), "keep-alive"))?;
                return Ok(After::KeepAlive);
            }
        };
        seen.answers += u64::from(is_object);
        if is_object && self.behaviour == Behaviour::Busy && seen.answers.is_multiple_of(2) {
            stream.write_all(&error_answer(Code::SlowDown, "keep-alive"))?;
            return Ok(After::KeepAlive);
        }
        let path = head.raw_path().to_owned();
        let content = match head.method() {
            Method::Put => {
                seen.objects.insert(path, body);
                Some(Vec::new())
            }
            _ => seen.objects.get(&path).cloned(),
        };
        drop(seen);
        let Some(content) = content else {
            stream.write_all(&error_answer(Code::NoSuchKey, "keep-alive"))?;
            return Ok(After::KeepAlive);
        };
        let closes = is_object && self.behaviour != Behaviour::Serve && self.behaviour != Behaviour::Busy;
        let says_close = matches!(self.behaviour, Behaviour::SayClose | Behaviour::Vanish);
        let said = if says_close { "close" } else { "keep-alive" };
        let more = usize::from(is_object && self.behaviour == Behaviour::CutShort);
        let length = content.len() + more;
        let head_text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: {said}\r\n\r\n");
        let content = if head.method() == Method::Head { Vec::new() } else { content };
        // In one write: a second one would wait for the acknowledgement of the first.
        stream.write_all(&[head_text.into_bytes(), content].concat())?;
        Ok(if closes { After::Close } else { After::KeepAlive })
    }

    /// Verifies a request whole and returns its payload.
    fn check(&self, head: &RequestHead, mut bytes: Vec<u8>) -> Result<Vec<u8>, S3Error> {
        let Some(credentials) = &self.credentials else {
            return match head.header("authorization") {
                None => Ok(bytes),
                Some(_) => Err(S3Error::new(Code::AccessDenied)),
            };
        };
        let query = Query::parse(head.raw_query().unwrap_or_default())?;
        let rules = Rules { region: "eu-west-1".to_owned(), strict_region: RegionRule::Strict };
        let mut keys = SigningKeys::new();
        let (_, mut auth) = authenticate(head, &query, credentials, &mut keys, &rules, NOW())?;
        if head.method() != Method::Put {
            return Ok(bytes);
        }
        let payload = Payload::of(head, BodyLength::Exact(bytes.len() as u64), Purpose::Object)?;
        let mut stream = Stream::new(payload.wanted().with(Kind::Sha256));
        let trailer = match payload.coding {
            Coding::Plain => {
                stream.update(&bytes);
                Trailer::default()
            }
            Coding::AwsChunked(framing) => {
                let mut decoder = Decoder::new(framing, payload.decoded_bytes);
                let mut marks = Vec::new();
                let decoded = decoder.decode(&mut bytes, &mut marks)?;
                bytes.truncate(decoded);
                let mut begin = 0;
                for mark in marks {
                    stream.update(&bytes[begin..mark.end_bytes]);
                    begin = mark.end_bytes;
                    if let PayloadAuth::Chunks(signer) = &mut auth {
                        signer.verify_chunk(stream.end_chunk().expect("wanted"), &mark.signature)?;
                    }
                }
                // Without signatures there are no marks.
                stream.update(&bytes[begin..]);
                decoder.finish()?
            }
        };
        let signed_sha256 = match auth {
            PayloadAuth::Sha256(sha256) => Some(sha256),
            PayloadAuth::Unsigned | PayloadAuth::UnsignedTrailer => None,
            PayloadAuth::Chunks(signer) => signer.finish().map(|()| None)?,
        };
        payload.verify(&stream.finish(), bytes.len() as u64, signed_sha256, &trailer)?;
        Ok(bytes)
    }
}

#[derive(PartialEq, Eq)]
enum After {
    KeepAlive,
    Close,
}

fn error_answer(code: Code, connection: &str) -> Vec<u8> {
    let error = S3Error::new(code);
    let document = crate::s3::error::render(&error, "/", "request", "host");
    let (status, length) = (error.status(), document.len());
    let head =
        format!("HTTP/1.1 {status} No\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
    [head.as_bytes(), document.as_bytes()].concat()
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 64 * 1024];
    let length = stream.read(&mut piece)?;
    bytes.extend_from_slice(&piece[..length]);
    Ok(length)
}

fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Option<RequestHead>> {
    loop {
        match RequestHead::parse(bytes) {
            Ok(Parsed::Complete { head, consumed_bytes }) => {
                bytes.drain(..consumed_bytes);
                return Ok(Some(head));
            }
            Ok(Parsed::Partial) if read_more(stream, bytes)? == 0 => return Ok(None),
            Ok(Parsed::Partial) => {}
            Err(error) => panic!("the client sent a head that is none: {error:?}"),
        }
    }
}

fn read_body(stream: &mut TcpStream, bytes: &mut Vec<u8>, head: &RequestHead) -> io::Result<Vec<u8>> {
    let length = match Framing::of(head).expect("the client frames its requests").body {
        BodyLength::Empty => 0,
        BodyLength::Exact(length) => length as usize,
        BodyLength::Chunked => panic!("the client knows every length"),
    };
    while bytes.len() < length {
        if read_more(stream, bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = bytes.split_off(length);
    Ok(std::mem::replace(bytes, rest))
}

/// Makes one run on each engine, against a server of its own, and hands over the report and what the server saw.
fn check(behaviour: Behaviour, change: impl Fn(&mut BenchPlan), examine: impl Fn(&str, &Report, &Seen)) {
    for engine in [EngineChoice::IoUring, EngineChoice::Threads] {
        if engine == EngineChoice::IoUring && engine::choose(Choice::IoUring).is_err() {
            eprintln!("SKIPPED on io_uring: refused here");
            continue;
        }
        let mut plan = plan_of_puts(|plan| {
            (plan.engine, plan.cores, plan.region) = (engine, Cores::Auto, "eu-west-1".to_owned());
            (plan.keys_count, plan.connections_count) = (10, 3);
            plan.prefix = "a prefix/".to_owned();
        });
        change(&mut plan);
        plan.check().expect("a legal plan");
        let (server, address) = TinyServer::start(behaviour, &plan);
        plan.target = format!("http://{address}").parse().expect("an address is a target");
        let report = run(&plan).unwrap_or_else(|error| panic!("{behaviour:?} {engine:?}: {error}"));
        let seen = server.seen.lock().unwrap();
        assert_eq!(seen.refused.first(), None, "{behaviour:?} {engine:?}");
        examine(&format!("{behaviour:?} {engine:?}"), &report, &seen);
    }
}

fn failures(report: &Report) -> Vec<(&str, u64)> {
    report.tally.failures.iter().map(|(what, count)| (what.as_str(), *count)).collect()
}

/// Puts of a size, signed in one way: every one is accepted, and whole.
fn check_signing(signing: Signing, checksum: Checksum, size_bytes: u64) {
    let change = |plan: &mut BenchPlan| {
        (plan.signing, plan.checksum, plan.size_bytes) = (signing, checksum, size_bytes);
        if signing == Signing::None {
            plan.credentials = None;
        }
    };
    check(Behaviour::Serve, change, |name, report, seen| {
        assert_eq!(failures(report), [], "{name} {signing:?}");
        assert_eq!((report.tally.done_count, report.tally.reconnects_count), (100, 0), "{name} {signing:?}");
        assert_eq!(report.tally.payload_bytes, 100 * size_bytes, "{name} {signing:?}");
        assert_eq!(report.tally.latencies.len(), 100, "{name} {signing:?}");
        assert_eq!(seen.methods, BTreeMap::from([("PUT".to_owned(), 101)]), "{name} {signing:?}");
        let keys: Vec<&str> = seen.objects.keys().map(String::as_str).collect();
        let want: Vec<String> = (0..10).map(|number| format!("/bench/a%20prefix/{number}")).collect();
        assert_eq!(keys, [vec!["/bench"], want.iter().map(String::as_str).collect()].concat(), "{name}");
        let whole = |object: &Vec<u8>| object.len() as u64 == size_bytes;
        assert!(seen.objects.values().filter(|object| !object.is_empty()).all(whole), "{name} {signing:?}");
    });
}

#[test]
fn every_signing_is_accepted() {
    for size_bytes in [0, 4096, 200_000] {
        check_signing(Signing::None, Checksum::None, size_bytes);
        check_signing(Signing::Unsigned, Checksum::Of(Algorithm::Crc32c), size_bytes);
        check_signing(Signing::Header, Checksum::Of(Algorithm::Sha1), size_bytes);
        check_signing(Signing::Chunked, Checksum::Of(Algorithm::Sha256), size_bytes);
        check_signing(Signing::Chunked, Checksum::None, size_bytes);
        check_signing(Signing::Trailer, Checksum::Of(Algorithm::Crc64nvme), size_bytes);
    }
}

#[test]
fn bodies_larger_than_any_socket_buffer_go_out_whole() {
    let change = |plan: &mut BenchPlan| {
        (plan.signing, plan.checksum) = (Signing::Trailer, Checksum::Of(Algorithm::Crc64nvme));
        (plan.size_bytes, plan.extent) = ((24 << 20) + 1, Extent::Count(2));
    };
    check(Behaviour::Serve, change, |name, report, _| {
        assert_eq!(failures(report), [], "{name}");
        assert_eq!(report.tally.payload_bytes, 2 * ((24 << 20) + 1), "{name}");
    });
}

#[test]
fn objects_are_put_before_they_are_read() {
    for (work, verb, moved_bytes) in [(Work::Get, "GET", 300_000), (Work::Stat, "HEAD", 0)] {
        let change = |plan: &mut BenchPlan| (plan.work, plan.size_bytes) = (work, 300_000);
        check(Behaviour::Serve, change, |name, report, seen| {
            assert_eq!(failures(report), [], "{name}");
            assert_eq!(report.tally.payload_bytes, 100 * moved_bytes, "{name}");
            let want = BTreeMap::from([("PUT".to_owned(), 11), (verb.to_owned(), 100)]);
            assert_eq!(seen.methods, want, "{name}");
        });
    }
}

#[test]
fn keys_that_no_request_will_name_are_not_put() {
    let change = |plan: &mut BenchPlan| (plan.work, plan.extent) = (Work::Get, Extent::Count(4));
    check(Behaviour::Serve, change, |name, report, seen| {
        assert_eq!((report.tally.done_count, seen.methods.get("PUT")), (4, Some(&5)), "{name}");
    });
}

#[test]
fn nothing_is_prepared_when_told_so() {
    let change = |plan: &mut BenchPlan| (plan.work, plan.preparation) = (Work::Get, Preparation::Skip);
    check(Behaviour::Serve, change, |name, report, seen| {
        assert_eq!(failures(report), [("404 NoSuchKey", 100)], "{name}");
        assert_eq!(seen.methods, BTreeMap::from([("GET".to_owned(), 100)]), "{name}");
    });
}

#[test]
fn closed_connections_are_opened_again() {
    for behaviour in [Behaviour::SayClose, Behaviour::CloseSilently] {
        check(
            behaviour,
            |_| (),
            |name, report, seen| {
                assert_eq!(failures(report), [], "{name}");
                assert_eq!(report.tally.done_count, 100, "{name}");
                // Three were opened before the run, one for the bucket. The last answer of a lane needs no other.
                assert!((97..=100).contains(&report.tally.reconnects_count), "{name}");
                assert!(seen.connections >= 101, "{name}");
            },
        );
    }
}

#[test]
fn an_early_refusal_is_read_while_the_body_goes_out() {
    let change = |plan: &mut BenchPlan| {
        (plan.size_bytes, plan.extent) = (64 << 20, Extent::Count(6));
    };
    check(Behaviour::RefuseEarly, change, |name, report, seen| {
        assert_eq!(failures(report), [("403 AccessDenied", 6)], "{name}");
        assert_eq!((report.tally.done_count, report.tally.payload_bytes), (0, 0), "{name}");
        assert_eq!(seen.methods, BTreeMap::from([("PUT".to_owned(), 7)]), "{name}");
    });
}

#[test]
fn errors_are_counted_by_status_and_code() {
    check(
        Behaviour::Busy,
        |_| (),
        |name, report, _| {
            assert_eq!(failures(report), [("503 SlowDown", 50)], "{name}");
            assert_eq!((report.tally.done_count, report.tally.latencies.len()), (50, 50), "{name}");
        },
    );
}

#[test]
fn a_server_that_is_gone_ends_the_run() {
    let change = |plan: &mut BenchPlan| plan.extent = Extent::Count(1_000_000);
    check(Behaviour::Vanish, change, |name, report, _| {
        assert_eq!(report.tally.done_count, 3, "{name}");
        assert!((20..1000).contains(&report.tally.failed_count()), "{name}: {:?}", failures(report));
    });
}

#[test]
fn a_cut_answer_is_no_answer() {
    let change = |plan: &mut BenchPlan| plan.extent = Extent::Count(5);
    check(Behaviour::CutShort, change, |name, report, _| {
        let want = [("connection: connection closed within the response", 5)];
        assert_eq!(failures(report), want, "{name}");
    });
}

#[test]
fn a_run_ends_by_time_and_tells_a_servers_cpu() {
    let change = |plan: &mut BenchPlan| {
        plan.extent = Extent::Time { time_ms: 30 };
        plan.server_pid = Some(std::process::id());
    };
    check(Behaviour::Serve, change, |name, report, seen| {
        assert_eq!(failures(report), [], "{name}");
        assert_eq!(seen.methods.get("PUT"), Some(&(report.tally.done_count + 1)), "{name}");
        assert!(report.time_ns >= 30_000_000, "{name}: {} ns", report.time_ns);
        assert!(report.server_cpu_ns.is_some() && report.client_cpu_ns > 0, "{name}");
    });
}

#[test]
fn a_run_that_cannot_begin_says_why() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let target = format!("http://{closed}");
    let fail = |change: &dyn Fn(&mut BenchPlan)| {
        let plan = plan_of_puts(|plan| {
            plan.target = target.parse().expect("a target");
            change(plan);
        });
        run(&plan).expect_err("it cannot run").to_string()
    };
    assert!(fail(&|_| ()).contains("cannot connect"));
    assert!(fail(&|plan| plan.cores = Cores::Count(8000)).contains("may run on"));
    assert!(fail(&|plan| plan.cores = Cores::List(vec![8000])).contains("CPU 8000"));
    let (_, address) = TinyServer::start(Behaviour::RefuseEarly, &plan_of_puts(|_| ()));
    let refused = |plan: &mut BenchPlan| {
        (plan.work, plan.region) = (Work::Get, "eu-west-1".to_owned());
        plan.target = format!("http://{address}").parse().expect("a target");
    };
    assert!(fail(&refused).contains("that are to be read: 403 AccessDenied (100 times)"));
    let wrong_region = |plan: &mut BenchPlan| {
        refused(plan);
        plan.region = "us-east-1".to_owned();
    };
    assert!(fail(&wrong_region).contains("cannot make the bucket bench: 400 AuthorizationHeaderMalformed"));
}
