//! What a client can do to the served protocol on purpose: bytes over a raw socket against the real `ringway serve`.
//!
//! Requests are signed as any client's, so that what is attacked lies behind authentication.
//! Source: RFC 9112 section 9.3; DESIGN rules as written down in ARCHITECTURE.md.

mod server;

use std::io::{Read, Write};
use std::net::TcpStream;

use server::Server;

/// Reads until the server closes.
fn to_the_end(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset behind an answer is an end too.
    let _ = socket.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn answers(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 100")).collect()
}

fn chunk(bytes: usize) -> Vec<u8> {
    [format!("{bytes:x}\r\n").into_bytes(), vec![b'x'; bytes], b"\r\n".to_vec()].concat()
}

#[test]
fn a_flood_behind_a_chunked_body_is_not_kept() {
    let server = Server::start();
    let next = server.request("HEAD", "/bkt", &[], &[]);
    let put = server.request("PUT", "/bkt/key", &[], &[("transfer-encoding", "chunked")]);
    let mut socket = server.connect();
    socket.write_all(&put).unwrap();
    // Enough that the server receives into large blocks.
    (0..4).for_each(|_| socket.write_all(&chunk(100_000)).unwrap());
    std::thread::sleep(std::time::Duration::from_millis(500));
    let flood = next.repeat(2_000);
    let _ = socket.write_all(&[b"0\r\n\r\n".to_vec(), flood].concat());
    let text = to_the_end(&mut socket);
    assert_eq!(answers(&text), ["HTTP/1.1 200 OK"]);
    assert!(text.contains("Connection: close"), "{text}");
    assert_eq!(server.read("bkt/key").len(), 400_000);
}

#[test]
fn a_request_behind_a_chunked_body_is_answered() {
    let server = Server::start();
    let put = server.request("PUT", "/bkt/key", &[], &[("transfer-encoding", "chunked")]);
    let close = server.request("HEAD", "/bkt", &[], &[("connection", "close")]);
    let mut socket = server.connect();
    socket.write_all(&[put, chunk(10), b"0\r\n\r\n".to_vec(), close].concat()).unwrap();
    assert_eq!(answers(&to_the_end(&mut socket)), ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]);
}

#[test]
fn a_client_that_resets_its_connection_is_in_the_access_log() {
    let server = Server::start();
    let mut socket = server.connect();
    let address = socket.local_addr().unwrap();
    let put =
        server.request("PUT", "/bkt/key", &[], &[("content-length", "1000"), ("expect", "100-continue")]);
    socket.write_all(&put).unwrap();
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).unwrap();
    reset(socket);
    let line = server.wait_for_log(&format!("remote={address}"));
    assert!(line.contains("operation=\"PutObject\"") && line.contains("IncompleteBody"), "{line}");
}

/// Ends a connection with RST, after which the server's kernel does not know its peer any more.
fn reset(socket: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

#[test]
fn all_the_metadata_that_s3_allows_is_kept() {
    let server = Server::start();
    let value = "v".repeat(2_048 - 4);
    let metadata = [("x-amz-meta-name", value.as_str())];
    let put = server.request("PUT", "/bkt/key", &metadata, &[("content-length", "1")]);
    let mut socket = server.connect();
    socket.write_all(&[&put[..], b"x"].concat()).unwrap();
    let head = server.request("HEAD", "/bkt/key", &[], &[("connection", "close")]);
    socket.write_all(&head).unwrap();
    let text = to_the_end(&mut socket);
    assert_eq!(answers(&text), ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK"], "{text}");
    assert!(text.contains(&format!("x-amz-meta-name: {value}")));
}
