//! The chunked transfer coding: decoded in place for requests, encoded for the few responses of unknown length.
//! The decoder takes the body in pieces cut anywhere, moves payload to the front of each piece and keeps nothing else.
//! Stricter than the RFC asks: CRLF only, no white space after a size, every line bounded; trailers are dropped.
//! It is the layer below aws-chunked (s3/aws_chunked.rs) and shares nothing with it.
//! Source: RFC 9112 section 7.1.

use std::fmt;

/// What one call took and gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input used; less than its length only when the body ended, then the rest is the next request.
    pub consumed_bytes: usize,
    /// Payload bytes, now at the front of the input.
    pub produced_bytes: usize,
}

/// Why a chunked body was refused. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkedError {
    /// A chunk size that is no hex number of 1 to 16 digits, or sizes that are more than 64 bits together.
    Size,
    /// A CR without LF, or anything but CRLF after a chunk's payload.
    LineEnd,
    /// Chunk extensions beyond their limits, or a control byte in one.
    Extension,
    /// A trailer that is no header line, or trailers beyond their limit.
    Trailer,
}

/// Decodes one chunked body.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    chunked_bytes: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
        line_bytes: usize,
    },
    SizeLf {
        value: u64,
    },
    Payload {
        remaining: u64,
    },
    PayloadCr,
    PayloadLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    Failed(ChunkedError),
}

impl ChunkedDecoder {
    /// Longest extension part of one chunk-size line, semicolons included. Units: bytes.
    pub const EXTENSION_BYTES_MAX: usize = 256;
    /// Extensions of a whole body: a sender of one-byte chunks with long extensions buys no free work.
    pub const EXTENSIONS_BYTES_MAX: usize = 64 * 1024;
    /// All trailer lines together. Units: bytes.
    pub const TRAILER_BYTES_MAX: usize = 4 * 1024;

