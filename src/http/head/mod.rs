//! One HTTP/1.1 request head, parsed strictly into a value that cannot be read two ways.
//! httparse finds the fields; a scan of our own first refuses what lenient parsers let through and request smuggling
//! needs: bare CR, bare LF, folded lines, control bytes. It decides nothing about bodies: that is framing.rs.
//! The head owns its bytes once; names, values and target are ranges into them.
//! Source: RFC 9112 sections 2 to 5, RFC 9110 section 5.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A request method Ringway answers to; every other token is `Other` and keeps its text in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other token, lower case forms of the above included: methods are case-sensitive.
    Other,
}

/// The protocol version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`: closes by default, never chunked. nginx's `proxy_pass` speaks it by default.
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// What a look at the received bytes gave.
#[derive(Debug)]
pub enum Parsed {
    /// The blank line has not arrived; nothing received so far is wrong.
    Partial,
    /// A whole head; `consumed_bytes` of the input belong to it, the rest is body or the next request.
    Complete {
        /// The head.
        head: RequestHead,
        /// Bytes of the input up to and including the blank line.
        consumed_bytes: usize,
    },
}

/// Why a head was refused. After any of these the connection answers once and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// No blank line within `RequestHead::BYTES_MAX`.
    TooLarge,
    /// More than `RequestHead::HEADERS_MAX` header lines.
    TooManyHeaders,
    /// A CR without LF, a LF without CR, or an empty request line.
    LineEnd,
    /// A line that begins with a space or a tab (obs-fold).
    FoldedLine,
    /// NUL, another control byte, or DEL.
    ControlByte,
    /// The request line is not `token SP target SP version`.
    RequestLine,
    /// The target is neither a path, nor an absolute http URI, nor `*` of OPTIONS, or holds bytes beyond ASCII.
    Target,
    /// A well-formed version that is neither 1.0 nor 1.1.
    UnsupportedVersion,
    /// An empty header name, a space before the colon, no colon, or bytes that are no token.
    HeaderName,
}

/// A request head as received.
///
/// Shape: at most `BYTES_MAX` bytes and `HEADERS_MAX` headers; target visible ASCII; values without control bytes.
// INVARIANT: every span lies inside `bytes`; `target` spans and names are ASCII.
pub struct RequestHead {
    bytes: Box<[u8]>,
    headers: Box<[HeaderSpans]>,
    method: Method,
    version: Version,
    method_text: Span,
    authority: Option<Span>,
    path: Span,
    query: Option<Span>,
}

/// A range of the head's bytes; 16 bits do because `BYTES_MAX` is below 64 KiB.
#[derive(Clone, Copy)]
struct Span {
    start: u16,
    end: u16,
}

#[derive(Clone, Copy)]
struct HeaderSpans {
    name: Span,
    value: Span,
}

const _: () = assert!(RequestHead::BYTES_MAX <= u16::MAX as usize);

impl RequestHead {
    /// Longest head served, request line and blank line included. Units: bytes.
    pub const BYTES_MAX: usize = 16 * 1024;
    /// Most header lines served.
    pub const HEADERS_MAX: usize = 100;

