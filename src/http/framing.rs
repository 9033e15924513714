//! Which body follows a request head, and what becomes of the connection after it.
//! Every rule that two servers in a row could read differently is an error here, never a guess; after any of them
//! the connection answers once and closes. It reads no body: that is chunked.rs and the receive pipeline.
//! Source: RFC 9112 sections 3.2, 6 and 9.3, RFC 9110 section 10.1.1.

use std::fmt;

use super::head::{RequestHead, Version};

/// How many bytes follow the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Neither Content-Length nor Transfer-Encoding: no body. S3 answers 411 to a PUT of this kind.
    Empty,
    /// Content-Length, zero included. Units: bytes.
    Exact(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What the client wants of the connection after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Another request may follow.
    KeepAlive,
    /// This request is the last.
    Close,
}

/// Whether the client waits for an interim response before it sends the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The body comes unasked, or there is none.
    None,
    /// `Expect: 100-continue` on a request with a body.
    Continue,
}

/// The framing of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The body's length.
    pub body: BodyLength,
    /// What the client wants afterwards; the server may still close.
    pub persistence: Persistence,
    /// Whether the client waits for `100 Continue`.
    pub expectation: Expectation,
}

/// Why a request cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// Content-Length and Transfer-Encoding together.
    LengthAndCoding,
    /// More than one Content-Length, equal values included.
    SeveralLengths,
    /// Content-Length that is no plain number below 2^64.
    Length,
    /// Transfer-Encoding other than exactly `chunked`.
    Coding,
    /// Transfer-Encoding on HTTP/1.0, where an older hop would not have understood it.
    CodingOfHttp10,
    /// HTTP/1.1 without Host, or several Host lines.
    HostCount,
    /// A Host that is no host and port, that differs from an absolute target's authority, or is missing beside one.
    Host,
    /// Expect with anything but `100-continue`.
    Expectation,
}

impl Framing {
    /// Decides the framing of a request.
    ///
    /// Errors: `FramingError`; its `status` is 400, 417 or 501.
    pub fn of(head: &RequestHead) -> Result<Self, FramingError> {
        check_host(head)?;
        let body = body_length(head)?;
        Ok(Self { body, persistence: persistence(head), expectation: expectation(head, body)? })
    }
}

impl FramingError {
    /// The HTTP status that answers it.
    pub fn status(self) -> u16 {
        match self {
            FramingError::Coding => 501,
            FramingError::Expectation => 417,
            FramingError::LengthAndCoding
            | FramingError::SeveralLengths
            | FramingError::Length
            | FramingError::CodingOfHttp10
            | FramingError::HostCount
            | FramingError::Host => 400,
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FramingError::LengthAndCoding => "content-length and transfer-encoding exclude each other",
            FramingError::SeveralLengths => "there is more than one content-length",
            FramingError::Length => "content-length is not a number of bytes",
            FramingError::Coding => "the only transfer coding served is chunked",
            FramingError::CodingOfHttp10 => "HTTP/1.0 has no transfer-encoding",
            FramingError::HostCount => "exactly one host header is required",
            FramingError::Host => "the host header is malformed",
            FramingError::Expectation => "the only expectation served is 100-continue",
        })
    }
}

impl std::error::Error for FramingError {}

fn check_host(head: &RequestHead) -> Result<(), FramingError> {
    match (head.header_count("host"), head.version()) {
        (1, Version::Http10 | Version::Http11) => {}
        // No header that is signed would say which host, and so which bucket, is meant.
        (0, Version::Http10) if head.authority().is_some() => return Err(FramingError::Host),
        (0, Version::Http10) => return Ok(()),
        (_, Version::Http10 | Version::Http11) => return Err(FramingError::HostCount),
    }
    let host = head.header_text("host").ok_or(FramingError::Host)?;
    // Enough for names, IPv4 and bracketed IPv6 with a port; a comma, slash, at sign or space would be a second reading.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(FramingError::Host);
    }
    match head.authority() {
        // RFC 9112 3.2.2 lets the target win; refusing leaves one reading for routing and signature alike.
        Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(FramingError::Host),
        Some(_) | None => Ok(()),
    }
}

fn body_length(head: &RequestHead) -> Result<BodyLength, FramingError> {
    let coding_count = head.header_count("transfer-encoding");
    match (head.header_count("content-length"), coding_count) {
        (0, 0) => Ok(BodyLength::Empty),
        (1, 0) => content_length(head.header("content-length").unwrap_or_default()).map(BodyLength::Exact),
        (_, 0) => Err(FramingError::SeveralLengths),
        (1.., _) => Err(FramingError::LengthAndCoding),
        (0, _) => match (head.version(), head.header("transfer-encoding")) {
            (Version::Http10, _) => Err(FramingError::CodingOfHttp10),
            (Version::Http11, Some(coding))
                if coding_count == 1 && coding.eq_ignore_ascii_case(b"chunked") =>
            {
                Ok(BodyLength::Chunked)
            }
            (Version::Http11, _) => Err(FramingError::Coding),
        },
    }
}