    /// A decoder at the start of a body.
    pub fn new() -> Self {
        Self {
            state: State::Size { value: 0, digits: 0 },
            chunked_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// The sizes of all chunks whose size lines were read: how long the body is at least.
    pub fn chunked_bytes(&self) -> u64 {
        self.chunked_bytes
    }

    /// Whether the body ended; further input is the next request.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes the next piece in place: its payload is moved to the front of `bytes`, in order.
    ///
    /// Errors: `ChunkedError`, and the same one for every later call; the piece's content is then undefined.
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, ChunkedError> {
        let mut consumed = 0_usize;
        let mut produced = 0_usize;
        while let Some(&byte) = bytes.get(consumed) {
            self.state = match self.state {
                State::Done => break,
                State::Failed(error) => return Err(error),
                State::Payload { remaining } => {
                    let available = bytes.len().saturating_sub(consumed);
                    let run = usize::try_from(remaining).unwrap_or(usize::MAX).min(available);
                    let run_end = consumed.saturating_add(run);
                    // The first run of a piece often lies at the front already.
                    if consumed != produced {
                        bytes.copy_within(consumed..run_end, produced);
                    }
                    consumed = run_end;
                    produced = produced.saturating_add(run);
                    after_payload(remaining.saturating_sub(u64::try_from(run).unwrap_or(u64::MAX)))
                }
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeLf { .. }
                | State::PayloadCr
                | State::PayloadLf
                | State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf => {
                    consumed = consumed.saturating_add(1);
                    self.framing_byte(byte)
                }
            };
        }
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        Ok(Decoded { consumed_bytes: consumed, produced_bytes: produced })
    }

    /// One byte that is not payload.
    fn framing_byte(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Size { value, digits }, _) => self.size_byte(value, digits, byte),
            (State::Extension { value, .. }, b'\r') => State::SizeLf { value },
            (State::Extension { value, line_bytes }, _) => self.extension_byte(value, line_bytes, byte),
            (State::SizeLf { value: 0 }, b'\n') => State::TrailerStart,
            (State::SizeLf { value }, b'\n') => self.begin_chunk(value),
            (State::PayloadCr, b'\r') => State::PayloadLf,
            (State::PayloadLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Done,
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => self.trailer_byte(byte),
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (
                State::SizeLf { .. } | State::PayloadCr | State::PayloadLf | State::TrailerLf | State::EndLf,
                _,
            ) => State::Failed(ChunkedError::LineEnd),
            (state @ (State::Payload { .. } | State::Done | State::Failed(_)), _) => state,
        }
    }

    fn begin_chunk(&mut self, size_bytes: u64) -> State {
        match self.chunked_bytes.checked_add(size_bytes) {
            Some(sum) => {
                self.chunked_bytes = sum;
                State::Payload { remaining: size_bytes }
            }
            None => State::Failed(ChunkedError::Size),
        }
    }

    fn size_byte(&mut self, value: u64, digits: u8, byte: u8) -> State {
        match (char::from(byte).to_digit(16), byte) {
            // Sixteen digits fill a u64, so the shift below loses nothing.
            (Some(digit), _) if digits < 16 => {
                State::Size { value: value << 4 | u64::from(digit), digits: digits.saturating_add(1) }
            }
            (None, b'\r') if digits > 0 => State::SizeLf { value },
            (None, b';') if digits > 0 => self.extension_byte(value, 0, byte),
            (Some(_) | None, _) => State::Failed(ChunkedError::Size),
        }
    }

    fn extension_byte(&mut self, value: u64, line_bytes: usize, byte: u8) -> State {
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        let line_bytes = line_bytes.saturating_add(1);
        let within =
            line_bytes <= Self::EXTENSION_BYTES_MAX && self.extension_bytes <= Self::EXTENSIONS_BYTES_MAX;
        if within && is_field_byte(byte) {
            State::Extension { value, line_bytes }
        } else {
            State::Failed(ChunkedError::Extension)
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> State {
        self.trailer_bytes = self.trailer_bytes.saturating_add(1);
        let within = self.trailer_bytes <= Self::TRAILER_BYTES_MAX;
        match (self.state, byte) {
            (State::TrailerName, b':') if within => State::TrailerValue,
            (State::TrailerStart | State::TrailerName, _) if within && super::is_token_byte(byte) => {
                State::TrailerName
            }
            (State::TrailerValue, b'\r') if within => State::TrailerLf,
            (State::TrailerValue, _) if within && is_field_byte(byte) => State::TrailerValue,
            (_, _) => State::Failed(ChunkedError::Trailer),
        }
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ChunkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkedError::Size => "a chunk size is malformed",
            ChunkedError::LineEnd => "a chunk does not end with CRLF",
            ChunkedError::Extension => "a chunk extension is malformed or too long",
            ChunkedError::Trailer => "a trailer is malformed or too long",
        })
    }
}

impl std::error::Error for ChunkedError {}

/// Appends one chunk to a response body. An empty payload writes nothing: an empty chunk would end the body.
pub fn write_chunk(payload: &[u8], out: &mut Vec<u8>) {
    if payload.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked response body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn after_payload(remaining: u64) -> State {
    if remaining == 0 { State::PayloadCr } else { State::Payload { remaining } }
}

/// What may stand in an extension or a trailer's value: tab, space, visible ASCII and the bytes beyond.
fn is_field_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `input` cut into pieces at `cuts`: the payload and what is left for the next request.
    fn decode(input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkedError> {
        let mut decoder = ChunkedDecoder::new();
        let (mut payload, mut left) = (Vec::new(), Vec::new());
        let mut start = 0;
        for end in cuts.iter().copied().chain([input.len()]) {
            let mut piece = input[start..end].to_vec();
            let decoded = decoder.decode(&mut piece)?;
            assert!(decoded.consumed_bytes == piece.len() || decoder.is_done());
            payload.extend_from_slice(&piece[..decoded.produced_bytes]);
            left.extend_from_slice(&input[start + decoded.consumed_bytes..end]);
            start = end;
        }
        Ok((payload, left, decoder.is_done()))
    }

    /// Whole, then cut once at every byte, then byte by byte: the same each time.
    fn check(name: &str, input: &str, want: Result<(&str, &str), ChunkedError>) {
        let input = input.as_bytes();
        let want = want.map(|(payload, left)| (payload.as_bytes().to_vec(), left.as_bytes().to_vec(), true));
        assert_eq!(decode(input, &[]), want, "{name}");
        for cut in 0..=input.len() {
            assert_eq!(decode(input, &[cut]), want, "{name} cut at {cut}");
        }
        assert_eq!(decode(input, &(0..input.len()).collect::<Vec<_>>()), want, "{name} byte by byte");
    }

    #[test]
    fn bodies() {
        let rows = [
            ("empty", "0\r\n\r\n", Ok(("", ""))),
            ("many zeros", "0000\r\n\r\n", Ok(("", ""))),
            ("one chunk", "5\r\nhello\r\n0\r\n\r\n", Ok(("hello", ""))),
            (
                "hex of both cases",
                "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
                Ok(("01234567890123456789", "")),
            ),
            ("payload looks like framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", Ok(("\r\n0\r\n\r\n", ""))),
            ("next request", "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n", Ok(("a", "GET / HTTP/1.1\r\n"))),
            ("extensions", "1;a=b;c=\"d e\"\r\na\r\n0;x\r\n\r\n", Ok(("a", ""))),
            ("trailers are dropped", "1\r\na\r\n0\r\nX: y\r\nz:\r\n\r\nG", Ok(("a", "G"))),
            ("sixteen digits", "0000000000000001\r\na\r\n0\r\n\r\n", Ok(("a", ""))),
            ("seventeen digits", "00000000000000001\r\na\r\n0\r\n\r\n", Err(ChunkedError::Size)),
            ("no size", "\r\na\r\n", Err(ChunkedError::Size)),
            ("no size but extension", ";a\r\n", Err(ChunkedError::Size)),
            ("minus", "-1\r\na", Err(ChunkedError::Size)),
            ("0x", "0x1\r\na\r\n", Err(ChunkedError::Size)),
            ("space before size", " 1\r\na\r\n", Err(ChunkedError::Size)),
            ("space after size", "1 \r\na\r\n", Err(ChunkedError::Size)),
            ("bare LF after size", "1\na\r\n", Err(ChunkedError::Size)),
            ("bare CR after size", "1\ra\r\n", Err(ChunkedError::LineEnd)),
            ("bare LF in an extension", "1;a\nb\r\na\r\n0\r\n\r\n", Err(ChunkedError::Extension)),
            ("bare CR in an extension", "1;a\rb\r\na\r\n0\r\n\r\n", Err(ChunkedError::LineEnd)),
            ("NUL in an extension", "1;\0\r\na\r\n0\r\n\r\n", Err(ChunkedError::Extension)),
            ("payload too long", "1\r\nab\r\n0\r\n\r\n", Err(ChunkedError::LineEnd)),
            ("bare LF after payload", "1\r\na\n0\r\n\r\n", Err(ChunkedError::LineEnd)),
            ("bare LF at the end", "0\r\n\n", Err(ChunkedError::Trailer)),
            ("bare CR at the end", "0\r\n\rG", Err(ChunkedError::LineEnd)),
            ("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", Err(ChunkedError::Trailer)),
            ("trailer without colon", "0\r\nGET / HTTP/1.1\r\n\r\n", Err(ChunkedError::Trailer)),
            ("trailer without name", "0\r\n: b\r\n\r\n", Err(ChunkedError::Trailer)),
            ("bare LF in a trailer", "0\r\nA: b\nC: d\r\n\r\n", Err(ChunkedError::Trailer)),
        ];
        for (name, input, want) in rows {
            check(name, input, want);
        }
    }

    #[test]
    fn limits_are_exact() {
        let extension = |length: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(length - 1));
        check("longest extension", &extension(ChunkedDecoder::EXTENSION_BYTES_MAX), Ok(("a", "")));
        check("extension", &extension(ChunkedDecoder::EXTENSION_BYTES_MAX + 1), Err(ChunkedError::Extension));
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(ChunkedDecoder::EXTENSION_BYTES_MAX - 1));
        let many = chunk.repeat(ChunkedDecoder::EXTENSIONS_BYTES_MAX / ChunkedDecoder::EXTENSION_BYTES_MAX);
        assert!(decode(format!("{many}0\r\n\r\n").as_bytes(), &[]).is_ok());
        assert_eq!(decode(format!("{many}0;\r\n\r\n").as_bytes(), &[]), Err(ChunkedError::Extension));
        let trailer = |length: usize| format!("0\r\na:{}\r\n\r\n", "x".repeat(length - 3));
        assert!(decode(trailer(ChunkedDecoder::TRAILER_BYTES_MAX).as_bytes(), &[]).is_ok());
        let refused = decode(trailer(ChunkedDecoder::TRAILER_BYTES_MAX + 1).as_bytes(), &[]);
        assert_eq!(refused, Err(ChunkedError::Trailer));
    }

