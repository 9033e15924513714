//! Bodies through receives that are laid out around their framing: whatever the chunks are and wherever a receive ends,
//! they decode as they do in one piece.
//! That the socket puts pieces aside is tested beside the engines, and whole requests in `tests/s3`.

use proptest::prelude::*;

use super::*;
use crate::s3::aws_chunked::{AwsChunked, Signatures};

const BLOCK_BYTES: usize = 64 * 1024;

fn encode(chunks: &[Vec<u8>], head: impl Fn(usize) -> String) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in chunks {
        wire.extend_from_slice(head(chunk.len()).as_bytes());
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

/// What a body decodes to, and how many receives went around framing, when receives end where `ends` says.
fn decode(wire: &[u8], decoded_bytes: usize, ends: &[usize]) -> Result<(Vec<u8>, usize), S3Error> {
    let coding = Coding::AwsChunked(AwsChunked { signatures: Signatures::Unsigned, trailer: None });
    let payload =
        Payload { coding, decoded_bytes: Some(decoded_bytes as u64), content_md5: None, checksum: None };
    let mut inspection = Inspection::new(&payload, PayloadAuth::Unsigned, Wanted::NONE);
    let (mut decoded, mut around) = (Vec::new(), 0);
    let (mut at, mut ends) = (0, ends.iter().cycle());
    while at < wire.len() {
        let mut block = vec![0xA5; BLOCK_BYTES];
        let (mut filled, enough) = (0, BLOCK_BYTES - ALIGNMENT);
        while filled < enough && at < wire.len() {
            let most = ends.next().copied().unwrap_or(usize::MAX).min(wire.len() - at);
            if let Some((bytes, mut aside)) = inspection.lay_out(enough - filled, wire.len() - at) {
                around += 1;
                let arrived = most.min(bytes + aside.bytes().len());
                aside.fill(&mut block[filled..filled + bytes], &wire[at..at + arrived]);
                filled += inspection.take_around(&mut block[filled..], arrived, aside)?;
                at += arrived;
            } else {
                let arrived = most.min(BLOCK_BYTES - filled);
                block[filled..filled + arrived].copy_from_slice(&wire[at..at + arrived]);
                filled += inspection.take(&mut block[filled..filled + arrived])?;
                at += arrived;
            }
        }
        decoded.extend_from_slice(&block[..filled]);
    }
    inspection.finish()?;
    Ok((decoded, around))
}

fn chunk(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 251 + at + number) as u8).collect()
}

#[test]
fn chunks_of_one_length_go_around_their_framing() {
    let chunks: Vec<_> = (0..20).map(|number| chunk(number, 16 * 1024)).chain([chunk(99, 5)]).collect();
    let (wire, whole) = (encode(&chunks, |bytes| format!("{bytes:x}")), chunks.concat());
    let (decoded, around) = decode(&wire, whole.len(), &[]).unwrap();
    assert!(decoded == whole);
    assert!(around >= 5, "{around} receives");
}

#[test]
fn framing_that_is_not_as_expected_is_read_all_the_same() {
    let sizes = |sizes: &[usize]| sizes.iter().map(|bytes| chunk(1, *bytes)).collect::<Vec<_>>();
    let rows: [(&str, Vec<Vec<u8>>); 4] = [
        ("a shorter one", sizes(&[16384, 16384, 16383, 16384, 16384])),
        ("one with fewer digits", sizes(&[16384, 16384, 100, 16384, 16384, 16384])),
        ("one with more digits", sizes(&[16384, 16384, 70000, 16384, 16384])),
        ("very short ones", sizes(&[16384, 16384, 1, 1, 1, 16384])),
    ];
    for (name, chunks) in rows {
        let whole = chunks.concat();
        for head in [|bytes: usize| format!("{bytes:x}"), |bytes: usize| format!("{bytes:08X}")] {
            let wire = encode(&chunks, head);
            for ends in [vec![], vec![7], vec![16389], vec![60000, 1]] {
                let (decoded, _) = decode(&wire, whole.len(), &ends).unwrap();
                assert!(decoded == whole, "{name} with receives of {ends:?}");
            }
        }
    }
}

#[test]
fn broken_framing_is_refused_where_it_was_expected() {
    let chunks: Vec<_> = (0..6).map(|number| chunk(number, 16384)).collect();
    let wire = encode(&chunks, |bytes| format!("{bytes:x}"));
    // The framing between the third chunk and the fourth.
    let framing = 3 * (4 + 2 + 16384 + 2) - 2;
    for at in framing..framing + 8 {
        let mut broken = wire.clone();
        broken[at] = b'!';
        assert!(decode(&broken, 6 * 16384, &[]).is_err(), "byte {} of the framing", at - framing);
    }
}

proptest! {
    #[test]
    fn receives_may_end_anywhere(
        sizes in proptest::collection::vec(prop_oneof![Just(8192_usize), Just(20000), 1_usize..70_000], 1..12),
        ends in proptest::collection::vec(prop_oneof![1_usize..20, 1_usize..70_000], 0..8),
    ) {
        let chunks: Vec<_> = sizes.iter().enumerate().map(|(number, bytes)| chunk(number, *bytes)).collect();
        let (wire, whole) = (encode(&chunks, |bytes| format!("{bytes:x}")), chunks.concat());
        let (decoded, _) = decode(&wire, whole.len(), &ends).unwrap();
        prop_assert!(decoded == whole);
    }
}
