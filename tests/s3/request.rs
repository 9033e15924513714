//! Raw requests: what goes over the wire, signed as a client would, with every part open to be spoiled.
//!
//! The head is written here and not by the product, so that a test may send what no client sends. Signatures come from
//! the product's client side, which is checked against AWS's published examples where it is defined.

use std::time::{SystemTime, UNIX_EPOCH};

use crc_fast::CrcAlgorithm;
use ringway::auth::credential::Secret;
use ringway::auth::payload_mode::PayloadMode;
use ringway::auth::sign::{SignedHead, Signer, ToSign, target};
use ringway::s3::base64;
use sha2::{Digest, Sha256};

use crate::fixture::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY};

/// The `Host` of every request.
pub const HOST: &str = "s3.example.com";
/// The name of the trailer that chunked bodies with a trailer carry.
pub const TRAILER: &str = "x-amz-checksum-crc32";

/// How a body is sent and what the signature says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is, `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// As it is, with its SHA-256 in the head.
    Sha256,
    /// Chunks of this many bytes, each signed.
    Signed(usize),
    /// Chunks of this many bytes, each signed, with a signed trailer.
    SignedTrailer(usize),
    /// Chunks of this many bytes with a trailer.
    UnsignedTrailer(usize),
}

impl Coding {
    fn chunk_bytes(self) -> Option<usize> {
        match self {
            Coding::Unsigned | Coding::Sha256 => None,
            Coding::Signed(bytes) | Coding::SignedTrailer(bytes) | Coding::UnsignedTrailer(bytes) => {
                Some(bytes)
            }
        }
    }

    fn has_trailer(self) -> bool {
        matches!(self, Coding::SignedTrailer(_) | Coding::UnsignedTrailer(_))
    }

    fn mode(self, body: &[u8]) -> PayloadMode {
        match self {
            Coding::Unsigned => PayloadMode::Unsigned,
            Coding::Sha256 => PayloadMode::Sha256(sha256(body)),
            Coding::Signed(_) => PayloadMode::SignedChunks,
            Coding::SignedTrailer(_) => PayloadMode::SignedChunksTrailer,
            Coding::UnsignedTrailer(_) => PayloadMode::UnsignedTrailer,
        }
    }
}

/// A request that is not signed yet.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    /// Decoded, with its leading slash.
    pub path: Vec<u8>,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub coding: Coding,
    /// What is said of the decoded length, where that is not the truth.
    pub decoded_bytes: Option<usize>,
    /// Whether the decoded length of a chunked body is said at all.
    pub is_announced: bool,
    pub version: &'static str,
    /// Seconds that the client's clock is ahead.
    pub ahead_s: i64,
}

/// A request as bytes.
#[derive(Clone)]
pub struct Signed {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Request {
    /// A request of any path.
    pub fn new(method: &'static str, path: &str) -> Request {
        Request {
            method,
            path: path.as_bytes().to_vec(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            coding: Coding::Unsigned,
            decoded_bytes: None,
            is_announced: true,
            version: "HTTP/1.1",
            ahead_s: 0,
        }
    }

    /// A request for a key of the bucket that need not be text.
    pub fn of_key_bytes(method: &'static str, key: &[u8]) -> Request {
        let path = [format!("/{BUCKET}/").as_bytes(), key].concat();
        Request { path, ..Request::new(method, "/") }
    }

    /// A request for a key of the bucket.
    pub fn of_key(method: &'static str, key: &str) -> Request {
        Request::new(method, &format!("/{BUCKET}/{key}"))
    }

    pub fn put(key: &str) -> Request {
        Request::of_key("PUT", key)
    }

    pub fn get(key: &str) -> Request {
        Request::of_key("GET", key)
    }

    pub fn head(key: &str) -> Request {
        Request::of_key("HEAD", key)
    }

    pub fn delete(key: &str) -> Request {
        Request::of_key("DELETE", key)
    }

    /// A part of an upload.
    pub fn part(key: &str, upload: &str, number: u32) -> Request {
        Request::put(key).query("partNumber", &number.to_string()).query("uploadId", upload)
    }

    /// The end of an upload, with the numbers and tags of its parts.
    pub fn complete(key: &str, upload: &str, parts: &[(u32, &str)]) -> Request {
        let parts = parts.iter().map(|(number, tag)| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                tag.replace('"', "&quot;")
            )
        });
        let document = parts.collect::<String>();
        let document = format!("<CompleteMultipartUpload>{document}</CompleteMultipartUpload>");
        Request::of_key("POST", key).query("uploadId", upload).body(document.as_bytes())
    }

