//! Heads of requests in, descriptions or errors out; then a known body against what its head said.
//! The wording of the errors is AWS's where AWS has one, since SDK tests compare it.
//! Source: API pages PutObject and UploadPart.

use super::*;
use crate::digest::stream::Stream;
use crate::http::framing::Framing;
use crate::s3::headers::tests::head_of;

const UNSIGNED: &str = "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const SIGNED: &str = "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

fn payload(headers: &[&str], purpose: Purpose) -> Result<Payload, S3Error> {
    let sent = headers.iter().map(|line| line.split_once(':').unwrap());
    let lines: Vec<_> = [("Host", "s3")].into_iter().chain(sent).collect();
    let head = head_of("PUT", "/bucket/key", &lines);
    Payload::of(&head, Framing::of(&head).unwrap().body, purpose)
}

/// Want: coding, decoded length and algorithm in words, or the error's code and message.
fn check(name: &str, headers: &[&str], want: &str) {
    let got = match payload(headers, Purpose::Object) {
        Ok(payload) => {
            let coding = match payload.coding {
                Coding::Plain => "plain",
                Coding::AwsChunked(AwsChunked { signatures: Signatures::Signed, .. }) => "signed",
                Coding::AwsChunked(AwsChunked { signatures: Signatures::Unsigned, .. }) => "unsigned",
            };
            let bytes = payload.decoded_bytes.map_or("unsized".to_owned(), |bytes| bytes.to_string());
            let md5 = if payload.content_md5.is_some() { " MD5" } else { "" };
            let algorithm = payload.algorithm().map_or(String::new(), |a| format!(" {}", a.wire()));
            format!("{coding} {bytes}{md5}{algorithm}")
        }
        Err(error) => format!("{} {}", error.code().wire(), error.message()),
    };
    assert!(got.starts_with(want), "{name}: {got}");
}

#[test]
fn lengths_and_codings() {
    let trailer = "x-amz-trailer: x-amz-checksum-crc32";
    let decoded = "x-amz-decoded-content-length: 5";
    check("plain", &["Content-Length: 5"], "plain 5");
    check("neither length nor chunked", &[], "MissingContentLength");
    check("HTTP chunked", &["Transfer-Encoding: chunked"], "plain unsized");
    check("the encoding decides nothing", &["Content-Length: 5", "Content-Encoding: aws-chunked"], "plain 5");
    check("unsigned", &["Content-Length: 90", UNSIGNED, decoded, trailer], "unsigned 5 CRC32");
    check("botocore", &["Transfer-Encoding: chunked", UNSIGNED, decoded, trailer], "unsigned 5 CRC32");
    check("pyarrow", &["Transfer-Encoding: chunked", UNSIGNED, trailer], "unsigned unsized CRC32");
    check("plain, said twice", &["Content-Length: 5", decoded], "plain 5");
    check("plain, said otherwise", &["Content-Length: 6", decoded], "IncompleteBody");
    let no_number = "x-amz-decoded-content-length: five";
    check("plain, no number", &["Content-Length: 5", no_number], "IncompleteBody");
    check("HTTP chunked with a length", &["Transfer-Encoding: chunked", decoded], "plain 5");
    check("no trailer", &["Content-Length: 90", UNSIGNED, decoded], "unsigned 5");
    check("signed", &["Content-Length: 200", SIGNED, decoded], "signed 5");
    check("signed trailer", &["Content-Length: 300", SIGNED_TRAILER, decoded, trailer], "signed 5 CRC32");
    check("no decoded length", &["Content-Length: 90", UNSIGNED, trailer], "MissingContentLength");
    check("no body at all", &[UNSIGNED, decoded], "MissingContentLength");
    check(
        "bad decoded length",
        &["Content-Length: 90", UNSIGNED, "x-amz-decoded-content-length: +5"],
        "MissingC",
    );
    check("decoded above coded", &["Content-Length: 4", UNSIGNED, decoded], "IncompleteBody");
    check("trailer of a plain body", &["Content-Length: 5", trailer], "MalformedTrailerError");
    check(
        "trailer not in the mode",
        &["Content-Length: 90", SIGNED, decoded, trailer],
        "MalformedTrailerError",
    );
    check("mode without a trailer", &["Content-Length: 90", SIGNED_TRAILER, decoded], "IncompleteBody");
    let sigv4a = "x-amz-content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD";
    check("SigV4A", &["Content-Length: 90", sigv4a, decoded], "NotImplemented");
    check(
        "unknown",
        &["Content-Length: 90", "x-amz-content-sha256: STREAMING-X"],
        "InvalidArgument x-amz-content-",
    );
    assert_eq!(payload(&[], Purpose::Document).unwrap().decoded_bytes, Some(0));
}

