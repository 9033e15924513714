//! The real `ringway serve` as a child process that ends with its value, and requests signed for it.
//!
//! One core, so that what one connection does to another shows; the tree and the log are in a directory that goes too.
//! It judges nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway::auth::credential::Secret;
use ringway::auth::sign::{Signer, ToSign};
use tempfile::TempDir;

const ACCESS_KEY: &str = "RINGWAYHOSTILETESTS0";
const SECRET_KEY: &str = "hostile/tests+secret/key000000000000000";
/// Far beyond what anything waited for takes; a test that hangs ends by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with one bucket, `bkt`.
pub struct Server {
    child: Child,
    address: String,
    directory: TempDir,
}

impl Server {
    /// Starts one and waits until it is ready.
    pub fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("root/bkt")).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .arg("serve")
            .arg(directory.path().join("root"))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--cores", "1"])
            .args(["--access-log", "on"])
            .env("RINGWAY_ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("RINGWAY_ROOT_SECRET_KEY", SECRET_KEY)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("s3=http://"));
        let address = address.unwrap_or_else(|| panic!("it did not say that it is ready: {line}")).to_owned();
        Server { child, address, directory }
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// The head of a signed request whose payload is not; `plain` headers are sent beside the signed ones.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        signed: &[(&str, &str)],
        plain: &[(&str, &str)],
    ) -> Vec<u8> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let signer = Signer::new(ACCESS_KEY, &Secret::new(SECRET_KEY.to_owned()), "us-east-1", now_s);
        let headers = [&[("host", self.address.as_str())], signed].concat();
        let path = path.as_bytes();
        let target = signer.presign(&ToSign { method, path, query: &[], headers: &headers }, 600);
        let lines: String =
            headers.iter().chain(plain).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{method} {target} HTTP/1.1\r\n{lines}\r\n").into_bytes()
    }

    /// What a file of the tree holds.
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.directory.path().join("root").join(path)).unwrap()
    }

    /// The first line of the log with a text in it, when it is there.
    pub fn wait_for_log(&self, text: &str) -> String {
        let path: PathBuf = self.directory.path().join("log");
        for _ in 0..PATIENCE.as_millis() / 10 {
            let log = fs::read_to_string(&path).unwrap();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing of `{text}` in the log:\n{}", fs::read_to_string(&path).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