    /// Parses the head at the start of `bytes`.
    ///
    /// Shape: one empty line before the request line is passed over (RFC 9112 2.2).
    /// Errors: `HeadError`, as soon as the received bytes cannot become a head any more.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, HeadError> {
        let visible = bytes.get(..Self::BYTES_MAX).unwrap_or(bytes);
        let start = if visible.starts_with(b"\r\n") { 2 } else { 0 };
        let Some(length) = scan(visible.get(start..).unwrap_or_default())? else {
            return if visible.len() < Self::BYTES_MAX {
                Ok(Parsed::Partial)
            } else {
                Err(HeadError::TooLarge)
            };
        };
        let consumed_bytes = start.saturating_add(length);
        let head = Self::of(visible.get(start..consumed_bytes).unwrap_or_default())?;
        Ok(Parsed::Complete { head, consumed_bytes })
    }

    /// Builds the head from exactly its bytes, whose lines `scan` has accepted.
    fn of(bytes: &[u8]) -> Result<Self, HeadError> {
        // Uninitialised slots: writing 100 empty headers first costs more than parsing ten.
        let mut slots = [const { MaybeUninit::<httparse::Header>::uninit() }; Self::HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut slots) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(httparse::Status::Complete(_) | httparse::Status::Partial) => {
                return Err(HeadError::RequestLine);
            }
            Err(error) => return Err(refusal(error, bytes)),
        }
        let method_text = request.method.ok_or(HeadError::RequestLine)?;
        let target = request.path.ok_or(HeadError::RequestLine)?;
        let version = match request.version {
            Some(0) => Version::Http10,
            Some(1) => Version::Http11,
            Some(_) | None => return Err(HeadError::UnsupportedVersion),
        };
        let method = method_of(method_text);
        let parts = split_target(method, target)?;
        let target_start = offset_in(bytes, target.as_bytes())?;
        let headers = request
            .headers
            .iter()
            .map(|header| {
                Ok(HeaderSpans {
                    name: span_in(bytes, header.name.as_bytes())?,
                    value: span_in(bytes, trim(header.value))?,
                })
            })
            .collect::<Result<Box<[HeaderSpans]>, HeadError>>()?;
        Ok(Self {
            method,
            version,
            method_text: span_in(bytes, method_text.as_bytes())?,
            authority: parts.authority.map(|range| Span::shifted(range, target_start)).transpose()?,
            path: Span::shifted(parts.path, target_start)?,
            query: parts.query.map(|range| Span::shifted(range, target_start)).transpose()?,
            headers,
            bytes: Box::from(bytes),
        })
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method exactly as sent, which the signature covers.
    pub fn method_text(&self) -> &str {
        self.text(self.method_text)
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target's path as sent, still percent-encoded; `*` for `OPTIONS *`.
    ///
    /// Shape: starts with `/` unless it is `*`; an absolute URI is reduced to its path, an empty one to `/`.
    pub fn raw_path(&self) -> &str {
        match self.text(self.path) {
            "" => "/",
            path => path,
        }
    }

    /// What follows the first `?` of the target, as sent; `Some("")` when the target ends with it.
    pub fn raw_query(&self) -> Option<&str> {
        self.query.map(|span| self.text(span))
    }

    /// Host and port of an absolute-form target. Framing refuses a request whose Host header differs from it.
    pub fn authority(&self) -> Option<&str> {
        self.authority.map(|span| self.text(span))
    }

    /// The first value of a header, without surrounding white space.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.header_values(name).next()
    }

    /// The values of every line that carries this header, in the order sent, without surrounding white space.
    pub fn header_values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers
            .iter()
            .filter(move |spans| self.slice(spans.name).eq_ignore_ascii_case(name.as_bytes()))
            .map(|spans| self.slice(spans.value))
    }

    /// The first value of a header as text. One that is no UTF-8 is there and says nothing, which no rule takes for a value:
    /// as none at all it would be a condition or a checksum that nobody looks at.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).map(|value| std::str::from_utf8(value).unwrap_or_default())
    }

    /// How many lines carry this header.
    pub fn header_count(&self, name: &str) -> usize {
        self.header_values(name).count()
    }

    /// Every header in the order sent: the name in the case sent, the value without surrounding white space.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|spans| (self.text(spans.name), self.slice(spans.value)))
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(usize::from(span.start)..usize::from(span.end)).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

impl fmt::Debug for RequestHead {
    /// Method and number of headers only: headers and query carry signatures and session tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestHead({} with {} headers)", self.method_text(), self.headers.len())
    }
}

impl HeadError {
    /// The HTTP status that answers it.
    pub fn status(self) -> u16 {
        match self {
            HeadError::UnsupportedVersion => 505,
            HeadError::TooLarge
            | HeadError::TooManyHeaders
            | HeadError::LineEnd
            | HeadError::FoldedLine
            | HeadError::ControlByte
            | HeadError::RequestLine
            | HeadError::Target
            | HeadError::HeaderName => 400,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadError::TooLarge => "the request head is longer than 16 KiB",
            HeadError::TooManyHeaders => "the request has more than 100 headers",
            HeadError::LineEnd => "a line of the request head does not end with CRLF",
            HeadError::FoldedLine => "a line of the request head begins with white space",
            HeadError::ControlByte => "the request head holds a control byte",
            HeadError::RequestLine => "the request line is malformed",
            HeadError::Target => "the request target is malformed",
            HeadError::UnsupportedVersion => "the HTTP version is not supported",
            HeadError::HeaderName => "a header name is malformed",
        })
    }
}

impl std::error::Error for HeadError {}

impl Span {
    fn new(range: Range<usize>) -> Result<Self, HeadError> {
        match (u16::try_from(range.start), u16::try_from(range.end)) {
            (Ok(start), Ok(end)) => Ok(Self { start, end }),
            (Err(_), _) | (_, Err(_)) => Err(HeadError::TooLarge),
        }
    }

    fn shifted(range: Range<usize>, by: usize) -> Result<Self, HeadError> {
        Self::new(range.start.saturating_add(by)..range.end.saturating_add(by))
    }
}

