//! What becomes of sidecars as servers come and go on one tree: which are collected, which never are.
//!
//! Each test runs on both engines. Attributes are refused by a fault, so that the filesystem of the day does not matter; that
//! a real one refuses is tested in `tests/s3`. Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk".

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use uring::errno::Errno;
use uring::fault::{self, Fault, Nth, OperationKind, Rule};
use uring::time;

use super::metadata::view::Metadata;
use super::race_tests::{ME, Server, metadata, name, on_both_engines};
use super::{bucket, collect, path, reader, together};
use crate::s3::error::Code;
use crate::s3::headers::UserMetadata;
use crate::s3::names::ObjectKey;

/// An attribute of this length fits only when nothing is in its way.
fn described(text: &str) -> Metadata {
    let user_metadata = UserMetadata::from_stored(vec![("text".to_owned(), text.to_owned())]);
    Metadata { user_metadata, ..metadata() }
}

fn refused() -> Rule {
    let fault = Fault::Fail(Errno::TOOBIG);
    Rule { kind: Some(OperationKind::SetAttribute), nth: Nth::Only(1), fault }
}

impl Server {
    /// Puts an object whose document is in a sidecar.
    async fn put_overflowing(&self, key: &str) {
        fault::install(vec![refused()]);
        self.put_with(key, &described(key)).await.unwrap();
        fault::install(Vec::new());
    }

    async fn text_of(&self, key: &str) -> Option<String> {
        let key = ObjectKey::parse(key.as_bytes()).unwrap();
        let object = reader::open(&self.tree, &name(), &path::of(&key).unwrap(), ME).await.unwrap();
        let metadata = object.metadata(&self.tree, &name(), key.as_str()).await.unwrap();
        metadata.user_metadata.entries().next().map(|(_, value)| value.to_owned())
    }

    fn sidecars(&self) -> BTreeSet<String> {
        let directory = self.root.join(".ringway/b").join(self.bucket.id()).join("overflow");
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    async fn collect(&self) -> usize {
        collect::collect(&self.tree).await.unwrap()
    }
}

fn posix(server: &Server, program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).current_dir(server.at("")).status().unwrap();
    assert!(done.success(), "{program} {arguments:?}");
}

#[test]
fn what_anything_in_the_tree_refers_to_stays() {
    on_both_engines(|server| async move {
        // Its mark would be the first attribute.
        std::fs::create_dir(server.at("dir")).unwrap();
        for key in ["at/its/key", "copied", "renamed", "linked", "elsewhere", "dir/"] {
            server.put_overflowing(key).await;
        }
        std::fs::create_dir_all(server.root.join("other/deep\u{1}name")).unwrap();
        posix(&server, "cp", &["-a", "copied", "no key of S3 \u{1}"]);
        posix(&server, "mv", &["renamed", "at/new-name"]);
        posix(&server, "ln", &["linked", "at/link"]);
        posix(&server, "mv", &["elsewhere", "../other/deep\u{1}name/"]);
        for key in ["copied", "linked"] {
            server.delete(key).await.unwrap();
        }
        assert_eq!((server.collect().await, server.sidecars().len()), (0, 6));
        let next = Server::start(&server.root).await;
        assert_eq!((next.collect().await, next.sidecars().len()), (0, 6));
        for (key, text) in [
            ("at/its/key", "at/its/key"),
            ("at/new-name", "renamed"),
            ("at/link", "linked"),
            ("dir/", "dir/"),
        ] {
            assert_eq!(next.text_of(key).await.as_deref(), Some(text));
        }
    });
}

#[test]
fn what_nothing_refers_to_goes() {
    on_both_engines(|server| async move {
        for key in ["kept", "overwritten", "deleted", "dir/gone"] {
            server.put_overflowing(key).await;
        }
        let all = server.sidecars();
        server.put_with("overwritten", &metadata()).await.unwrap();
        server.delete("deleted").await.unwrap();
        server.delete("dir/gone").await.unwrap();
        assert_eq!(server.sidecars(), all, "a copy may refer to them");
        assert_eq!((server.collect().await, server.sidecars().len()), (3, 1));
        assert_eq!(server.text_of("kept").await.as_deref(), Some("kept"));
        assert_eq!(server.text_of("overwritten").await, None);
    });
}

