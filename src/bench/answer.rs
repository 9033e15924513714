//! One answer of a server, taken in piece by piece: status, framing, how many bytes the body had, and the S3 code of
//! an error. It keeps no body but the first bytes of an error document, and reads no socket.
//! Strict where a load generator would otherwise measure nonsense: an answer that is cut short or has bytes after its
//! end is an error, never a shorter or a longer answer.
//! Source: RFC 9112 sections 4, 6.3 and 9.3.

use std::fmt;

use crate::http::chunked::ChunkedDecoder;
use crate::http::framing::Persistence;

/// Which request an answer belongs to, as far as its framing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerTo {
    /// HEAD: there is no body, whatever Content-Length says.
    Head,
    /// Any other method.
    Other,
}

/// An answer that cannot be what the server meant. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// The head is no HTTP/1.x response head, or too long.
    Head,
    /// Neither a valid Content-Length nor a transfer coding that is known, or both.
    Length,
    /// The chunked coding of the body is broken.
    Chunk,
    /// Bytes follow that belong to no answer.
    Longer,
    /// The connection ended before the answer.
    CutShort,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            AnswerError::Head => "malformed response head",
            AnswerError::Length => "malformed response length",
            AnswerError::Chunk => "malformed response chunk",
            AnswerError::Longer => "bytes after the response",
            AnswerError::CutShort => "connection closed within the response",
        })
    }
}

/// One answer while it arrives.
pub struct Answer {
    to: AnswerTo,
    state: State,
    // A head that a piece's end cut, and only then.
    pending: Vec<u8>,
    status: u16,
    persistence: Persistence,
    body_bytes: u64,
    error_document: Vec<u8>,
}

enum State {
    Untouched,
    Head,
    Exact(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Done,
}

/// What a head says.
struct Head {
    length_bytes: usize,
    status: u16,
    persistence: Persistence,
    body: State,
}

/// Far more than servers send: S3 metadata is 2 KiB at most.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// An error's code stands at the beginning of its document.
const ERROR_DOCUMENT_BYTES_MAX: usize = 4 * 1024;
const CODE_BYTES_MAX: usize = 64;

impl Answer {
    /// An answer of which nothing has arrived.
    pub fn new(to: AnswerTo) -> Answer {
        Answer {
            to,
            state: State::Untouched,
            pending: Vec::new(),
            status: 0,
            persistence: Persistence::KeepAlive,
            body_bytes: 0,
            error_document: Vec::new(),
        }
    }

    /// Whether no byte has arrived.
    pub fn is_untouched(&self) -> bool {
        matches!(self.state, State::Untouched)
    }

    /// Whether all of it has arrived.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The status; 0 before the head is there.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the server wants of the connection.
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// The body without its coding. Units: bytes.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The `Code` of an error document; none when there is no document, or something else.
    pub fn code(&self) -> Option<String> {
        // Found and not parsed: the document may be longer than what is kept of it.
        let text = String::from_utf8_lossy(&self.error_document);
        let (_, rest) = text.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        let is_code = (1..=CODE_BYTES_MAX).contains(&code.len())
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        is_code.then(|| code.to_owned())
    }

    /// Takes the next bytes of the connection. Their content is undefined afterwards.
    /// Errors: `AnswerError`; there is no use in feeding more then.
    pub fn feed(&mut self, bytes: &mut [u8]) -> Result<(), AnswerError> {
        match self.state {
            State::Untouched | State::Head => self.feed_head(bytes),
            State::Exact(_) | State::Chunked(_) | State::UntilClose | State::Done => self.feed_body(bytes),
        }
    }

    /// Takes the end of the connection.
    /// Errors: CutShort, unless the end is how this body ends.
    pub fn end(&mut self) -> Result<(), AnswerError> {
        match self.state {
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Untouched | State::Head | State::Exact(_) | State::Chunked(_) | State::Done => {
                Err(AnswerError::CutShort)
            }
        }
    }

    fn feed_head(&mut self, bytes: &mut [u8]) -> Result<(), AnswerError> {
        self.state = State::Head;
        let mut together = std::mem::take(&mut self.pending);
        let mut rest = if together.is_empty() {
            bytes
        } else {
            together.extend_from_slice(bytes);
            together.as_mut_slice()
        };
        loop {
            let Some(head) = read_head(rest, self.to)? else {
                self.pending = rest.to_vec();
                return if rest.len() < HEAD_BYTES_MAX { Ok(()) } else { Err(AnswerError::Head) };
            };
            rest = &mut rest[head.length_bytes..];
            // 100 and its kin announce the answer; they are none.
            if head.status >= 200 {
                (self.status, self.persistence, self.state) = (head.status, head.persistence, head.body);
                return self.feed_body(rest);
            }
        }
    }