/// Walks the lines from the request line on: the head's length when its blank line is there.
fn scan(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut rest = bytes;
    let mut line_bytes = 0_usize;
    let mut request_line = true;
    let mut after_cr = false;
    loop {
        // The first byte of a line is looked at alone, for it must not be white space.
        if line_bytes > 0 && !after_cr {
            let run = plain_run(rest);
            line_bytes = line_bytes.saturating_add(run);
            rest = rest.get(run..).unwrap_or_default();
        }
        let Some((&byte, tail)) = rest.split_first() else { return Ok(None) };
        rest = tail;
        match byte {
            b'\n' if after_cr => {
                match (line_bytes, request_line) {
                    (0, true) => return Err(HeadError::LineEnd),
                    (0, false) => return Ok(Some(bytes.len().saturating_sub(rest.len()))),
                    (1.., _) => {}
                }
                (line_bytes, request_line, after_cr) = (0, false, false);
            }
            _ if after_cr => return Err(HeadError::LineEnd),
            b'\r' => after_cr = true,
            b'\n' => return Err(HeadError::LineEnd),
            b' ' | b'\t' if line_bytes == 0 => return Err(HeadError::FoldedLine),
            b'\t' | b' '..=b'~' | 0x80.. => line_bytes = line_bytes.saturating_add(1),
            0..=0x1f | 0x7f => return Err(HeadError::ControlByte),
        }
    }
}

/// How many bytes from the start are surely no control bytes, eight at a time: this is half of a head's cost.
fn plain_run(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let mut run = 0_usize;
    for word in words {
        let marks = control_marks(u64::from_le_bytes(*word));
        if marks != 0 {
            let plain = usize::try_from(marks.trailing_zeros() >> 3).unwrap_or(0);
            return run.saturating_add(plain);
        }
        run = run.saturating_add(8);
    }
    run
}

/// Marks the high bit of bytes below 0x20 and of 0x7f. Borrows may mark bytes above a marked one, so only the lowest
/// mark means anything.
fn control_marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let delete = word ^ 0x7f7f_7f7f_7f7f_7f7f;
    let below = word.wrapping_sub(0x2020_2020_2020_2020) & !word;
    let equal = delete.wrapping_sub(ONES) & !delete;
    (below | equal) & HIGHS
}

/// Our word for what httparse refused.
fn refusal(error: httparse::Error, bytes: &[u8]) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::HeaderName => HeadError::HeaderName,
        httparse::Error::HeaderValue => HeadError::ControlByte,
        httparse::Error::Version if names_a_version(bytes) => HeadError::UnsupportedVersion,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => HeadError::RequestLine,
    }
}

/// Whether the request line is whole and ends with `HTTP/` and a version, `2` and `10.0` too: then 505 is the honest answer, else 400.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    words.next().is_none()
        && version.is_some_and(|version| version.splitn(2, |&byte| byte == b'.').all(is_number))
}

fn method_of(text: &str) -> Method {
    match text {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "PUT" => Method::Put,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

/// Ranges of a target's parts, counted from its start.
struct TargetParts {
    authority: Option<Range<usize>>,
    path: Range<usize>,
    query: Option<Range<usize>>,
}

/// Splits origin-form, absolute-form and the `*` of OPTIONS; authority-form (CONNECT) is refused.
fn split_target(method: Method, target: &str) -> Result<TargetParts, HeadError> {
    // A fragment never goes on the wire, and a parser that cuts one off would serve another key than was signed.
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(HeadError::Target);
    }
    let authority = if target.starts_with('/') || (target == "*" && method == Method::Options) {
        None
    } else {
        Some(authority_range(target)?)
    };
    let path_start = authority.as_ref().map_or(0, |range| range.end);
    let path_end = match target.get(path_start..).and_then(|rest| rest.find('?')) {
        Some(length) => path_start.saturating_add(length),
        None => target.len(),
    };
    let query = (path_end < target.len()).then(|| path_end.saturating_add(1)..target.len());
    Ok(TargetParts { authority, path: path_start..path_end, query })
}

/// Where host and port stand in an absolute http or https URI.
fn authority_range(target: &str) -> Result<Range<usize>, HeadError> {
    let (scheme, rest) = target.split_once("://").ok_or(HeadError::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HeadError::Target);
    }
    let length = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = rest.get(..length).unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Err(HeadError::Target);
    }
    let start = target.len().saturating_sub(rest.len());
    Ok(start..start.saturating_add(length))
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last.saturating_add(1));
    value.get(start..end).unwrap_or_default()
}

/// Where httparse's slice `part` lies in `whole`; it borrows from it, so addresses tell.
fn offset_in(whole: &[u8], part: &[u8]) -> Result<usize, HeadError> {
    part.as_ptr().addr().checked_sub(whole.as_ptr().addr()).ok_or(HeadError::RequestLine)
}

fn span_in(whole: &[u8], part: &[u8]) -> Result<Span, HeadError> {
    // httparse gives an empty value as a slice of its own, which lies nowhere in the head.
    if part.is_empty() {
        return Span::new(0..0);
    }
    Span::shifted(0..part.len(), offset_in(whole, part)?)
}

#[cfg(test)]
mod tests;
