//! Request heads as far as a load generator needs them: method, `/bucket/key`, Content-Length.
//!
//! Shared by the servers that have no hyper. Leaves out chunked bodies, `Expect`, `Connection: close`,
//! percent-decoding and pipelining: the clients of a bench send none of them.
//! Source: RFC 9112, by way of httparse.

/// The methods that baselines serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// The whole object.
    Get,
    /// Its head alone.
    Head,
    /// A new object of Content-Length bytes.
    Put,
}

/// One request head; the path borrows from the bytes it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked.
    pub verb: Verb,
    /// `bucket/key`, relative to the root, without `.` and `..` components.
    pub path: &'a str,
    /// Length of the body that follows; 0 when the head does not say.
    pub body_bytes: u64,
    /// Length of the head itself: the body begins there.
    pub head_bytes: usize,
}

/// What the bytes of a connection hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The head goes on.
    Partial,
    /// A whole head.
    Complete(Request<'a>),
    /// Nothing that a baseline serves; the connection is closed.
    Refused,
}

/// Parses the request head at the front of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Refused,
    };
    let verb = match head.method {
        Some("GET") => Verb::Get,
        Some("HEAD") => Verb::Head,
        Some("PUT") => Verb::Put,
        _ => return Parsed::Refused,
    };
    let (Some(path), Some(body_bytes)) = (head.path.and_then(relative_path), body_bytes(head.headers)) else {
        return Parsed::Refused;
    };
    Parsed::Complete(Request { verb, path, body_bytes, head_bytes })
}

/// Reduces a request target to a path below the root; None for one that would leave it.
pub fn relative_path(target: &str) -> Option<&str> {
    let path = target.split('?').next()?.strip_prefix('/')?;
    let legal = path.split('/').all(|component| !matches!(component, "" | "." | ".."));
    legal.then_some(path)
}

/// Reads Content-Length; None when it is no number.
fn body_bytes(headers: &[httparse::Header<'_>]) -> Option<u64> {
    match headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length")) {
        Some(header) => str::from_utf8(header.value).ok()?.parse().ok(),
        None => Some(0),
    }
}

/// SDKs send about 15 headers; a head with more is refused, which stops a bench at once.
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, input: &str, want: Parsed<'_>) {
        assert_eq!(parse(input.as_bytes()), want, "{name}");
    }

    #[test]
    fn heads() {
        let put = "PUT /b/k HTTP/1.1\r\ncontent-length: 7\r\n\r\n";
        check("half a head", &put[..20], Parsed::Partial);
        check(
            "put, body behind the head",
            &format!("{put}1234567"),
            Parsed::Complete(Request { verb: Verb::Put, path: "b/k", body_bytes: 7, head_bytes: put.len() }),
        );
        let get = "GET /b/a/k?x-id=GetObject HTTP/1.1\r\nHost: a\r\n\r\n";
        let want = Request { verb: Verb::Get, path: "b/a/k", body_bytes: 0, head_bytes: get.len() };
        check("get with a query", get, Parsed::Complete(want));
        check("other method", "POST /b/k HTTP/1.1\r\n\r\n", Parsed::Refused);
        check("out of the root", "GET /../k HTTP/1.1\r\n\r\n", Parsed::Refused);
        check("no number", "PUT /b/k HTTP/1.1\r\nContent-Length: x\r\n\r\n", Parsed::Refused);
    }
}
