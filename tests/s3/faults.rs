//! The Nth operation fails, for every N: the object is the old one or the new one, whole, and nothing else is left.
//!
//! A clean run counts the operations of a request; then each of them in turn ends with EIO, with ENOSPC, or is cut short.
//! Whatever the answer is, afterwards there is no temporary name, no block and no descriptor missing, and the server
//! serves. A directory that could not be flushed ends all writes to its mount, as it should: a new server follows.

use ringway::server::setting::EngineChoice;
use uring::errno::Errno;
use uring::fault::{Fault, Nth, OperationKind, Rule};

use crate::connection::Answer;
use crate::fixture::{Fixture, on_both_engines, settled};
use crate::request::{Request, Signed, etag, etag_of_parts};

/// Two parents deep, so that directories are made and pruned.
const KEY: &str = "one/two/object";
/// Large enough for space to be reserved and the page cache to be passed, and no multiple of 4096.
const OLD_BYTES: usize = (1 << 20) + 5_000;
const NEW_BYTES: usize = (1 << 20) + 9_001;
/// More operations than any request has: a sweep that comes here does not end.
const OPERATIONS_MAX: u64 = 500;

/// One of the two objects the key may have.
struct Version {
    name: &'static str,
    bytes: Vec<u8>,
    etag: String,
    disposition: String,
    // Kept in another attribute than the rest.
    kind: &'static str,
}

impl Version {
    fn new(name: &'static str, length: usize, factor: usize) -> Version {
        let bytes: Vec<u8> = (0..length).map(|index| (index * factor / 7 % 251) as u8).collect();
        let etag = etag(&bytes);
        let kind = if name == "old" { "text/plain" } else { "image/png" };
        Version { name, bytes, etag, disposition: "inline".to_owned(), kind }
    }

    fn put(&self, key: &str) -> Signed {
        self.described(Request::put(key)).body(&self.bytes).signed()
    }

    fn described(&self, request: Request) -> Request {
        request
            .header("x-amz-meta-version", self.name)
            .header("content-disposition", &self.disposition)
            .header("content-type", self.kind)
    }

    fn is_in(&self, answer: &Answer) -> bool {
        answer.header("x-amz-meta-version") == Some(self.name)
            && answer.header("content-disposition") == Some(&self.disposition)
            && answer.header("content-type") == Some(self.kind)
            && answer.header("etag") == Some(&self.etag)
            && answer.body == self.bytes
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Create,
    Overwrite,
    Delete,
    /// The end of an upload of one part, over an object.
    Complete,
    /// A directory becomes an object.
    CreateDirectory,
    /// One that is an object gets other metadata.
    OverwriteDirectory,
}

impl Change {
    fn key(self) -> &'static str {
        match self {
            Change::Create | Change::Overwrite | Change::Delete | Change::Complete => KEY,
            Change::CreateDirectory | Change::OverwriteDirectory => "one/two/object/",
        }
    }
}

struct Sweep<'a> {
    engine: EngineChoice,
    change: Change,
    fault: Fault,
    versions: &'a [Version; 2],
}

/// What became of one request.
#[derive(Debug, PartialEq, Eq)]
enum Answered {
    Success,
    Error,
    /// The connection itself was hit.
    Cut,
}