    fn feed_body(&mut self, bytes: &mut [u8]) -> Result<(), AnswerError> {
        let (consumed, produced) = match &mut self.state {
            State::Exact(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                (taken, taken)
            }
            State::Chunked(decoder) => {
                let decoded = decoder.decode(bytes).map_err(|_| AnswerError::Chunk)?;
                if decoder.is_done() {
                    self.state = State::Done;
                }
                (decoded.consumed_bytes, decoded.produced_bytes)
            }
            State::UntilClose => (bytes.len(), bytes.len()),
            State::Done => (0, 0),
            State::Untouched | State::Head => unreachable!("the head is read before the body"),
        };
        self.body_bytes += produced as u64;
        if self.status >= 300 {
            let room = ERROR_DOCUMENT_BYTES_MAX - self.error_document.len();
            self.error_document.extend_from_slice(&bytes[..produced.min(room)]);
        }
        if consumed < bytes.len() { Err(AnswerError::Longer) } else { Ok(()) }
    }
}

/// Reads a response head; none when it is not whole yet.
fn read_head(bytes: &[u8], to: AnswerTo) -> Result<Option<Head>, AnswerError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length_bytes = match response.parse(bytes).map_err(|_| AnswerError::Head)? {
        httparse::Status::Complete(length_bytes) => length_bytes,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.filter(|code| (100..600).contains(code)).ok_or(AnswerError::Head)?;
    let is_http10 = response.version == Some(0);
    let body = match (to, status) {
        // 101 would hand the connection to another protocol.
        (_, 101) => return Err(AnswerError::Head),
        (AnswerTo::Head, _) | (_, 100..200 | 204 | 304) => State::Done,
        (AnswerTo::Other, _) => body_of(response.headers)?,
    };
    let asks = |word: &str| {
        let lists = values(response.headers, "connection");
        lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let ends = matches!(body, State::UntilClose) || asks("close") || (is_http10 && !asks("keep-alive"));
    let persistence = if ends { Persistence::Close } else { Persistence::KeepAlive };
    Ok(Some(Head { length_bytes, status, persistence, body }))
}

fn body_of(headers: &[httparse::Header<'_>]) -> Result<State, AnswerError> {
    let mut lengths = values(headers, "content-length");
    let mut codings = values(headers, "transfer-encoding");
    match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, None, None, None) => Ok(State::UntilClose),
        (Some(length), None, None, None) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            match length.parse() {
                Ok(0) => Ok(State::Done),
                Ok(length) => Ok(State::Exact(length)),
                Err(_) => Err(AnswerError::Length),
            }
        }
        (None, None, Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => {
            Ok(State::Chunked(ChunkedDecoder::new()))
        }
        (_, _, _, _) => Err(AnswerError::Length),
    }
}

/// The values of a header, in order. A value that is no text is an empty one, which no header here may have.
fn values<'a>(headers: &'a [httparse::Header<'a>], name: &str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| str::from_utf8(header.value).unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left when all of `text` has arrived, in pieces of `piece` bytes, and the connection may have ended.
    fn outcome(to: AnswerTo, text: &str, piece: usize) -> Result<String, AnswerError> {
        let mut answer = Answer::new(to);
        let mut bytes = text.as_bytes().to_vec();
        for piece in bytes.chunks_mut(piece) {
            answer.feed(piece)?;
        }
        if !answer.is_done() {
            answer.end()?;
        }
        let close = if answer.persistence() == Persistence::Close { " close" } else { "" };
        let code = answer.code().unwrap_or_else(|| "-".to_owned());
        Ok(format!("{} {} {code}{close}", answer.status(), answer.body_bytes()))
    }

    fn check(name: &str, text: &str, want: Result<&str, AnswerError>) {
        for piece in 1..=text.len() {
            let got = outcome(AnswerTo::Other, text, piece);
            assert_eq!(got.as_deref(), want.as_ref().map(|want| *want), "{name}, pieces of {piece}");
        }
    }

    #[test]
    fn answers_end_where_they_say() {
        check("length", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Ok("200 5 -"));
        check("none", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok("200 0 -"));
        check("204", "HTTP/1.1 204 No Content\r\n\r\n", Ok("204 0 -"));
        let chunks =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2\r\n, \r\n0\r\n\r\n";
        check("chunked", chunks, Ok("200 7 -"));
        check("until close", "HTTP/1.1 200 OK\r\n\r\nhello", Ok("200 5 - close"));
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        check("interim", interim, Ok("200 1 -"));
        let closed = "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n";
        check("close", closed, Ok("200 0 - close"));
        check("1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Ok("200 0 - close"));
        let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
        check("1.0 kept", kept, Ok("200 0 -"));
    }

    #[test]
    fn errors_have_their_code() {
        let error = |body: &str| format!("HTTP/1.1 503 Busy\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        check("code", &error("<Error><Code>SlowDown</Code></Error>"), Ok("503 36 SlowDown"));
        check("no document", &error("busy"), Ok("503 4 -"));
        check("no code", &error("<Error><Code>a b</Code></Error>"), Ok("503 31 -"));
        let long = error(&format!("<Error><Code>SlowDown</Code>{}", "x".repeat(5000)));
        assert_eq!(outcome(AnswerTo::Other, &long, 700), Ok("503 5028 SlowDown".to_owned()));
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(outcome(AnswerTo::Head, text, 7), Ok("200 0 -".to_owned()));
        assert_eq!(outcome(AnswerTo::Head, &format!("{text}hello"), 500), Err(AnswerError::Longer));
    }

    #[test]
    fn nonsense_is_refused() {
        check("short", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", Err(AnswerError::CutShort));
        check("long", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello", Err(AnswerError::Longer));
        check("half a head", "HTTP/1.1 200 OK\r\nContent-", Err(AnswerError::CutShort));
        check("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", Err(AnswerError::Head));
        check("status", "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n", Err(AnswerError::Head));
        check("upgrade", "HTTP/1.1 101 Switching\r\n\r\n", Err(AnswerError::Head));
        let signed = "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nhell";
        check("signed length", signed, Err(AnswerError::Length));
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nhell";
        check("two lengths", twice, Err(AnswerError::Length));
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        check("length and coding", both, Err(AnswerError::Length));
        let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
        check("chunk", chunk, Err(AnswerError::Chunk));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(outcome(AnswerTo::Other, &endless, 4096), Err(AnswerError::Head));
    }
}
