//! Bodies through the decoder: what is taken, what is refused, and that cuts change nothing.
//! The trailer's own table is at the foot of trailer.rs; here it is only carried.
//! Source: S3 API reference, the example of "Transferring Payload in Multiple Chunks".

use proptest::prelude::*;

use super::decoder::Decoder;
use super::trailer::Trailer;
use super::{AwsChunked, AwsChunkedError, Signatures};
use crate::s3::checksum::Algorithm;

const SIGNED: AwsChunked = AwsChunked { signatures: Signatures::Signed, trailer: None };
const UNSIGNED: AwsChunked = AwsChunked { signatures: Signatures::Unsigned, trailer: None };
const TRAILED: AwsChunked = AwsChunked { signatures: Signatures::Signed, trailer: Some(Algorithm::Crc32c) };

type Outcome = Result<(Vec<u8>, Vec<(usize, [u8; 64])>, Trailer), AwsChunkedError>;

/// Decodes pieces; marks come out relative to the whole payload.
fn run(framing: AwsChunked, announced: Option<u64>, pieces: &[&[u8]]) -> Outcome {
    let mut decoder = Decoder::new(framing, announced);
    let (mut payload, mut marks) = (Vec::new(), Vec::new());
    for piece in pieces {
        let (mut bytes, mut new) = (piece.to_vec(), Vec::new());
        let produced = decoder.decode(&mut bytes, &mut new)?;
        marks.extend(new.iter().map(|mark| (payload.len() + mark.end_bytes, mark.signature)));
        payload.extend_from_slice(&bytes[..produced]);
    }
    Ok((payload, marks, decoder.finish()?))
}

fn signature_of(number: usize) -> String {
    format!("{number:064x}")
}

/// A body of these chunks; chunk n is signed with the number n.
fn encode(framing: AwsChunked, chunks: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, chunk) in chunks.iter().chain([&&b""[..]]).enumerate() {
        body.extend(format!("{:x}", chunk.len()).bytes());
        if framing.signatures == Signatures::Signed {
            body.extend(format!(";chunk-signature={}", signature_of(number)).bytes());
        }
        body.extend(b"\r\n");
        body.extend(*chunk);
        if !chunk.is_empty() {
            body.extend(b"\r\n");
        }
    }
    if framing.trailer.is_some() {
        let signature = signature_of(99);
        body.extend(b"x-amz-checksum-crc32c:sOO8/Q==\r\n");
        body.extend(format!("x-amz-trailer-signature:{signature}\r\n").bytes());
    }
    body.extend(b"\r\n");
    body
}

fn check(name: &str, framing: AwsChunked, announced: u64, body: &[u8], want: Result<&[u8], AwsChunkedError>) {
    let got = run(framing, Some(announced), &[body]).map(|(payload, _, _)| payload);
    assert_eq!(got.as_deref().map_err(|error| *error), want, "{name}");
}

/// The end of one chunk and the head of the next, as they are when the next is like the last, and all they may not be.
#[test]
fn only_framing_like_the_last_is_taken_apart() {
    let signature = signature_of(7);
    let rows = [
        ("the same", UNSIGNED, "5", "\r\n5\r\n".to_owned(), Ok(true)),
        ("shorter", UNSIGNED, "5", "\r\n4\r\n".to_owned(), Ok(false)),
        ("cut", UNSIGNED, "5", "\r\n5\r".to_owned(), Ok(false)),
        ("no line end", UNSIGNED, "5", "..5\r\n".to_owned(), Ok(false)),
        (
            "beyond the announced length",
            UNSIGNED,
            "5",
            "\r\n5\r\n".to_owned(),
            Err(AwsChunkedError::DecodedLength),
        ),
        ("the same, signed", SIGNED, "5", format!("\r\n5;chunk-signature={signature}\r\n"), Ok(true)),
        // A head of its own and the first two bytes of its chunk.
        ("fewer zeros", SIGNED, "005", format!("\r\n5;chunk-signature={signature}\r\n\r\n"), Ok(false)),
        (
            "no signature",
            SIGNED,
            "5",
            format!("\r\n5;chunk-signature={}\r\n", "x".repeat(64)),
            Err(AwsChunkedError::ChunkHead),
        ),
    ];
    for (name, coding, digits, framing, want) in rows {
        let extension = match coding.signatures {
            Signatures::Signed => format!(";chunk-signature={signature}"),
            Signatures::Unsigned => String::new(),
        };
        let announced = if want == Err(AwsChunkedError::DecodedLength) { 5 } else { 10 };
        let mut decoder = Decoder::new(coding, Some(announced));
        let mut first = format!("{digits}{extension}\r\nhello").into_bytes();
        assert_eq!(decoder.decode(&mut first, &mut Vec::new()), Ok(5), "{name}");
        assert_eq!(decoder.take_expected(framing.as_bytes()), want, "{name}");
    }
}

