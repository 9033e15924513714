//! Every server keeps and gives the bytes it should: sizes around a page, a block and the limit of O_DIRECT,
//! new names and names that are taken, in pieces that meet no boundary, and a client that goes away.
//!
//! A baseline that loses bytes would be a fast one. Runs the built servers on a directory below the target directory, so
//! that directory's filesystem must take O_DIRECT.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

struct Server {
    process: Child,
    port: u16,
    root: PathBuf,
}

impl Server {
    fn start(name: &str, program: &str, flags: &[&str]) -> Server {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _absent = fs::remove_dir_all(&root);
        for bucket in ["b", "halves"] {
            fs::create_dir_all(root.join(bucket)).expect("the target directory is ours");
        }
        let mut command = Command::new(program);
        command.arg("--root").arg(&root).args(flags).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("cargo built it");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("text");
        let port = line.strip_prefix("ready ").and_then(|port| port.trim().parse().ok());
        Server { process, port: port.expect("ready PORT"), root }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens")
    }

    fn path(&self, key: usize) -> PathBuf {
        self.root.join("b").join(key.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().expect("it runs until it is killed");
        self.process.wait().expect("it was started here");
        let _kept = fs::remove_dir_all(&self.root);
    }
}

/// Lengths of bodies. 1 MiB is where bare-put turns to O_DIRECT, and the size of its blocks.
const SIZES: [usize; 11] =
    [0, 1, 4095, 4096, 20_000, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 12_345, 9 * MIB + 4096];
const MIB: usize = 1 << 20;

/// Bytes that repeat at no power of two, so that a block in the wrong place shows.
fn body(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|index| ((index + seed) % 251) as u8 ^ (index >> 12) as u8).collect()
}

/// Reads an answer of 200 and returns its body; a HEAD has none.
fn answer(socket: &mut BufReader<TcpStream>, head_only: bool) -> (usize, Vec<u8>) {
    let (mut line, mut length) = (String::new(), 0);
    socket.read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    while line != "\r\n" {
        line.clear();
        socket.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; if head_only { 0 } else { length }];
    socket.read_exact(&mut body).expect("a whole body");
    (length, body)
}

fn check_puts(server: &Server) {
    let mut socket = BufReader::new(server.connect());
    for seed in [0, 100] {
        for (key, size) in SIZES.into_iter().enumerate() {
            let body = body(size, seed);
            let mut request =
                format!("PUT /b/{key} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            request.extend_from_slice(&body);
            for piece in request.chunks(100_003) {
                socket.get_mut().write_all(piece).expect("the server receives");
            }
            answer(&mut socket, false);
            assert!(fs::read(server.path(key)).expect("a file") == body, "PUT of {size} bytes, seed {seed}");
        }
    }
    // Names, and no others: an overwrite leaves nothing beside it.
    assert_eq!(fs::read_dir(server.root.join("b")).expect("a bucket").count(), SIZES.len());
}

/// A client that goes away in the middle takes neither the server nor its slot with it.
fn check_hang_up(server: &Server) {
    for _ in 0..100 {
        let mut socket = server.connect();
        socket
            .write_all(b"PUT /halves/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
            .expect("a head");
        socket.write_all(&body(3 * MIB, 0)).expect("a part");
    }
    check_puts(server);
}

fn check_gets(server: &Server) {
    let mut socket = BufReader::new(server.connect());
    for (key, size) in SIZES.into_iter().enumerate() {
        let body = body(size, key);
        fs::write(server.path(key), &body).expect("the bucket is ours");
        write!(socket.get_mut(), "HEAD /b/{key} HTTP/1.1\r\nHost: a\r\n\r\n").expect("the server receives");
        assert_eq!(answer(&mut socket, true).0, size, "HEAD of {size} bytes");
        write!(socket.get_mut(), "GET /b/{key} HTTP/1.1\r\nHost: a\r\n\r\n").expect("the server receives");
        assert!(answer(&mut socket, false).1 == body, "GET of {size} bytes");
    }
}

#[test]
fn bare_put() {
    for durability in ["none", "data", "full"] {
        let flags = ["--durability", durability, "--connections", "128"];
        let server = Server::start(&format!("bare-put-{durability}"), env!("CARGO_BIN_EXE_bare-put"), &flags);
        check_puts(&server);
        check_hang_up(&server);
    }
}

#[test]
fn bare_put_in_small_blocks() {
    let flags = ["--block", "65536", "--depth", "3", "--direct-min", "1"];
    check_puts(&Server::start("bare-put-small", env!("CARGO_BIN_EXE_bare-put"), &flags));
}

#[test]
fn bare_sendfile() {
    check_gets(&Server::start("bare-sendfile", env!("CARGO_BIN_EXE_bare-sendfile"), &[]));
}

#[test]
fn tokio_uring_server() {
    let server = Server::start("tokio-uring", env!("CARGO_BIN_EXE_tokio-uring-server"), &[]);
    check_puts(&server);
    check_gets(&server);
}

#[test]
fn hyper_tokio_server() {
    for files in ["tokio", "std"] {
        let flags = ["--files", files];
        let server =
            Server::start(&format!("hyper-{files}"), env!("CARGO_BIN_EXE_hyper-tokio-server"), &flags);
        check_puts(&server);
        check_gets(&server);
    }
}
