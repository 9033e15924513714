//! The one writer of response heads. It appends to a buffer that the connection keeps and reuses.
//! A value that could end its line early, or that is not visible ASCII, is an error: nothing a client or a file's
//! attributes say can become a header of its own. Date, Server and the framing headers are the caller's to add.
//! Source: RFC 9112 section 4, RFC 9110 sections 5.5 and 15.

use std::fmt;

/// A response head being written. Dropped before `finish`, it takes back what it wrote.
// INVARIANT: `out[..start]` is not ours; everything from `start` on is a prefix of a well-formed head.
pub struct ResponseHead<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finished,
}

/// A header that would not have been one header. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// A name that is empty or no token.
    Name,
    /// A value with CR, LF, NUL, another control byte, or a byte beyond ASCII.
    Value,
}

/// The interim response to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl<'a> ResponseHead<'a> {
    /// Begins a head with its status line. The version is 1.1 whatever the request's was (RFC 9110 2.5).
    ///
    /// Shape: `status` is 200 to 599; anything else is written as 500, since it could not be a final status.
    pub fn begin(out: &'a mut Vec<u8>, status: u16) -> Self {
        let start = out.len();
        let status = if (200..600).contains(&status) { status } else { 500 };
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Self { out, start, state: State::Open }
    }

    /// Appends a header.
    ///
    /// Shape: name a token; value of visible ASCII, spaces and tabs, empty allowed.
    /// Errors: `HeaderError`; the head stays as it was and can be continued.
    pub fn header(&mut self, name: &str, value: &[u8]) -> Result<(), HeaderError> {
        if name.is_empty() || !name.bytes().all(super::is_token_byte) {
            return Err(HeaderError::Name);
        }
        if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(HeaderError::Value);
        }
        self.push_line(name, |out| out.extend_from_slice(value));
        Ok(())
    }

    /// Appends a header whose value is a number, such as Content-Length. `name` is one of ours.
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.push_line(name, |out| push_decimal(value, out));
    }

    /// Appends a date header in IMF-fixdate form. `name` is one of ours.
    pub fn date(&mut self, name: &'static str, unix_s: i64) {
        self.push_line(name, |out| super::date::write_http_date(unix_s, out));
    }

    /// Ends the head with its empty line.
    pub fn finish(mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.state = State::Finished;
    }

    fn push_line(&mut self, name: &str, write_value: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        write_value(self.out);
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Drop for ResponseHead<'_> {
    fn drop(&mut self) {
        match self.state {
            State::Open => self.out.truncate(self.start),
            State::Finished => {}
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::Name => "a response header's name is not a token",
            HeaderError::Value => "a response header's value is not visible ASCII",
        })
    }
}

impl std::error::Error for HeaderError {}

/// Appends `value` in decimal without an allocation.
pub(crate) fn push_decimal(value: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = value;
    loop {
        // The remainder is below 10.
        out.push(b'0'.saturating_add(u8::try_from(rest.rem_euclid(10)).unwrap_or(0)));
        rest = rest.div_euclid(10);
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// The reason phrase of the statuses that S3 uses; clients ignore it, people with `curl -v` do not.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        // An empty phrase is legal, and honest for a status nobody listed.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row = (&'static str, (&'static str, &'static [u8]), Result<&'static str, HeaderError>);

    fn check(name: &str, header: (&str, &[u8]), want: Result<&str, HeaderError>) {
        let mut out = b"before".to_vec();
        let mut head = ResponseHead::begin(&mut out, 200);
        let got = head.header(header.0, header.1);
        head.finish();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(got, want.map(|_| ()), "{name}");
        assert_eq!(text, format!("beforeHTTP/1.1 200 OK\r\n{}\r\n", want.unwrap_or_default()), "{name}");
    }

    #[test]
    fn headers() {
        let rows: [Row; 12] = [
            ("plain", ("ETag", b"\"abc\""), Ok("ETag: \"abc\"\r\n")),
            ("empty value", ("x-amz-meta-a", b""), Ok("x-amz-meta-a: \r\n")),
            ("spaces", ("A", b"b  c\td"), Ok("A: b  c\td\r\n")),
            ("CR", ("A", b"b\rc"), Err(HeaderError::Value)),
            ("LF", ("A", b"b\nc"), Err(HeaderError::Value)),
            ("CRLF and a header", ("A", b"b\r\nSet-Cookie: c"), Err(HeaderError::Value)),
            ("NUL", ("A", b"\0"), Err(HeaderError::Value)),
            ("DEL", ("A", b"\x7f"), Err(HeaderError::Value)),
            ("beyond ASCII", ("A", "ä".as_bytes()), Err(HeaderError::Value)),
            ("empty name", ("", b"a"), Err(HeaderError::Name)),
            ("colon in the name", ("a:b", b"a"), Err(HeaderError::Name)),
            ("CRLF in the name", ("a\r\nb", b"a"), Err(HeaderError::Name)),
        ];
        for (name, header, want) in rows {
            check(name, header, want);
        }
    }

    #[test]
    fn numbers_and_dates() {
        let mut out = Vec::new();
        let mut head = ResponseHead::begin(&mut out, 206);
        head.number("Content-Length", 0);
        head.number("Content-Length", 18_446_744_073_709_551_615);
        head.date("Last-Modified", 784_111_777);
        head.finish();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\nContent-Length: 18446744073709551615\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
    }

    #[test]
    fn an_unfinished_head_is_taken_back() {
        let mut out = b"kept".to_vec();
        let mut head = ResponseHead::begin(&mut out, 200);
        head.number("Content-Length", 5);
        drop(head);
        assert_eq!(out, b"kept");
    }

    #[test]
    fn odd_statuses() {
        for (status, want) in
            [(299, "HTTP/1.1 299 \r\n\r\n"), (99, "HTTP/1.1 500 Internal Server Error\r\n\r\n")]
        {
            let mut out = Vec::new();
            ResponseHead::begin(&mut out, status).finish();
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    proptest! {
        #[test]
        fn a_value_is_one_line_or_an_error(name in ".{0,8}", value in proptest::collection::vec(any::<u8>(), 0..20)) {
            let mut out = Vec::new();
            let mut head = ResponseHead::begin(&mut out, 200);
            let line_count = if head.header(&name, &value).is_ok() { 3 } else { 2 };
            head.finish();
            prop_assert_eq!(out.windows(2).filter(|pair| pair == b"\r\n").count(), line_count);
            prop_assert!(out.is_ascii());
            prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), line_count);
        }

        #[test]
        fn decimals(value: u64) {
            let mut out = Vec::new();
            push_decimal(value, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }
}