#[test]
fn unsigned_bodies() {
    use AwsChunkedError as E;
    check("one chunk", UNSIGNED, 5, b"5\r\nhello\r\n0\r\n\r\n", Ok(b"hello"));
    check(
        "two chunks, capitals and zeros",
        UNSIGNED,
        11,
        b"00A\r\nhelloworld\r\n1\r\n!\r\n0\r\n\r\n",
        Ok(b"helloworld!"),
    );
    check("empty", UNSIGNED, 0, b"0\r\n\r\n", Ok(b""));
    check("last CRLF missing", UNSIGNED, 0, b"0\r\n", Ok(b""));
    check("nothing", UNSIGNED, 0, b"", Err(E::Truncated));
    check("ends in a head", UNSIGNED, 5, b"5", Err(E::Truncated));
    check("ends in a chunk", UNSIGNED, 5, b"5\r\nhell", Err(E::Truncated));
    check("ends after a chunk", UNSIGNED, 5, b"5\r\nhello\r\n", Err(E::Truncated));
    check("short of the announced length", UNSIGNED, 6, b"5\r\nhello\r\n0\r\n\r\n", Err(E::DecodedLength));
    check("over the announced length", UNSIGNED, 4, b"5\r\nhello\r\n0\r\n\r\n", Err(E::DecodedLength));
    check("bytes after the last chunk", UNSIGNED, 0, b"0\r\n\r\n5\r\nhello\r\n", Err(E::TrailerLine));
    check("a third empty line", UNSIGNED, 0, b"0\r\n\r\n\r\n\r\n", Err(E::AfterLast));
    check("chunk longer than its size", UNSIGNED, 4, b"4\r\nhello\r\n0\r\n\r\n", Err(E::ChunkEnd));
    check("CR without LF after a chunk", UNSIGNED, 4, b"4\r\nhell\r0\r\n\r\n", Err(E::ChunkEnd));
    check("bare LF after a size", UNSIGNED, 4, b"4\nhell\r\n0\r\n\r\n", Err(E::ChunkHead));
    check("no digit", UNSIGNED, 4, b"\r\nhell\r\n", Err(E::ChunkHead));
    check("sign", UNSIGNED, 4, b"+4\r\nhell\r\n", Err(E::ChunkHead));
    check("seventeen digits", UNSIGNED, 4, b"00000000000000004\r\nhell\r\n", Err(E::ChunkHead));
    check("an extension", UNSIGNED, 4, b"4;a=b\r\nhell\r\n", Err(E::ChunkHead));
    check("endless head", UNSIGNED, 4, &[b'0'; 4096], Err(E::ChunkHead));
    check(
        "sizes beyond 64 bits",
        UNSIGNED,
        u64::MAX,
        b"1\r\nx\r\nffffffffffffffff\r\n",
        Err(E::DecodedLength),
    );
    check("endless tail", UNSIGNED, 0, &[b"0\r\n".as_slice(), &[b'a'; 2000]].concat(), Err(E::TrailerLine));
}

