//! Listings and bulk deletes as signed requests over a real tree: from the request head to the document.
//! What the tree holds afterwards is looked at through POSIX. The details of order and pages are tested below, in fs/list;
//! the sockets above, in tests/.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tempfile::TempDir;
use uring::cores::{self, Settings};
use uring::engine::Name;
use uring::fault::Plan;

use crate::auth::authenticate::{Authenticated, RegionRule, Rules, authenticate};
use crate::auth::credential::{Caller, CallerKind, Credential, Credentials, Secret};
use crate::auth::sign::{Signer, ToSign};
use crate::auth::signing_key::SigningKeys;
use crate::fs::inflight::Instance;
use crate::fs::tree::{Durability, Making, Shared, Tree};
use crate::http::head::{Parsed, RequestHead};
use crate::ops::call::{Call, Etags, Service};
use crate::ops::delete_objects::delete_objects;
use crate::ops::list_objects::list_objects;
use crate::ops::list_objects_v2::list_objects_v2;
use crate::ops::memory::Memory;
use crate::ops::response::{Body, Response};
use crate::s3::error::S3Error;
use crate::s3::operation::Operation;
use crate::s3::route::{Route, route};

const NOW_S: i64 = 1_700_000_000;

/// A head that root signed, with its route.
fn signed(method: &str, query: &[(&str, &str)]) -> (RequestHead, Route, Authenticated) {
    let secret = Secret::new("secret".to_owned());
    let headers = [("host", "localhost")];
    let to_sign = ToSign { method, path: b"/bkt", query, headers: &headers };
    let target = Signer::new("AKIDROOT", &secret, "us-east-1", NOW_S).presign(&to_sign, 60);
    let text = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let Parsed::Complete { head, .. } = RequestHead::parse(text.as_bytes()).unwrap() else {
        panic!("{text} is a whole head")
    };
    let route = route(&head, &[]).unwrap();
    let caller = Caller {
        name: "root".into(),
        canonical_id: "75aa".into(),
        account_id: "000000000000".into(),
        kind: CallerKind::Root,
    };
    let credential = Credential { access_key_id: "AKIDROOT".into(), secret_access_key: secret, caller };
    let rules = Rules { region: "us-east-1".to_owned(), strict_region: RegionRule::Any };
    let (credentials, mut keys) = (Credentials::new([credential]), SigningKeys::new());
    let (proof, _) =
        authenticate(&head, &route.query, &credentials, &mut keys, &rules, NOW_S as u64).unwrap();
    (head, route, proof)
}

async fn perform(service: &Service, method: &str, query: &[(&str, &str)], document: &str) -> String {
    let (head, route, proof) = signed(method, query);
    let call = Call::new(service, &proof, &head, &route, NOW_S as u64 * 1_000_000_000);
    let response: Result<Response, S3Error> = match route.operation {
        Operation::ListObjects => list_objects(&call).await,
        Operation::ListObjectsV2 => list_objects_v2(&call).await,
        Operation::DeleteObjects => delete_objects(&call, document.as_bytes()).await,
        other => panic!("{other:?} is not tested here"),
    };
    match response.map(|response| response.body) {
        Ok(Body::Xml(document)) => document,
        Ok(_) => panic!("all three answer with a document"),
        Err(error) => error.code().wire().to_owned(),
    }
}

/// Method, query and document.
type Request<'a> = (&'static str, &'a [(&'a str, &'a str)], &'a str);

