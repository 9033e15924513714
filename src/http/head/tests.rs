//! Heads that are served, heads that are refused, and the limits between them.
//! Every accepted head is also cut at each byte: a prefix is `Partial` and never an error.
//! Random and damaged bytes never panic; what a client writes is what is read.

use super::*;
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, HeadError> {
    match RequestHead::parse(bytes)? {
        Parsed::Partial => Ok(None),
        Parsed::Complete { head, consumed_bytes } => Ok(Some((head, consumed_bytes))),
    }
}

/// One line a head: what every floor above reads of it.
fn check(name: &str, input: &str, want: Result<&str, HeadError>) {
    let got = parse(input.as_bytes()).map(|parsed| match parsed {
        None => "partial".to_owned(),
        Some((head, consumed_bytes)) => {
            let headers: Vec<String> = head
                .headers()
                .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
                .collect();
            format!(
                "{:?} {:?} {} {:?} {:?} [{}] left {}",
                head.method(),
                head.version(),
                head.raw_path(),
                head.raw_query(),
                head.authority(),
                headers.join("|"),
                input.len() - consumed_bytes
            )
        }
    });
    assert_eq!(got.as_deref().map_err(|error| *error), want, "{name}");
}

#[test]
fn heads_that_are_served() {
    let rows = [
        ("smallest", "GET / HTTP/1.1\r\n\r\n", "Get Http11 / None None [] left 0"),
        ("1.0", "HEAD /a HTTP/1.0\r\n\r\n", "Head Http10 /a None None [] left 0"),
        ("query", "PUT /a?b=c?d HTTP/1.1\r\n\r\n", "Put Http11 /a Some(\"b=c?d\") None [] left 0"),
        ("empty query", "GET /a? HTTP/1.1\r\n\r\n", "Get Http11 /a Some(\"\") None [] left 0"),
        (
            "dots and slashes stay",
            "GET //a/../%2e HTTP/1.1\r\n\r\n",
            "Get Http11 //a/../%2e None None [] left 0",
        ),
        (
            "absolute form",
            "GET HTTP://h:9/a?b HTTP/1.1\r\n\r\n",
            "Get Http11 /a Some(\"b\") Some(\"h:9\") [] left 0",
        ),
        ("absolute, no path", "GET http://h HTTP/1.1\r\n\r\n", "Get Http11 / None Some(\"h\") [] left 0"),
        (
            "absolute, no path but query",
            "GET http://h?q HTTP/1.1\r\n\r\n",
            "Get Http11 / Some(\"q\") Some(\"h\") [] left 0",
        ),
        ("asterisk", "OPTIONS * HTTP/1.1\r\n\r\n", "Options Http11 * None None [] left 0"),
        ("other method", "get / HTTP/1.1\r\n\r\n", "Other Http11 / None None [] left 0"),
        (
            "values are trimmed, order and case kept",
            "POST / HTTP/1.1\r\nB: \t x  y \t\r\na:\r\nB:2\r\n\r\n",
            "Post Http11 / None None [B=x  y|a=|B=2] left 0",
        ),
        ("body follows", "DELETE / HTTP/1.1\r\n\r\nGET", "Delete Http11 / None None [] left 3"),
        ("empty line before", "\r\nGET / HTTP/1.1\r\n\r\n", "Get Http11 / None None [] left 0"),
    ];
    for (name, input, want) in rows {
        check(name, input, Ok(want));
        for cut in 0..input.find("\r\n\r\n").unwrap() + 4 {
            check(name, &input[..cut], Ok("partial"));
        }
    }
}