/// Digits only: `str::parse` would also take a sign.
fn content_length(value: &[u8]) -> Result<u64, FramingError> {
    if value.is_empty() {
        return Err(FramingError::Length);
    }
    value.iter().try_fold(0_u64, |length, &byte| {
        let digit = char::from(byte).to_digit(10).ok_or(FramingError::Length)?;
        length.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit))).ok_or(FramingError::Length)
    })
}

fn persistence(head: &RequestHead) -> Persistence {
    let mut wanted = match head.version() {
        Version::Http10 => Persistence::Close,
        Version::Http11 => Persistence::KeepAlive,
    };
    for option in list_members(head, "connection") {
        // `close` wins over `keep-alive` wherever it stands (RFC 9112 9.3).
        if option.eq_ignore_ascii_case(b"close") {
            return Persistence::Close;
        }
        if option.eq_ignore_ascii_case(b"keep-alive") {
            wanted = Persistence::KeepAlive;
        }
    }
    wanted
}

fn expectation(head: &RequestHead, body: BodyLength) -> Result<Expectation, FramingError> {
    let mut expected = Expectation::None;
    for member in list_members(head, "expect") {
        if !member.eq_ignore_ascii_case(b"100-continue") {
            return Err(FramingError::Expectation);
        }
        expected = Expectation::Continue;
    }
    // HTTP/1.0 knows no interim response, and without a body there is nothing to wait with.
    Ok(match (head.version(), body) {
        (Version::Http10, _) | (Version::Http11, BodyLength::Empty | BodyLength::Exact(0)) => {
            Expectation::None
        }
        (Version::Http11, BodyLength::Exact(_) | BodyLength::Chunked) => expected,
    })
}