    #[test]
    fn sizes_are_known_before_their_bytes() {
        let mut decoder = ChunkedDecoder::new();
        for (piece, want) in
            [("5\r", 0), ("\n", 5), ("hello\r\n", 5), ("ffffffffffffff00\r\n", u64::MAX - 250)]
        {
            decoder.decode(&mut piece.as_bytes().to_vec()).unwrap();
            assert_eq!(decoder.chunked_bytes(), want, "{piece:?}");
        }
        let endless = b"5\r\nhello\r\nffffffffffffffff\r\n";
        assert_eq!(decode(endless, &[]), Err(ChunkedError::Size));
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.decode(&mut b"x".to_vec()), Err(ChunkedError::Size));
        assert_eq!(decoder.decode(&mut b"0\r\n\r\n".to_vec()), Err(ChunkedError::Size));
        assert!(!decoder.is_done());
    }

    #[test]
    fn an_unfinished_body_is_not_done() {
        let whole = b"2;x\r\nab\r\n0\r\nA: b\r\n\r\n";
        for cut in 0..whole.len() {
            let (_, _, done) = decode(&whole[..cut], &[]).unwrap();
            assert!(!done, "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                write_chunk(chunk, &mut body);
            }
            body.extend_from_slice(LAST_CHUNK);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(decode(&body, &cuts), Ok((chunks.concat(), Vec::new(), true)));
        }

        #[test]
        fn random_bytes_never_panic(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'3')], 0..80),
            cut: prop::sample::Index,
        ) {
            let whole = decode(&bytes, &[]);
            let cut = cut.index(bytes.len() + 1);
            prop_assert_eq!(decode(&bytes, &[cut]), whole);
        }
    }
}