#[test]
fn heads_that_are_refused() {
    let rows = [
        ("bare LF after the request line", "GET / HTTP/1.1\nA: b\r\n\r\n", HeadError::LineEnd),
        ("bare LF in a value", "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", HeadError::LineEnd),
        ("bare LF at the end", "GET / HTTP/1.1\r\n\n", HeadError::LineEnd),
        ("bare CR", "GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", HeadError::LineEnd),
        ("two empty lines", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", HeadError::LineEnd),
        ("obs-fold by space", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", HeadError::FoldedLine),
        ("obs-fold by tab", "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", HeadError::FoldedLine),
        ("space before the method", " GET / HTTP/1.1\r\n\r\n", HeadError::FoldedLine),
        ("NUL in a value", "GET / HTTP/1.1\r\nA: \0\r\n\r\n", HeadError::ControlByte),
        ("DEL in a value", "GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", HeadError::ControlByte),
        ("TLS client hello", "\x16\x03\x01", HeadError::ControlByte),
        ("space before the colon", "GET / HTTP/1.1\r\nA : b\r\n\r\n", HeadError::HeaderName),
        ("tab before the colon", "GET / HTTP/1.1\r\nA\t: b\r\n\r\n", HeadError::HeaderName),
        ("empty name", "GET / HTTP/1.1\r\n: b\r\n\r\n", HeadError::HeaderName),
        ("no colon", "GET / HTTP/1.1\r\nAb\r\n\r\n", HeadError::HeaderName),
        ("name beyond ASCII", "GET / HTTP/1.1\r\n\u{e4}: b\r\n\r\n", HeadError::HeaderName),
        ("bad method", "G(T / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
        ("two spaces", "GET  / HTTP/1.1\r\n\r\n", HeadError::RequestLine),
        ("space in the target", "GET /a b HTTP/1.1\r\n\r\n", HeadError::RequestLine),
        ("0.9", "GET /\r\n\r\n", HeadError::RequestLine),
        ("version text", "GET / http/1.1\r\n\r\n", HeadError::RequestLine),
        ("version digits", "GET / HTTP/1.10\r\n\r\n", HeadError::RequestLine),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HeadError::UnsupportedVersion),
        ("HTTP/2 as clients of it write it", "GET / HTTP/2\r\n\r\n", HeadError::UnsupportedVersion),
        ("HTTP/10.0", "GET / HTTP/10.0\r\n\r\n", HeadError::UnsupportedVersion),
        ("no major version", "GET / HTTP/.1\r\n\r\n", HeadError::RequestLine),
        ("HTTP/1.2", "GET / HTTP/1.2\r\n\r\n", HeadError::UnsupportedVersion),
        ("relative path", "GET a HTTP/1.1\r\n\r\n", HeadError::Target),
        ("asterisk of GET", "GET * HTTP/1.1\r\n\r\n", HeadError::Target),
        ("authority form", "CONNECT h:1 HTTP/1.1\r\n\r\n", HeadError::Target),
        ("other scheme", "GET ftp://h/ HTTP/1.1\r\n\r\n", HeadError::Target),
        ("user in the authority", "GET http://u@h/ HTTP/1.1\r\n\r\n", HeadError::Target),
        ("no authority", "GET http:///a HTTP/1.1\r\n\r\n", HeadError::Target),
        ("fragment", "GET /a#b HTTP/1.1\r\n\r\n", HeadError::Target),
        ("target beyond ASCII", "GET /\u{e4} HTTP/1.1\r\n\r\n", HeadError::Target),
    ];
    for (name, input, want) in rows {
        check(name, input, Err(want));
    }
}

#[test]
fn limits_are_exact() {
    let with_headers = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    let of_bytes = |length: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length - 18));
    assert!(parse(with_headers(100).as_bytes()).unwrap().is_some());
    check("101 headers", &with_headers(101), Err(HeadError::TooManyHeaders));
    assert!(parse(of_bytes(RequestHead::BYTES_MAX).as_bytes()).unwrap().is_some());
    check("a byte too long", &of_bytes(RequestHead::BYTES_MAX + 1), Err(HeadError::TooLarge));
    check(
        "full and no end",
        &of_bytes(RequestHead::BYTES_MAX + 9)[..RequestHead::BYTES_MAX],
        Err(HeadError::TooLarge),
    );
    check(
        "one below full and no end",
        &of_bytes(RequestHead::BYTES_MAX)[..RequestHead::BYTES_MAX - 1],
        Ok("partial"),
    );
}

proptest! {
    #[test]
    fn a_plain_run_ends_before_the_first_control_byte(
        bytes in proptest::collection::vec(prop_oneof![8 => any::<u8>(), 1 => Just(0x7f), 20 => 0x20_u8..0x7f], 0..40),
    ) {
        let control = bytes.iter().position(|byte| *byte < 0x20 || *byte == 0x7f).unwrap_or(bytes.len());
        let run = plain_run(&bytes);
        prop_assert!(run <= control);
        prop_assert!(run == control || control - run < 8 && bytes.len() - run < 8);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = RequestHead::parse(&bytes);
    }

    #[test]
    fn a_damaged_head_never_panics(at in 0_usize..60, byte: u8) {
        let mut bytes = b"GET http://h/a?b HTTP/1.1\r\nHost: h\r\nA: b\r\nC:\td \r\n\r\n".to_vec();
        if let Some(place) = bytes.get_mut(at) { *place = byte; }
        let _ = RequestHead::parse(&bytes);
    }

    #[test]
    fn what_is_no_text_is_there(byte in 0x80_u8..) {
        let bytes = [&b"GET / HTTP/1.1\r\nHost: h\r\nA: b"[..], &[byte], b"\r\n\r\n"].concat();
        let (head, _) = parse(&bytes).unwrap().unwrap();
        prop_assert_eq!((head.header_text("a"), head.header_text("b")), (Some(""), None));
    }

    #[test]
    fn what_is_written_is_read(
        path in "/[!-\"$->@-~]{0,40}",
        fields in proptest::collection::vec(("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..20),
    ) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (head, _) = parse(format!("PUT {path} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap().unwrap();
        prop_assert_eq!(head.raw_path(), path);
        let read: Vec<(String, String)> =
            head.headers().map(|(name, value)| (name.to_owned(), String::from_utf8(value.to_vec()).unwrap())).collect();
        prop_assert_eq!(&read, &fields);
        for (name, _) in &fields {
            let first = fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap();
            prop_assert_eq!(head.header_text(&name.to_ascii_uppercase()), Some(first.1.as_str()));
        }
    }
}