#[test]
fn signed_heads() {
    use AwsChunkedError as E;
    let head = |size: &str, signature: &str| format!("{size};chunk-signature={signature}\r\n").into_bytes();
    let good = signature_of(7);
    check("over the bound", SIGNED, u64::MAX, &head("1000001", &good), Err(E::ChunkTooLarge));
    check("at the bound", SIGNED, u64::MAX, &head("1000000", &good), Err(E::Truncated));
    check("63 digits", SIGNED, 4, &head("4", &good[1..]), Err(E::ChunkHead));
    check("65 digits", SIGNED, 4, &head("4", &format!("0{good}")), Err(E::ChunkHead));
    check("no hex", SIGNED, 4, &head("4", &good.replace('7', "g")), Err(E::ChunkHead));
    check("unsigned", SIGNED, 4, b"4\r\nhell\r\n0\r\n\r\n", Err(E::ChunkHead));
    check("another extension", SIGNED, 4, b"4;chunk-checksum=0\r\n", Err(E::ChunkHead));
    check("two extensions", SIGNED, 4, &head("4", &format!("{good};a=b")), Err(E::ChunkHead));
}

/// The API reference's example: 66,560 letters in chunks of 64 KiB and 1 KiB, 66,824 bytes on the wire.
#[test]
fn example_of_the_api_reference() {
    let signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ];
    let body = [
        format!("10000;chunk-signature={}\r\n{}\r\n", signatures[0], "a".repeat(65_536)),
        format!("400;chunk-signature={}\r\n{}\r\n", signatures[1], "a".repeat(1024)),
        format!("0;chunk-signature={}\r\n\r\n", signatures[2]),
    ]
    .concat();
    assert_eq!(body.len(), 66_824);
    let (payload, marks, trailer) = run(SIGNED, Some(66_560), &[body.as_bytes()]).unwrap();
    assert_eq!(payload, "a".repeat(66_560).as_bytes());
    let want = [65_536, 66_560, 66_560].into_iter().zip(signatures);
    let want: Vec<_> = want.map(|(end, text)| (end, text.as_bytes().try_into().unwrap())).collect();
    assert_eq!(marks, want);
    assert_eq!(trailer, Trailer::default());
}

#[test]
fn a_cut_at_every_position_changes_nothing() {
    let chunks = [&b"hello"[..], b"\r\n0\r\n", &[b'x'; 300], b"!"];
    for framing in [SIGNED, UNSIGNED, TRAILED] {
        let body = encode(framing, &chunks);
        let want = run(framing, Some(311), &[&body]).unwrap();
        assert_eq!(want.0, chunks.concat());
        assert_eq!(want.1.len(), if framing == UNSIGNED { 0 } else { 5 });
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(run(framing, Some(311), &[head, tail]).as_ref(), Ok(&want), "cut at {cut}");
            let complete = tail == b"\r\n" || tail.is_empty();
            assert_eq!(run(framing, Some(311), &[head]).is_ok(), complete, "ends at {cut}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(run(framing, None, &bytes).as_ref(), Ok(&want));
    }
}

proptest! {
    #[test]
    fn random_cuts_change_nothing(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..5),
        piece_bytes in 1_usize..300,
    ) {
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let body = encode(TRAILED, &chunks);
        let pieces: Vec<&[u8]> = body.chunks(piece_bytes).collect();
        let want = run(TRAILED, None, &[&body]).unwrap();
        prop_assert_eq!(&want.0, &chunks.concat());
        prop_assert_eq!(run(TRAILED, Some(want.0.len() as u64), &pieces), Ok(want));
    }

    #[test]
    fn noise_never_panics(
        mut noise in proptest::collection::vec(prop_oneof![Just(b'0'), Just(b'\r'), Just(b'\n'), Just(b';'), any::<u8>()], 0..400),
        place in any::<proptest::sample::Index>(),
    ) {
        let _ = run(UNSIGNED, None, &[&noise]);
        let mut body = encode(TRAILED, &[b"hello", b"world"]);
        let at = place.index(body.len());
        body[at] ^= 1 | noise.pop().unwrap_or_default();
        if let Ok((payload, _, _)) = run(TRAILED, Some(10), &[&body]) {
            prop_assert_eq!(payload.len(), 10);
        }
    }
}