#[test]
fn what_cannot_be_looked_into_keeps_all() {
    on_both_engines(|server| async move {
        server.put_overflowing("deleted").await;
        server.put_with("a/key", &metadata()).await.unwrap();
        server.delete("deleted").await.unwrap();
        let fault = Fault::Fail(Errno::IO);
        for nth in 1.. {
            fault::install(vec![Rule {
                kind: Some(OperationKind::GetAttribute),
                nth: Nth::Only(nth),
                fault,
            }]);
            let collected = collect::collect(&server.tree).await;
            fault::install(Vec::new());
            if collected == Ok(1) {
                assert!(nth > 4, "both walks look at two attributes at least");
                return;
            }
            assert_eq!((collected, server.sidecars().len()), (Err(Errno::IO), 1), "at {nth}");
        }
    });
}

#[test]
fn what_is_in_flight_stays() {
    on_both_engines(|server| async move {
        let slow = Fault::Delay(Duration::from_millis(300));
        let neighbour = Server::start(&server.root).await;
        fault::install(vec![
            refused(),
            Rule { kind: Some(OperationKind::Link), nth: Nth::Only(1), fault: slow },
        ]);
        let collected = RefCell::new(Vec::new());
        let puts = async {
            server.put_with("key", &described("slow")).await.unwrap();
            assert_eq!(collected.borrow().len(), 2, "the name came before the look");
        };
        let collects = async {
            while server.sidecars().is_empty() {
                time::sleep(Duration::from_millis(1)).await;
            }
            for server in [&server, &neighbour] {
                let removed = server.collect().await;
                collected.borrow_mut().push(removed);
            }
        };
        type Running<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;
        together::together([Box::pin(puts) as Running<'_>, Box::pin(collects)]).await;
        assert_eq!(*collected.borrow(), [0, 0]);
        assert_eq!(server.text_of("key").await.as_deref(), Some("slow"));
    });
}

#[test]
fn what_a_server_that_was_cut_off_left_goes_at_the_next_start() {
    on_both_engines(|server| async move {
        let dead = {
            let dying = Server::start(&server.root).await;
            let fault = Fault::Delay(Duration::from_secs(3600));
            fault::install(vec![
                refused(),
                Rule { kind: Some(OperationKind::Link), nth: Nth::From(1), fault },
            ]);
            let key = described("never named");
            let mut put = Box::pin(dying.put_with("key", &key));
            let waits = async {
                while dying.sidecars().is_empty() {
                    time::sleep(Duration::from_millis(1)).await;
                }
                // The sidecar is flushed, and then the name is waited for.
                time::sleep(Duration::from_millis(100)).await;
            };
            let mut waits = Box::pin(waits);
            std::future::poll_fn(|context| {
                assert!(put.as_mut().poll(context).is_pending(), "it is never named");
                waits.as_mut().poll(context)
            })
            .await;
            assert_eq!(server.collect().await, 0, "its server lives");
            drop(put);
            fault::install(Vec::new());
            dying.sidecars()
        };
        assert_eq!((dead.len(), &server.sidecars()), (1, &dead), "it may have been named");
        assert_eq!((server.collect().await, server.sidecars().len()), (1, 0));
    });
}

#[test]
fn a_deleted_bucket_leaves_nothing() {
    on_both_engines(|server| async move {
        server.put_overflowing("moved").await;
        server.put_with("moved-not", &metadata()).await.unwrap();
        server.put_with("moved-not", &metadata()).await.unwrap();
        server.delete("moved-not").await.unwrap();
        std::fs::create_dir(server.root.join("other")).unwrap();
        posix(&server, "mv", &["moved", "../other/"]);
        bucket::delete(&server.tree, &name(), ME).await.unwrap();
        let store = server.root.join(".ringway/b").join(server.bucket.id());
        let left: Vec<_> =
            std::fs::read_dir(&store).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["overflow"], "an object elsewhere refers to a sidecar");
        assert_eq!(server.collect().await, 0);
        std::fs::remove_file(server.root.join("other/moved")).unwrap();
        assert_eq!(server.collect().await, 1);
        assert!(!store.exists(), "the bucket has gone, and nothing refers to it");
        assert_eq!(bucket::delete(&server.tree, &name(), ME).await.unwrap_err().code(), Code::NoSuchBucket);
    });
}