/// Performs requests on one core over `root`, one after another.
fn performed(root: &Path, requests: &[Request<'_>]) -> Vec<String> {
    let owned = |query: &[(&str, &str)]| -> Vec<(String, String)> {
        query.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let requests: Vec<_> =
        requests.iter().map(|(method, query, body)| (*method, owned(query), body.to_string())).collect();
    let cpus = vec![uring::affinity::allowed().unwrap()[0]];
    let settings = Settings {
        cpus,
        engine: Name::Threads,
        arena_bytes: 1 << 20,
        pool_threads_max: 2,
        faults: Plan::default(),
    };
    let (root, answers) = (root.to_owned(), Rc::new(RefCell::new(Vec::new())));
    let list = answers.clone();
    let run = async move {
        let making = Making { durability: Durability::Full, file_mode: 0o640, directory_mode: 0o750 };
        let tree = Tree::open(&root, Arc::new(Shared::new(Instance::new())), making).unwrap();
        tree.probe_root().await.unwrap();
        let (region, memory) = ("us-east-1".to_owned(), Memory::new(1 << 20));
        let service = Service { tree, region, region_rule: RegionRule::Any, etags: Etags::Md5, memory };
        for (method, query, body) in &requests {
            let query: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer = perform(&service, method, &query, body).await;
            list.borrow_mut().push(answer);
        }
    };
    cores::block_on(&settings, run).unwrap();
    answers.take()
}

fn tree(keys: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for key in keys {
        let path = root.path().join("bkt").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, key).unwrap();
    }
    root
}

/// The values of all elements of a name, in order.
fn values(document: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let pieces = document.split(open.as_str()).skip(1);
    pieces.map(|piece| piece.split(close.as_str()).next().unwrap().to_owned()).collect()
}

fn check(document: &str, element: &str, want: &[&str]) {
    assert_eq!(values(document, element), want, "{element} of {document}");
}

#[test]
fn list_objects_pages_by_marker() {
    let root = tree(&["a", "d/b", "d/c", "e"]);
    let answers = performed(
        root.path(),
        &[
            ("GET", &[("max-keys", "2"), ("delimiter", "/")], ""),
            ("GET", &[("max-keys", "2"), ("delimiter", "/"), ("marker", "d/")], ""),
            ("GET", &[("max-keys", "2")], ""),
            ("GET", &[("max-keys", "0")], ""),
            ("GET", &[("max-keys", "x")], ""),
        ],
    );
    let [first, second, flat, none, wrong] = &answers[..] else { panic!("{answers:?}") };
    check(first, "Key", &["a"]);
    check(first, "CommonPrefixes", &["<Prefix>d/</Prefix>"]);
    check(first, "NextMarker", &["d/"]);
    check(first, "DisplayName", &["root"]);
    check(second, "Key", &["e"]);
    check(second, "IsTruncated", &["false"]);
    check(flat, "Key", &["a", "d/b"]);
    check(flat, "IsTruncated", &["true"]);
    check(flat, "NextMarker", &[]);
    check(none, "IsTruncated", &["false"]);
    check(none, "Key", &[]);
    assert_eq!(wrong, "InvalidArgument");
}

#[test]
fn list_objects_v2_pages_by_token() {
    let root = tree(&["a+b", "c", "d"]);
    let two = [("list-type", "2")];
    let with = |more: &[(&'static str, &'static str)]| [&two[..], more].concat();
    let token = crate::fs::list::token::write("c");
    let resumed = [("list-type", "2"), ("continuation-token", token.as_str()), ("start-after", "z")];
    let answers = performed(
        root.path(),
        &[
            ("GET", &with(&[("max-keys", "2"), ("encoding-type", "url")]), ""),
            ("GET", &resumed, ""),
            ("GET", &with(&[("start-after", "bzz"), ("fetch-owner", "true")]), ""),
            ("GET", &with(&[("continuation-token", "")]), ""),
            ("GET", &with(&[("continuation-token", "garbage!")]), ""),
        ],
    );
    let [first, resumed, behind, empty, garbage] = &answers[..] else { panic!("{answers:?}") };
    check(first, "Key", &["a%2Bb", "c"]);
    check(first, "KeyCount", &["2"]);
    check(first, "NextContinuationToken", &[&token]);
    check(first, "Owner", &[]);
    check(resumed, "Key", &["d"]);
    check(resumed, "ContinuationToken", &[&token]);
    check(resumed, "StartAfter", &["z"]);
    check(behind, "Key", &["c", "d"]);
    check(behind, "DisplayName", &["root", "root"]);
    check(empty, "KeyCount", &["3"]);
    check(empty, "ContinuationToken", &[""]);
    assert_eq!(garbage, "InvalidArgument");
}

#[test]
fn delete_objects_tells_what_became_of_each_key() {
    let root = tree(&["a", "d/b", "d/c", "kept", "old", "s"]);
    let object = |inner: &str| format!("<Object>{inner}</Object>");
    let entries: String = [
        "<Key>a</Key>",
        "<Key>d/b</Key><VersionId>null</VersionId>",
        "<Key>d/c</Key><ETag>*</ETag>",
        "<Key>kept</Key><ETag>&quot;00000000000000000000000000000000&quot;</ETag>",
        "<Key>old</Key><VersionId>v1</VersionId>",
        "<Key>s</Key><Size>1</Size>",
        "<Key>never</Key>",
        "<Key>never</Key><ETag>*</ETag>",
        "<Key>a//b</Key>",
        "<Key>../../etc/passwd</Key>",
    ]
    .map(object)
    .concat();
    let verbose = format!("<Delete>{entries}</Delete>");
    let quiet = format!("<Delete><Quiet>true</Quiet>{}</Delete>", object("<Key>s</Key>"));
    let many = format!("<Delete>{}</Delete>", object("<Key>k</Key>").repeat(1001));
    let delete: &[(&str, &str)] = &[("delete", "")];
    let answers = performed(
        root.path(),
        &[
            ("POST", delete, &verbose),
            ("POST", delete, &quiet),
            ("POST", delete, &many),
            ("POST", delete, ""),
        ],
    );
    let [told, quiet, many, nothing] = &answers[..] else { panic!("{answers:?}") };
    let deleted: Vec<String> =
        values(told, "Deleted").iter().flat_map(|inner| values(inner, "Key")).collect();
    assert_eq!(deleted, ["a", "d/b", "d/c", "never", "a//b", "../../etc/passwd"]);
    let failed: Vec<String> =
        values(told, "Error").iter().map(|inner| values(inner, "Key").concat()).collect();
    assert_eq!(failed, ["kept", "old", "s", "never"]);
    check(told, "Code", &["PreconditionFailed", "NoSuchVersion", "NotImplemented", "NoSuchKey"]);
    check(quiet, "Key", &[]);
    assert_eq!((many.as_str(), nothing.as_str()), ("MalformedXML", "MalformedXML"));
    let mut left: Vec<_> = std::fs::read_dir(root.path().join("bkt"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    left.sort();
    // `d` was made by POSIX, so it stays.
    assert_eq!(left, ["d", "kept", "old"]);
}