impl Sweep<'_> {
    fn run(&self) {
        let mut fixture = self.start();
        let (mut baseline, mut errors) = (Vec::new(), 0);
        for nth in 0..OPERATIONS_MAX {
            // The zeroth is the clean run.
            let name = format!("{:?} on {:?}, {:?} at {nth}", self.change, self.engine, self.fault);
            let signed = self.prepare(&fixture, &name);
            let sidecars = fixture.sidecars().len();
            let (answered, counted) = request(&fixture, &signed, self.rule(nth));
            self.check_object(&fixture, &answered, &name);
            if self.change == Change::Complete && self.serves(&fixture, &name) {
                // A client asks again when it has heard nothing, or nothing good.
                fixture.connect().exchange(&signed).expect_status(&name, 200);
                self.check_object(&fixture, &Answered::Success, &name);
            }
            self.check_rest(&fixture, &name, &mut baseline);
            self.check_sidecars(&fixture, sidecars, &name);
            errors += usize::from(answered != Answered::Success);
            if nth == 0 {
                assert_eq!(answered, Answered::Success, "{name}: nothing was planned");
            } else if counted < nth {
                assert_eq!(answered, Answered::Success, "{name}: nothing was hit");
                return self.check_errors(errors);
            }
            if !self.serves(&fixture, &name) {
                fixture = self.start();
                baseline.clear();
                let signed = self.prepare(&fixture, &name);
                request(&fixture, &signed, self.rule(0));
                self.check_rest(&fixture, &name, &mut baseline);
            }
        }
        panic!("{:?} has more than {OPERATIONS_MAX} operations", self.change);
    }

    fn start(&self) -> Fixture {
        let fixture = Fixture::start(self.engine);
        // The first overwrite in a bucket opens its table of names in flight, which stays open.
        fixture.put("probe", b"1");
        fixture.put("probe", b"2");
        fixture
    }

    /// The zeroth fault is none: its rule only counts.
    fn rule(&self, nth: u64) -> Rule {
        let nth = Nth::Only(if nth == 0 { u64::MAX } else { nth });
        Rule { kind: None, nth, fault: self.fault }
    }

    /// Brings the key to what it has before the change, and returns the request that changes it.
    fn prepare(&self, fixture: &Fixture, name: &str) -> Signed {
        let mut connection = fixture.connect();
        let ([old, new], key) = (self.versions, self.change.key());
        let answer = match self.change {
            Change::Create | Change::CreateDirectory => connection.exchange(&Request::delete(key).signed()),
            Change::Overwrite | Change::Delete | Change::Complete | Change::OverwriteDirectory => {
                connection.exchange(&old.put(key))
            }
        };
        assert!(matches!(answer.status, 200 | 204), "{name}: {answer}");
        match self.change {
            Change::Create | Change::CreateDirectory => {
                // Parents that a failed request has made may be there still; the next one is to make them again.
                let parents = [KEY, "one/two", "one"].map(|parent| fixture.path(parent));
                parents.iter().for_each(|parent| drop(std::fs::remove_dir(parent)));
                assert!(!parents[2].exists(), "{name}: {:?} holds something", parents[2]);
                new.put(key)
            }
            Change::Overwrite | Change::OverwriteDirectory => new.put(key),
            Change::Delete => Request::delete(KEY).signed(),
            Change::Complete => {
                let create = new.described(Request::of_key("POST", KEY));
                let upload = fixture.begin_upload(create);
                let part = fixture.send(Request::part(KEY, &upload, 1).body(&new.bytes));
                part.expect_status(name, 200);
                let tag = part.header("etag").expect("an ETag");
                Request::complete(KEY, &upload, &[(1, tag)]).signed()
            }
        }
    }

    /// What the key has is what it had, or what it was to have.
    fn check_object(&self, fixture: &Fixture, answered: &Answered, name: &str) {
        let answer = fixture.send(Request::get(self.change.key()));
        let head = fixture.send(Request::head(self.change.key()));
        assert_eq!((head.status, head.header("etag")), (answer.status, answer.header("etag")), "{name}");
        let [old, new] = self.versions;
        let is_missing = answer.status == 404;
        let (is_before, is_after) = match self.change {
            Change::Create | Change::CreateDirectory => (is_missing, new.is_in(&answer)),
            Change::Overwrite | Change::Complete | Change::OverwriteDirectory => {
                (old.is_in(&answer), new.is_in(&answer))
            }
            Change::Delete => (old.is_in(&answer), is_missing),
        };
        let is_right = match answered {
            Answered::Success => is_after,
            Answered::Error | Answered::Cut => is_before || is_after,
        };
        let (status, length) = (answer.status, answer.body.len());
        assert!(is_right, "{name}: {answered:?}, then {status} with {length} bytes: {:?}", answer.headers);
    }

    /// A short count is no error: what is left is written or sent then.
    fn check_errors(&self, errors: usize) {
        match self.fault {
            Fault::Shorten(_) => assert_eq!(errors, 0, "errors of {:?} with {:?}", self.change, self.fault),
            _ => assert!(errors > 0, "{:?} hit nothing of {:?}", self.fault, self.change),
        }
    }

    /// The new object may have one, as it does when its attribute was refused; nothing else may.
    fn check_sidecars(&self, fixture: &Fixture, before: usize, name: &str) {
        let head = fixture.send(Request::head(self.change.key()));
        let is_new = head.header("x-amz-meta-version") == Some(self.versions[1].name);
        let is_tidy = settled(|| fixture.sidecars().len() <= before + usize::from(is_new));
        assert!(is_tidy, "{name}: {before} before, and now {:?}", fixture.sidecars());
    }

    /// Nothing is left behind: no name, no block, no descriptor.
    fn check_rest(&self, fixture: &Fixture, name: &str, baseline: &mut Vec<std::path::PathBuf>) {
        fixture.expect_blocks_back(name);
        let is_tidy = settled(|| fixture.temporary_names().is_empty());
        assert!(is_tidy, "{name}: {:?}", fixture.temporary_names());
        if baseline.is_empty() {
            settled(|| fixture.open_files().iter().all(|file| !file.to_string_lossy().contains("(deleted)")));
            *baseline = fixture.open_files();
            return;
        }
        let is_closed = settled(|| fixture.open_files().len() <= baseline.len());
        assert!(is_closed, "{name}: {:?} were open before, {:?} are", baseline, fixture.open_files());
    }

    /// Whether the server still takes writes; it may refuse them after the flush of a directory failed.
    fn serves(&self, fixture: &Fixture, name: &str) -> bool {
        fixture.get("probe");
        let answer = fixture.send(Request::put("probe").body(b"3"));
        let is_suspect = answer.status == 503 && self.fault == Fault::Fail(Errno::IO);
        assert!(answer.status == 200 || is_suspect, "{name}: {answer}");
        answer.status == 200
    }
}

