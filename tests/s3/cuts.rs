//! A request that arrives in two pieces, cut at every byte: the same object each time. Of long chunks, whose framing is
//! received aside, every byte of framing is a cut.
//!
//! The second piece is sent when the core has looked at the first, so that each cut is seen as one. Three bodies are cut:
//! signed chunks with a signed trailer, plain chunks of HTTP around unsigned ones with a trailer, and a plain body.

use ringway::server::setting::{Durability, EngineChoice};

use crate::fixture::{Fixture, on_both_engines};
use crate::request::{Coding, Request, Signed, etag};

const BYTES: &[u8] = b"The quick brown fox jumps over the lazy dog, twice: once for each engine.";

/// Puts the object once for each place at which the request can be cut.
fn check(fixture: &Fixture, name: &str, signed: &Signed) {
    check_cuts(fixture, (name, BYTES), signed, 1..signed.bytes().len());
}

fn check_cuts(
    fixture: &Fixture,
    (name, bytes): (&str, &[u8]),
    signed: &Signed,
    cuts: impl Iterator<Item = usize>,
) {
    let request = signed.bytes();
    let mut connection = fixture.connect();
    for cut in cuts {
        connection.write(&request[..cut]);
        fixture.let_core_turn();
        connection.write(&request[cut..]);
        let answer = connection.answer_to(&request);
        assert_eq!(answer.status, 200, "{name} cut at {cut}: {answer}");
        assert_eq!(answer.header("etag"), Some(etag(bytes).as_str()), "{name} cut at {cut}");
        let path = fixture.path("cut");
        let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{name} cut at {cut}: {error}"));
        assert_eq!(
            stored.escape_ascii().to_string(),
            bytes.escape_ascii().to_string(),
            "{name} cut at {cut}"
        );
        // The next object must not be this one.
        std::fs::remove_file(&path).expect("the object is a file");
    }
}

fn chunked_by_http(request: Request) -> Signed {
    let signed = request.header("transfer-encoding", "chunked").signed();
    let (first, second) = signed.body.split_at(signed.body.len() / 3);
    let mut body = Vec::new();
    for chunk in [first, second] {
        body.extend(format!("{:x};name=value\r\n", chunk.len()).bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\nx-ignored: 1\r\n\r\n");
    Signed { head: signed.head, body }
}

fn check_all(engine: EngineChoice) {
    // What is cut is the way in; promises about power cuts would only make it slow.
    let fixture = Fixture::start_with(engine, Durability::None);
    let put = Request::put("cut").body(BYTES);
    check(&fixture, "signed chunks with a trailer", &put.clone().coding(Coding::SignedTrailer(32)).signed());
    check(&fixture, "chunks in chunks", &chunked_by_http(put.clone().coding(Coding::UnsignedTrailer(32))));
    check(&fixture, "a plain body", &put.coding(Coding::Sha256).signed());
    fixture.expect_blocks_back("after all cuts");
}

#[test]
fn a_request_cut_at_every_byte_makes_the_same_object() {
    on_both_engines(check_all);
}

const CHUNK_BYTES: usize = 9_000;

/// Cuts at the framing of the second, the fourth and the last chunks, and a little before and behind it.
fn check_long_chunks(engine: EngineChoice) {
    let fixture = Fixture::start_with(engine, Durability::None);
    let bytes: Vec<u8> = (0..5 * CHUNK_BYTES + 100).map(|at| b' ' + (at % 89) as u8).collect();
    for (name, coding) in [
        ("long signed chunks", Coding::SignedTrailer(CHUNK_BYTES)),
        ("long unsigned chunks", Coding::UnsignedTrailer(CHUNK_BYTES)),
    ] {
        let signed = Request::put("cut").body(&bytes).coding(coding).signed();
        let first_head = signed.body.iter().position(|byte| *byte == b'\n').expect("a chunk has a head") + 1;
        let framing = first_head + 2;
        let body = signed.bytes().len() - signed.body.len();
        let cuts = [1, 3, 5].into_iter().flat_map(|number| {
            let start = body + first_head - 2 + number * (CHUNK_BYTES + framing) - framing;
            start..start + framing + 6
        });
        check_cuts(&fixture, (name, &bytes), &signed, cuts);
    }
    fixture.expect_blocks_back("after all cuts");
}

#[test]
fn long_chunks_cut_at_their_framing_make_the_same_object() {
    on_both_engines(check_long_chunks);
}