    /// A request for the bucket itself.
    pub fn of_bucket(method: &'static str) -> Request {
        Request::new(method, &format!("/{BUCKET}"))
    }

    pub fn query(mut self, name: &str, value: &str) -> Request {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, bytes: &[u8]) -> Request {
        self.body = bytes.to_vec();
        self
    }

    pub fn coding(mut self, coding: Coding) -> Request {
        self.coding = coding;
        self
    }

    pub fn decoded_bytes(mut self, bytes: usize) -> Request {
        self.decoded_bytes = Some(bytes);
        self
    }

    pub fn unannounced(mut self) -> Request {
        self.is_announced = false;
        self
    }

    pub fn version(mut self, version: &'static str) -> Request {
        self.version = version;
        self
    }

    pub fn ahead_s(mut self, seconds: i64) -> Request {
        self.ahead_s = seconds;
        self
    }

    /// The bytes of the request, signed now.
    pub fn signed(&self) -> Signed {
        let signer = self.signer();
        let headers = self.all_headers();
        let (query, borrowed) = (pairs(&self.query), pairs(&headers));
        let to_sign = ToSign { method: self.method, path: &self.path, query: &query, headers: &borrowed };
        let signed = signer.sign(&to_sign, &self.coding.mode(&self.body));
        let body = self.coded_body(&signer, &signed);
        let mut head = self.head_lines(&target(&self.path, &query), &headers, body.len());
        for (name, value) in [
            ("x-amz-date", &signed.amz_date),
            ("x-amz-content-sha256", &signed.content_sha256),
            ("authorization", &signed.authorization),
        ] {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Signed { head: head.into_bytes(), body }
    }

    /// The bytes of the request with its signature in the URL, good for so many seconds.
    pub fn presigned(&self, expires_s: u32) -> Signed {
        let headers = self.all_headers();
        let (query, borrowed) = (pairs(&self.query), pairs(&headers));
        let to_sign = ToSign { method: self.method, path: &self.path, query: &query, headers: &borrowed };
        let target = self.signer().presign(&to_sign, expires_s);
        let mut head = self.head_lines(&target, &headers, self.body.len());
        head.push_str("\r\n");
        Signed { head: head.into_bytes(), body: self.body.clone() }
    }

    /// The bytes of the request without any signature.
    pub fn unsigned(&self) -> Signed {
        let headers = self.all_headers();
        let mut head = self.head_lines(&target(&self.path, &pairs(&self.query)), &headers, self.body.len());
        head.push_str("\r\n");
        Signed { head: head.into_bytes(), body: self.body.clone() }
    }

    fn signer(&self) -> Signer {
        let secret = Secret::new(SECRET_ACCESS_KEY.to_owned());
        Signer::new(ACCESS_KEY_ID, &secret, "us-east-1", now_unix_s() + self.ahead_s)
    }

    fn all_headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![("host".to_owned(), HOST.to_owned())];
        headers.extend(self.headers.iter().cloned());
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
        if self.coding.chunk_bytes().is_some() {
            add("content-encoding", "aws-chunked".to_owned());
        }
        if self.coding.chunk_bytes().is_some() && self.is_announced {
            let decoded_bytes = self.decoded_bytes.unwrap_or(self.body.len());
            add("x-amz-decoded-content-length", decoded_bytes.to_string());
        }
        if self.coding.has_trailer() {
            add("x-amz-trailer", TRAILER.to_owned());
        }
        headers
    }