/// Sends a request over a connection that is there before the plan, and counts its operations.
fn request(fixture: &Fixture, signed: &Signed, rule: Rule) -> (Answered, u64) {
    let mut connection = fixture.connect();
    connection.exchange(&Request::head("probe").signed()).expect_status("warm", 200);
    fixture.plan(vec![rule]);
    let _ = connection.try_write(&signed.bytes());
    let answered = match connection.try_answer_to(&signed.head) {
        Ok(answer) if answer.status < 300 => Answered::Success,
        Ok(answer) => {
            assert!(answer.status >= 400 && answer.text().ends_with("</Error>"), "{answer}");
            Answered::Error
        }
        Err(_) => Answered::Cut,
    };
    let counted = fixture.counted();
    fixture.plan(Vec::new());
    (answered, counted)
}

fn check(change: Change) {
    check_with(change, "attachment");
}

/// Want: that the new object has this disposition.
fn check_with(change: Change, disposition: &str) {
    let sizes = match change {
        Change::CreateDirectory | Change::OverwriteDirectory => [0, 0],
        Change::Create | Change::Overwrite | Change::Delete | Change::Complete => [OLD_BYTES, NEW_BYTES],
    };
    let mut versions = [Version::new("old", sizes[0], 3), Version::new("new", sizes[1], 5)];
    versions[1].disposition = disposition.to_owned();
    if change == Change::Complete {
        versions[1].etag = etag_of_parts(&[&versions[1].bytes]);
    }
    on_both_engines(|engine| {
        for fault in [Fault::Fail(Errno::IO), Fault::Fail(Errno::NOSPC), Fault::Shorten(1_000)] {
            Sweep { engine, change, fault, versions: &versions }.run();
        }
    });
}

#[test]
fn every_operation_of_a_new_put_fails_in_turn() {
    check(Change::Create);
}

/// On ext4 attributes of that length are refused.
#[test]
fn every_operation_of_a_put_with_a_sidecar_fails_in_turn() {
    check_with(Change::Create, &"x".repeat(5_000));
}

#[test]
fn every_operation_of_an_overwrite_fails_in_turn() {
    check(Change::Overwrite);
}

#[test]
fn every_operation_of_a_delete_fails_in_turn() {
    check(Change::Delete);
}

#[test]
fn every_operation_of_a_complete_fails_in_turn() {
    check(Change::Complete);
}

#[test]
fn every_operation_of_a_new_directory_fails_in_turn() {
    check(Change::CreateDirectory);
}

#[test]
fn every_operation_over_a_directory_fails_in_turn() {
    check(Change::OverwriteDirectory);
}

/// A mount may take O_DIRECT at the open and refuse the write: what was to fill the last block is no part of the object.
#[test]
fn a_refused_direct_write_leaves_no_padding() {
    on_both_engines(|engine| {
        for (length, nth) in [(5_000, 1), (OLD_BYTES, 1), (OLD_BYTES, 2), (OLD_BYTES, 3)] {
            // A server of its own: the mount's refusal is remembered, and without O_DIRECT it would be a fault.
            let fixture = Fixture::start(engine);
            let object = Version::new("chunked", length, 3);
            let mut put = Request::put(KEY).header("transfer-encoding", "chunked").signed();
            put.body = format!("{length:x}\r\n").into_bytes();
            put.body.extend(&object.bytes);
            put.body.extend(b"\r\n0\r\n\r\n");
            let (kind, fault) = (Some(OperationKind::Write), Fault::Fail(Errno::INVAL));
            fixture.plan(vec![Rule { kind, nth: Nth::Only(nth), fault }]);
            let answer = fixture.connect().exchange(&put);
            fixture.plan(Vec::new());
            answer.expect_status(&format!("{engine:?}: {length} bytes, write {nth}"), 200);
            assert!(fixture.get(KEY).body == object.bytes, "{engine:?}: {length} bytes, write {nth}");
        }
    });
}
