//! What a start removes of servers that are gone: names that a power cut left without a note, and nothing of a living one.
//!
//! The power cut is played by what it leaves: a table that says of another boot, or nothing, and a name that it does not
//! note. Real cuts are in tests/crash. Source: DESIGN rules as written down in ARCHITECTURE.md, "On disk".

use std::ffi::CString;
use std::path::PathBuf;

use super::race_tests::{Server, on_both_engines};
use super::{inflight, leftovers};

impl Server {
    fn instance(&self) -> String {
        self.tree.shared.instance.as_str().to_owned()
    }

    fn table(&self, instance: &str) -> PathBuf {
        self.root.join(format!(".ringway/b/{}/inflight/{instance}", self.bucket.id()))
    }

    /// A temporary name of this server that it has not noted.
    async fn leave_name(&self, directory: &str) -> PathBuf {
        inflight::announce(&self.tree, &self.bucket).await.unwrap();
        std::fs::create_dir_all(self.at(directory)).unwrap();
        let name = inflight::random_name(&self.instance()).into_string().unwrap();
        let path = self.at(directory).join(name);
        std::fs::write(&path, "half an object").unwrap();
        path
    }
}

#[test]
fn names_whose_notes_a_power_cut_took_are_found() {
    on_both_engines(|server| async move {
        for written in [&b""[..], b"another boot, of this machine or of a second"] {
            let dead = Server::start(&server.root).await;
            let living = Server::start(&server.root).await;
            let left = [dead.leave_name("deep/er").await, dead.leave_name("").await];
            let used = [living.leave_name("deep/er").await, living.leave_name("").await];
            server.put("deep/er/key").await.unwrap();
            let instance = dead.instance();
            let table = dead.table(&instance);
            drop(dead);
            std::fs::write(&table, written).unwrap();
            let swept = inflight::sweep(&server.tree, &server.bucket).await.unwrap();
            assert_eq!(swept.doubtful.len(), 1, "its table says nothing of this boot");
            assert!(table.exists(), "a server that is killed now leaves the walk to the next");
            let removed = leftovers::collect(&server.tree, &server.bucket, swept.doubtful).await.unwrap();
            assert_eq!(removed, 2);
            assert!(left.iter().all(|path| !path.exists()), "they are nobody's");
            assert!(used.iter().all(|path| path.exists()), "their server lives");
            assert!(server.has("deep/er/key").await && !table.exists());
            for path in used {
                std::fs::remove_file(path).unwrap();
            }
        }
    });
}

#[test]
fn a_table_of_this_boot_has_all_notes_and_no_walk_follows() {
    on_both_engines(|server| async move {
        let dead = Server::start(&server.root).await;
        let left = dead.leave_name("deep").await;
        let instance = dead.instance();
        let table = dead.table(&instance);
        drop(dead);
        let swept = inflight::sweep(&server.tree, &server.bucket).await.unwrap();
        assert_eq!((swept.removed, swept.doubtful), (0, vec![]));
        assert!(!table.exists() && left.exists(), "it was never noted");
    });
}

#[test]
fn the_table_of_a_server_that_began_to_live_meanwhile_stays() {
    on_both_engines(|server| async move {
        let (dead, living) = (Server::start(&server.root).await, Server::start(&server.root).await);
        let mut tables = Vec::new();
        for other in [&dead, &living] {
            inflight::announce(&other.tree, &other.bucket).await.unwrap();
            tables.push(other.table(&other.instance()));
        }
        // Both were met before they had their locks.
        let doubtful = [&dead, &living].map(|other| CString::new(other.instance()).unwrap()).to_vec();
        drop(dead);
        inflight::forget_tables(&server.tree, &server.bucket, doubtful).await.unwrap();
        assert_eq!(tables.iter().map(|table| table.exists()).collect::<Vec<_>>(), [false, true]);
    });
}
