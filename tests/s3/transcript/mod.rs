//! The golden transcript: a fixed list of raw requests, and every byte that comes back.
//!
//! Each request has a connection of its own that the client closes behind it, so that a byte too many is seen. Request
//! ids, dates and synthetic ETags are no bytes of the transcript. Both engines must say the same, and what
//! `golden.txt` says; after a wanted change the new text is copied from the file that a failure names.

mod bodies;
mod objects;
mod service;
mod uploads;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::{Fixture, on_both_engines};
use crate::request::{Request, Signed};

const GOLDEN: &str = include_str!("golden.txt");

/// Requests that go out in one piece over one connection, and what they are.
struct Step {
    name: &'static str,
    requests: Vec<Signed>,
}

/// One signed request.
fn step(name: &'static str, request: Request) -> Step {
    Step { name, requests: vec![request.signed()] }
}

/// Bytes that are ready to go.
fn raw(name: &'static str, signed: Signed) -> Step {
    Step { name, requests: vec![signed] }
}

/// Several requests, sent before any answer is there.
fn pipelined(name: &'static str, requests: &[Request]) -> Step {
    Step { name, requests: requests.iter().map(Request::signed).collect() }
}

#[test]
fn golden_transcript() {
    on_both_engines(|engine| {
        let fixture = Fixture::start(engine);
        fs::write(fixture.path("posix.txt"), b"made by hand").expect("a file");
        symlink("posix.txt", fixture.path("link")).expect("a link");
        fs::create_dir_all(fixture.root().join("full/only")).expect("directories");
        fs::write(fixture.root().join("full/only/object"), b"kept").expect("a file");
        let upload = fixture.begin_upload(Request::of_key("POST", "parts"));
        let steps = service::steps().into_iter().chain(objects::steps()).chain(bodies::steps());
        let steps = steps.chain(uploads::steps(&upload));
        let transcript: String = steps.map(|step| replay(&fixture, &step)).collect();
        check(&transcript, &format!("{engine:?}"));
    });
}

/// Compares with the golden text and shows the first step that differs.
fn check(transcript: &str, engine: &str) {
    let blocks = |text: &str| text.split_inclusive("\n\n").map(str::to_owned).collect::<Vec<_>>();
    let (got, want) = (blocks(transcript), blocks(GOLDEN));
    if got == want {
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("golden-{engine}.txt"));
    fs::write(&path, transcript).expect("the target directory is writable");
    let differing = got.iter().zip(&want).find(|(got, want)| got != want);
    let (got, want) =
        differing.map_or(("more or fewer steps", ""), |(got, want)| (got.as_str(), want.as_str()));
    panic!("{engine} says\n{got}\nand golden.txt\n{want}\nall of it is in {}", path.display());
}

/// Sends a step and writes down what was asked and what came back.
fn replay(fixture: &Fixture, step: &Step) -> String {
    let mut connection = fixture.connect();
    let bytes: Vec<u8> = step.requests.iter().flat_map(Signed::bytes).collect();
    connection.write(&bytes);
    connection.finish_sending();
    let answer = connection.read_to_end().unwrap_or_else(|error| panic!("{}: {error}", step.name));
    let mut text = format!("== {}\n", step.name);
    for request in &step.requests {
        let line = request.head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        writeln!(text, "> {}", without_signature(&line.escape_ascii().to_string())).expect("text grows");
    }
    // The last line of a body need not end; the block does.
    for line in answer.split_inclusive(|byte| *byte == b'\n') {
        writeln!(text, "< {}", normalised(&line.escape_ascii().to_string())).expect("text grows");
    }
    text.push('\n');
    text
}

/// The query of a presigned URL is another each second, and an upload's id is never the same.
fn without_signature(line: &str) -> String {
    let mut line = line.to_owned();
    for name in ["X-Amz-", "uploadId="] {
        if let Some((before, _)) = line.split_once(name) {
            line = format!("{before}{name}...");
        }
    }
    line
}

/// Puts the names of things in the place of their values.
fn normalised(line: &str) -> String {
    let mut line = line.to_owned();
    for name in ["x-amz-request-id", "x-amz-id-2", "Date", "Last-Modified"] {
        if line.starts_with(&format!("{name}: ")) {
            line = format!("{name}: ...\\r\\n");
        }
    }
    for name in [
        "RequestId",
        "HostId",
        "LastModified",
        "CreationDate",
        "Expires",
        "ServerTime",
        "SignatureProvided",
        "UploadId",
    ] {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        line = line
            .split(&open)
            .enumerate()
            .map(|(index, part)| match part.split_once(&close) {
                Some((_, rest)) if index > 0 => format!("{open}...{close}{rest}"),
                _ => part.to_owned(),
            })
            .collect();
    }
    without_signing_lines(&without_synthetic_etags(&line))
}

/// A refused signature shows what was to be signed, over several lines: times, the scope, the hash of the request.
fn without_signing_lines(line: &str) -> String {
    let is_stamp = line.len() == "YYYYMMDDTHHMMSSZ\\n".len() && line.ends_with("Z\\n");
    let is_hash = line.bytes().take_while(u8::is_ascii_hexdigit).count() == 64;
    let is_scope = line.ends_with("/aws4_request\\n");
    if is_stamp || is_scope {
        return "...\\n".to_owned();
    }
    match line.split_once("x-amz-date:") {
        Some((before, _)) => format!("{before}x-amz-date:...\\n"),
        None if is_hash => format!("...{}", &line[64..]),
        None => line.to_owned(),
    }
}

/// A file that S3 did not make has an ETag of its inode: 32 digits, `-1`.
fn without_synthetic_etags(line: &str) -> String {
    let mut line = line.to_owned();
    let mut from = 0;
    while let Some(found) = line[from..].find("-1").map(|found| from + found) {
        let digits = line[..found].bytes().rev().take_while(u8::is_ascii_hexdigit).count();
        if digits == 32 {
            line.replace_range(found - 32..found, "...");
            from = found - 32 + 5;
        } else {
            from = found + 2;
        }
    }
    line
}