/// The non-empty members of a comma-separated header over all its lines.
fn list_members<'a>(head: &'a RequestHead, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    head.header_values(name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::head::Parsed;
    use super::*;

    /// `want` is body, persistence and expectation in a word each.
    fn check(name: &str, version: &str, lines: &str, want: Result<&str, FramingError>) {
        let bytes = format!("PUT /a {version}\r\n{lines}\r\n");
        let Parsed::Complete { head, .. } = RequestHead::parse(bytes.as_bytes()).unwrap() else {
            panic!("{name}: partial head");
        };
        let got = Framing::of(&head)
            .map(|framing| format!("{:?} {:?} {:?}", framing.body, framing.persistence, framing.expectation));
        assert_eq!(got.as_deref().map_err(|error| *error), want, "{name}");
    }

    #[test]
    fn http_1_1() {
        let rows = [
            ("nothing", "", Ok("Empty KeepAlive None")),
            ("length", "Content-Length: 5\r\n", Ok("Exact(5) KeepAlive None")),
            ("zero", "content-length:0\r\n", Ok("Exact(0) KeepAlive None")),
            ("leading zeros", "Content-Length: 0005\r\n", Ok("Exact(5) KeepAlive None")),
            (
                "largest",
                "Content-Length: 18446744073709551615\r\n",
                Ok("Exact(18446744073709551615) KeepAlive None"),
            ),
            ("overflow", "Content-Length: 18446744073709551616\r\n", Err(FramingError::Length)),
            ("far overflow", "Content-Length: 99999999999999999999999\r\n", Err(FramingError::Length)),
            ("plus", "Content-Length: +5\r\n", Err(FramingError::Length)),
            ("minus", "Content-Length: -1\r\n", Err(FramingError::Length)),
            ("hex", "Content-Length: 0x5\r\n", Err(FramingError::Length)),
            ("inner space", "Content-Length: 5 5\r\n", Err(FramingError::Length)),
            ("list", "Content-Length: 5, 5\r\n", Err(FramingError::Length)),
            ("empty length", "Content-Length:\r\n", Err(FramingError::Length)),
            ("two equal", "Content-Length: 5\r\ncontent-length: 5\r\n", Err(FramingError::SeveralLengths)),
            ("two", "Content-Length: 5\r\nContent-Length: 6\r\n", Err(FramingError::SeveralLengths)),
            ("chunked", "Transfer-Encoding: Chunked\r\n", Ok("Chunked KeepAlive None")),
            (
                "TE and CL",
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Err(FramingError::LengthAndCoding),
            ),
            (
                "CL and odd TE",
                "Content-Length: 5\r\nTransfer-Encoding: x\r\n",
                Err(FramingError::LengthAndCoding),
            ),
            ("gzip", "Transfer-Encoding: gzip, chunked\r\n", Err(FramingError::Coding)),
            ("identity", "Transfer-Encoding: identity\r\n", Err(FramingError::Coding)),
            ("vertical tab", "Transfer-Encoding: \u{a0}chunked\r\n", Err(FramingError::Coding)),
            ("parameter", "Transfer-Encoding: chunked;q=1\r\n", Err(FramingError::Coding)),
            (
                "twice",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(FramingError::Coding),
            ),
            ("empty coding", "Transfer-Encoding:\r\n", Err(FramingError::Coding)),
            ("close", "Connection: foo , Close\r\n", Ok("Empty Close None")),
            ("close wins", "Connection: close\r\nConnection: keep-alive\r\n", Ok("Empty Close None")),
            ("closed is not close", "Connection: closed\r\n", Ok("Empty KeepAlive None")),
            ("continue", "Expect: 100-Continue\r\nContent-Length: 1\r\n", Ok("Exact(1) KeepAlive Continue")),
            (
                "continue, chunked",
                "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
                Ok("Chunked KeepAlive Continue"),
            ),
            (
                "continue without body",
                "Expect: 100-continue\r\nContent-Length: 0\r\n",
                Ok("Exact(0) KeepAlive None"),
            ),
            ("empty Expect", "Expect:\r\nContent-Length: 1\r\n", Ok("Exact(1) KeepAlive None")),
            ("other Expect", "Expect: 200-ok\r\n", Err(FramingError::Expectation)),
            ("two expectations", "Expect: 100-continue, x\r\n", Err(FramingError::Expectation)),
        ];
        for (name, lines, want) in rows {
            check(name, "HTTP/1.1", &format!("Host: h\r\n{lines}"), want);
        }
    }

    #[test]
    fn http_1_0() {
        let rows = [
            ("closes, needs no host", "", Ok("Empty Close None")),
            ("keep-alive", "Connection: Keep-Alive\r\nContent-Length: 2\r\n", Ok("Exact(2) KeepAlive None")),
            ("both", "Connection: keep-alive, close\r\n", Ok("Empty Close None")),
            ("chunked", "Transfer-Encoding: chunked\r\n", Err(FramingError::CodingOfHttp10)),
            (
                "no interim response",
                "Expect: 100-continue\r\nContent-Length: 2\r\n",
                Ok("Exact(2) Close None"),
            ),
            ("two hosts", "Host: a\r\nHost: a\r\n", Err(FramingError::HostCount)),
        ];
        for (name, lines, want) in rows {
            check(name, "HTTP/1.0", lines, want);
        }
    }

    #[test]
    fn hosts() {
        let served = Ok("Empty KeepAlive None");
        let rows = [
            ("name and port", "Host: b.s3.example.com:9000\r\n", served),
            ("IPv6", "Host: [::1]:9000\r\n", served),
            ("underscore", "Host: my_host\r\n", served),
            ("missing", "", Err(FramingError::HostCount)),
            ("twice", "Host: a\r\nHost: a\r\n", Err(FramingError::HostCount)),
            ("empty", "Host:\r\n", Err(FramingError::Host)),
            ("list", "Host: a, b\r\n", Err(FramingError::Host)),
            ("user", "Host: u@a\r\n", Err(FramingError::Host)),
            ("path", "Host: a/b\r\n", Err(FramingError::Host)),
            ("not UTF-8 free", "Host: \u{e4}\r\n", Err(FramingError::Host)),
        ];
        for (name, lines, want) in rows {
            check(name, "HTTP/1.1", lines, want);
        }
        for (host, want) in [("H:1", served), ("other", Err(FramingError::Host))] {
            let bytes = format!("GET http://h:1/a HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let Parsed::Complete { head, .. } = RequestHead::parse(bytes.as_bytes()).unwrap() else {
                panic!("partial head");
            };
            assert_eq!(Framing::of(&head).is_ok(), want.is_ok(), "absolute target against {host}");
        }
        // Without a Host no header that is signed says which host, and so which bucket, is meant.
        let Parsed::Complete { head, .. } = RequestHead::parse(b"GET http://h:1/a HTTP/1.0\r\n\r\n").unwrap()
        else {
            panic!("partial head");
        };
        assert_eq!(Framing::of(&head), Err(FramingError::Host), "absolute target alone");
    }

    #[test]
    fn statuses() {
        let rows = [(FramingError::Coding, 501), (FramingError::Expectation, 417), (FramingError::Host, 400)];
        for (error, want) in rows {
            assert_eq!(error.status(), want);
        }
    }
}