#[test]
fn declared_checksums() {
    let length = "Content-Length: 5";
    let (crc32, sha1) =
        ("x-amz-checksum-crc32: y/Q5Jg==", "x-amz-checksum-sha1: 98O8HYCOBHMq32eZZczDTKeuNEE=");
    let sdk = |name: &str| format!("x-amz-sdk-checksum-algorithm: {name}");
    check("header", &[length, crc32], "plain 5 CRC32");
    check("named in any case", &[length, crc32, &sdk("crc32")], "plain 5 CRC32");
    check("type and algorithm are no values", &[length, "x-amz-checksum-type: FULL_OBJECT"], "plain 5");
    check("MD5", &[length, "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg=="], "plain 5 MD5");
    check("bad MD5", &[length, "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCf"], "InvalidDigest");
    check("empty MD5", &[length, "Content-MD5:"], "InvalidDigest");
    let several = "InvalidRequest Expecting a single x-amz-checksum- header. Multiple checksum Types";
    check("two headers", &[length, crc32, sha1], several);
    check("one header twice", &[length, crc32, crc32], several);
    let trailer = "x-amz-trailer: x-amz-checksum-crc32,x-amz-checksum-sha1";
    check("two trailers", &[length, UNSIGNED, trailer], several);
    let trailer = "x-amz-trailer: x-amz-checksum-crc32";
    let single = "InvalidRequest Expecting a single x-amz-checksum- header";
    check("header and trailer", &[length, UNSIGNED, crc32, trailer], single);
    let unsupported = "InvalidRequest The value specified in the x-amz-trailer header is not supported";
    check("a trailer that is no checksum", &[length, UNSIGNED, "x-amz-trailer: x-amz-meta-a"], unsupported);
    let value = "InvalidRequest Value for x-amz-checksum-crc32 header is invalid.";
    check("bad value", &[length, "x-amz-checksum-crc32: y/Q5Jg"], value);
    check("composite value", &[length, "x-amz-checksum-crc32: y/Q5Jg==-2"], value);
    check("unknown algorithm", &[length, "x-amz-checksum-md4: AA=="], "InvalidRequest The algorithm type");
    let sdk_invalid = "InvalidRequest Value for x-amz-sdk-checksum-algorithm header is invalid.";
    check("another algorithm", &[length, crc32, &sdk("SHA1")], sdk_invalid);
    check(
        "algorithm alone",
        &[length, &sdk("SHA1")],
        "InvalidRequest x-amz-sdk-checksum-algorithm specified, but",
    );
    let completion = payload(&[length, crc32, sha1], Purpose::Completion).unwrap();
    assert_eq!(completion.wanted(), Wanted::NONE);
}

/// Verifies the body `123456789` with the given digests computed beside the wanted ones.
fn verify(
    headers: &[&str],
    received: u64,
    signed: Option<[u8; 32]>,
    trailer: Trailer,
) -> Result<String, String> {
    let payload = payload(headers, Purpose::Object).unwrap();
    let wanted = if signed.is_some() { payload.wanted().with(Kind::Sha256) } else { payload.wanted() };
    let mut stream = Stream::new(wanted);
    stream.update(b"123456789");
    let verified = payload.verify(&stream.finish(), received, signed, &trailer);
    verified
        .map(|checksum| format!("{checksum:?}"))
        .map_err(|error| format!("{} {} {:?}", error.code().wire(), error.message(), error.elements()))
}

#[test]
fn what_was_received_is_what_was_said() {
    let length = "Content-Length: 9";
    let plain = |header: &str| verify(&[length, header], 9, None, Trailer::default());
    assert_eq!(plain("x-amz-meta-a: 1").unwrap(), "None");
    assert_eq!(plain("Content-MD5: JfnnlDI7RTiF9RgfG2JNCw==").unwrap(), "None");
    assert_eq!(plain("x-amz-checksum-crc32: y/Q5Jg==").unwrap(), "Some(CRC32:y/Q5Jg==)");
    let error = plain("x-amz-checksum-crc32: y/Q5Jw==").unwrap_err();
    assert!(error.starts_with("BadDigest The CRC32 you specified did not match the calculated"), "{error}");
    let error = plain("Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==").unwrap_err();
    assert!(error.starts_with("BadDigest The Content-MD5 you specified did not match"), "{error}");
    assert!(error.contains("JfnnlDI7RTiF9RgfG2JNCw=="), "{error}");
    let error = verify(&[length], 8, None, Trailer::default()).unwrap_err();
    assert!(error.starts_with("IncompleteBody"), "{error}");
    let error = verify(&[length], 9, Some([7; 32]), Trailer::default()).unwrap_err();
    assert!(error.starts_with("XAmzContentSHA256Mismatch"), "{error}");
    assert!(error.contains("15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"), "{error}");
}

#[test]
fn trailers_are_compared_and_never_skipped() {
    let headers = ["Transfer-Encoding: chunked", UNSIGNED, "x-amz-trailer: x-amz-checksum-crc32"];
    let trailer = |text: &str| Trailer {
        checksum: Some(Checksum::parse(Algorithm::Crc32, text).unwrap()),
        ..Trailer::default()
    };
    assert_eq!(verify(&headers, 9, None, trailer("y/Q5Jg==")).unwrap(), "Some(CRC32:y/Q5Jg==)");
    assert!(verify(&headers, 9, None, trailer("y/Q5Jw==")).unwrap_err().starts_with("BadDigest The CRC32"));
    assert!(verify(&headers, 9, None, Trailer::default()).unwrap_err().starts_with("MalformedTrailerError"));
    let payload =
        payload(&["Content-Length: 9", "Content-MD5: JfnnlDI7RTiF9RgfG2JNCw=="], Purpose::Object).unwrap();
    let verified = payload.verify(&Digests::default(), 9, None, &Trailer::default());
    assert_eq!(verified.unwrap_err().code(), Code::InternalError);
}

#[test]
fn wanted_digests() {
    let decoded = "x-amz-decoded-content-length: 5";
    let headers = ["Content-Length: 300", SIGNED_TRAILER, decoded, "x-amz-trailer: x-amz-checksum-sha256"];
    let wanted = payload(&headers, Purpose::Object).unwrap().wanted();
    assert_eq!(wanted, Wanted::NONE.with(Kind::ChunkSha256).with(Kind::Sha256));
}