    fn head_lines(&self, target: &str, headers: &[(String, String)], body_bytes: usize) -> String {
        let mut head = format!("{} {target} {}\r\n", self.method, self.version);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let says_length = ["content-length", "transfer-encoding"]
            .iter()
            .any(|name| headers.iter().any(|(said, _)| said.eq_ignore_ascii_case(name)));
        if !says_length && (body_bytes > 0 || matches!(self.method, "PUT" | "POST")) {
            head.push_str(&format!("content-length: {body_bytes}\r\n"));
        }
        head
    }

    fn coded_body(&self, signer: &Signer, head: &SignedHead) -> Vec<u8> {
        let Some(chunk_bytes) = self.coding.chunk_bytes() else { return self.body.clone() };
        let is_signed = matches!(self.coding, Coding::Signed(_) | Coding::SignedTrailer(_));
        let mut signatures = is_signed.then(|| signer.chunks(head));
        let mut coded = Vec::new();
        for chunk in self.body.chunks(chunk_bytes).chain([&b""[..]]) {
            coded.extend(format!("{:x}", chunk.len()).bytes());
            if let Some(signatures) = &mut signatures {
                coded.extend(b";chunk-signature=");
                coded.extend(signatures.sign_chunk(&sha256(chunk)));
            }
            coded.extend(b"\r\n");
            coded.extend(chunk);
            if !chunk.is_empty() {
                coded.extend(b"\r\n");
            }
        }
        if self.coding.has_trailer() {
            let line = format!("{TRAILER}:{}", crc32(&self.body));
            coded.extend(format!("{line}\r\n").bytes());
            if let Some(signatures) = &mut signatures {
                coded.extend(b"x-amz-trailer-signature:");
                coded.extend(signatures.sign_trailer(&sha256(format!("{line}\n").as_bytes())));
                coded.extend(b"\r\n");
            }
        }
        coded.extend(b"\r\n");
        coded
    }
}

impl Signed {
    /// Head and body in one.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.body].concat()
    }

    /// The same with the first `from` of the head replaced.
    pub fn with_head(mut self, from: &str, to: &str) -> Signed {
        self.head = replaced(&self.head, from.as_bytes(), to.as_bytes());
        self
    }

    /// The same with the first `from` of the body replaced.
    pub fn with_body(mut self, from: &str, to: &str) -> Signed {
        self.body = replaced(&self.body, from.as_bytes(), to.as_bytes());
        self
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let start = bytes.windows(from.len()).position(|window| window == from);
    let start = start.unwrap_or_else(|| panic!("`{}` is in the request", from.escape_ascii()));
    [&bytes[..start], to, &bytes[start + from.len()..]].concat()
}

fn pairs(owned: &[(String, String)]) -> Vec<(&str, &str)> {
    owned.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("the clock is not past the end of time")
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The value of a CRC32 header.
pub fn crc32(bytes: &[u8]) -> String {
    let checksum = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes);
    base64::encode(&u32::try_from(checksum).expect("32 bits").to_be_bytes())
}

/// The value of Content-MD5.
pub fn content_md5(bytes: &[u8]) -> String {
    base64::encode(&md5::Md5::digest(bytes))
}

/// The ETag of an object that was uploaded in parts, quoted.
pub fn etag_of_parts(parts: &[&[u8]]) -> String {
    let digests: Vec<u8> = parts.iter().flat_map(|part| md5::Md5::digest(part).to_vec()).collect();
    format!("{}-{}\"", etag(&digests).trim_end_matches('"'), parts.len())
}

/// The ETag of bytes that were put in one piece, quoted.
pub fn etag(bytes: &[u8]) -> String {
    let digest = md5::Md5::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}
