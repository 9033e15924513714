//! Digests of one body: which are wanted, the stream that takes the bytes, the results.
//! A slice is walked in pieces that fit the first-level cache, and every wanted digest reads a piece before the next
//! piece is touched, so memory is read once however many digests there are.
//! It compares nothing and knows no encoding: that is `s3::checksum`'s.
//! Source: RFC 1321, FIPS 180-4, the CRC catalogue rows CRC-32/ISO-HDLC, CRC-32/ISCSI and CRC-64/NVME.

use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// A digest that a body can need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The ETag and Content-MD5.
    Md5,
    /// `x-amz-checksum-sha1`.
    Sha1,
    /// The whole body, for `x-amz-content-sha256` and `x-amz-checksum-sha256`.
    Sha256,
    /// One chunk of a signed aws-chunked body at a time; see [`Stream::end_chunk`].
    ChunkSha256,
    /// `x-amz-checksum-crc32`.
    Crc32,
    /// `x-amz-checksum-crc32c`.
    Crc32c,
    /// `x-amz-checksum-crc64nvme`.
    Crc64nvme,
}

/// The set of digests a body needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(u8);

impl Wanted {
    /// No digest at all.
    pub const NONE: Wanted = Wanted(0);

    /// This set and one digest more.
    pub const fn with(self, kind: Kind) -> Wanted {
        Wanted(self.0 | Wanted::bit(kind))
    }

    /// Whether the set holds a digest.
    pub const fn has(self, kind: Kind) -> bool {
        self.0 & Wanted::bit(kind) != 0
    }

    const fn bit(kind: Kind) -> u8 {
        1 << kind as u8
    }
}

/// The running digests of one body.
pub struct Stream {
    md5: Option<Md5>,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    chunk_sha256: Option<Sha256>,
    crc32: Option<crc_fast::Digest>,
    crc32c: Option<crc_fast::Digest>,
    crc64nvme: Option<crc_fast::Digest>,
}

/// What a stream computed: `Some` exactly where it was wanted.
/// Shape: CRCs as numbers; on the wire they are big-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// MD5 of the body.
    pub md5: Option<[u8; 16]>,
    /// SHA-1 of the body.
    pub sha1: Option<[u8; 20]>,
    /// SHA-256 of the body.
    pub sha256: Option<[u8; 32]>,
    /// CRC-32/ISO-HDLC of the body.
    pub crc32: Option<u32>,
    /// CRC-32/ISCSI of the body.
    pub crc32c: Option<u32>,
    /// CRC-64/NVME of the body.
    pub crc64nvme: Option<u64>,
}

impl Stream {
    /// Starts the wanted digests of an empty body.
    pub fn new(wanted: Wanted) -> Stream {
        let crc = |kind, algorithm| wanted.has(kind).then(|| crc_fast::Digest::new(algorithm));
        Stream {
            md5: wanted.has(Kind::Md5).then(Md5::new),
            sha1: wanted.has(Kind::Sha1).then(Sha1::new),
            sha256: wanted.has(Kind::Sha256).then(Sha256::new),
            chunk_sha256: wanted.has(Kind::ChunkSha256).then(Sha256::new),
            crc32: crc(Kind::Crc32, CrcAlgorithm::Crc32IsoHdlc),
            crc32c: crc(Kind::Crc32c, CrcAlgorithm::Crc32Iscsi),
            crc64nvme: crc(Kind::Crc64nvme, CrcAlgorithm::Crc64Nvme),
        }
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.feed(piece);
        }
    }

    fn feed(&mut self, piece: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(piece);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(piece);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(piece);
        }
        if let Some(chunk_sha256) = &mut self.chunk_sha256 {
            chunk_sha256.update(piece);
        }
        for crc in [&mut self.crc32, &mut self.crc32c, &mut self.crc64nvme].into_iter().flatten() {
            crc.update(piece);
        }
    }

    /// Ends a chunk: the SHA-256 of the bytes since the last end, and a fresh start for the next chunk.
    /// Shape: `None` unless [`Kind::ChunkSha256`] was wanted.
    pub fn end_chunk(&mut self) -> Option<[u8; 32]> {
        self.chunk_sha256.as_mut().map(|sha256| sha256.finalize_reset().into())
    }

    /// The digests of everything taken.
    pub fn finish(self) -> Digests {
        Digests {
            md5: self.md5.map(|md5| md5.finalize().into()),
            sha1: self.sha1.map(|sha1| sha1.finalize().into()),
            sha256: self.sha256.map(|sha256| sha256.finalize().into()),
            // The crate hands every CRC back in 64 bits; a 32-bit one fills the low half.
            crc32: self.crc32.map(|crc| crc.finalize() as u32),
            crc32c: self.crc32c.map(|crc| crc.finalize() as u32),
            crc64nvme: self.crc64nvme.map(|crc| crc.finalize()),
        }
    }
}

/// The CRC of two neighbouring byte ranges from the CRC of each.
/// Shape: `second_bytes` is the length of the second range; `None` where digests do not combine.
pub fn combine(kind: Kind, first: u64, second: u64, second_bytes: u64) -> Option<u64> {
    let algorithm = match kind {
        Kind::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Kind::Crc32c => CrcAlgorithm::Crc32Iscsi,
        Kind::Crc64nvme => CrcAlgorithm::Crc64Nvme,
        Kind::Md5 | Kind::Sha1 | Kind::Sha256 | Kind::ChunkSha256 => return None,
    };
    Some(crc_fast::checksum_combine(algorithm, first, second, second_bytes))
}

/// Half of a 64 KiB read at most: the smallest first-level data cache among our targets is 32 KiB, and the second
/// digest must still find there what the first one read.
const PIECE_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Wanted = Wanted::NONE
        .with(Kind::Md5)
        .with(Kind::Sha1)
        .with(Kind::Sha256)
        .with(Kind::Crc32)
        .with(Kind::Crc32c)
        .with(Kind::Crc64nvme);

    fn digests(wanted: Wanted, pieces: &[&[u8]]) -> Digests {
        let mut stream = Stream::new(wanted);
        for piece in pieces {
            stream.update(piece);
        }
        stream.finish()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Want: MD5, SHA1, SHA256, CRC32, CRC32C, CRC64NVME as the standards and the CRC catalogue print them.
    fn check(input: &[u8], want: [&str; 6]) {
        let got = digests(ALL, &[input]);
        let text = [
            hex(&got.md5.unwrap()),
            hex(&got.sha1.unwrap()),
            hex(&got.sha256.unwrap()),
            format!("{:08x}", got.crc32.unwrap()),
            format!("{:08x}", got.crc32c.unwrap()),
            format!("{:016x}", got.crc64nvme.unwrap()),
        ];
        assert_eq!(text, want, "{}", String::from_utf8_lossy(input));
    }

    #[test]
    fn published_values() {
        check(
            b"",
            [
                "d41d8cd98f00b204e9800998ecf8427e",
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "00000000",
                "00000000",
                "0000000000000000",
            ],
        );
        check(
            b"123456789",
            [
                "25f9e794323b453885f5181f1b624d0b",
                "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
                "cbf43926",
                "e3069283",
                "ae8b14860a799888",
            ],
        );
    }

    #[test]
    fn only_what_is_wanted_is_computed() {
        assert_eq!(digests(Wanted::NONE, &[b"body"]), Digests::default());
        let got = digests(Wanted::NONE.with(Kind::Crc32c), &[b"123456789"]);
        assert_eq!(got, Digests { crc32c: Some(0xe306_9283), ..Digests::default() });
        assert_eq!(Stream::new(ALL).end_chunk(), None);
    }

    #[test]
    fn chunks_are_hashed_apart_from_the_body() {
        let mut stream = Stream::new(Wanted::NONE.with(Kind::ChunkSha256).with(Kind::Sha256));
        let sha256 = |bytes: &[u8]| -> [u8; 32] { Sha256::digest(bytes).into() };
        stream.update(b"first");
        assert_eq!(stream.end_chunk(), Some(sha256(b"first")));
        stream.update(b"sec");
        stream.update(b"ond");
        assert_eq!(stream.end_chunk(), Some(sha256(b"second")));
        assert_eq!(stream.end_chunk(), Some(sha256(b"")));
        assert_eq!(stream.finish().sha256, Some(sha256(b"firstsecond")));
    }

    fn crc(kind: Kind, digests: &Digests) -> u64 {
        match kind {
            Kind::Crc32 => digests.crc32.unwrap().into(),
            Kind::Crc32c => digests.crc32c.unwrap().into(),
            _ => digests.crc64nvme.unwrap(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn cuts_change_nothing_and_crcs_combine(
            body in proptest::collection::vec(any::<u8>(), 0..3 * PIECE_BYTES),
            cut in any::<proptest::sample::Index>(),
        ) {
            let (head, tail) = body.split_at(cut.index(body.len() + 1));
            let whole = digests(ALL, &[&body]);
            prop_assert_eq!(whole, digests(ALL, &[head, tail]));
            let (first, second) = (digests(ALL, &[head]), digests(ALL, &[tail]));
            for kind in [Kind::Crc32, Kind::Crc32c, Kind::Crc64nvme] {
                let got = combine(kind, crc(kind, &first), crc(kind, &second), tail.len() as u64);
                prop_assert_eq!(got, Some(crc(kind, &whole)));
            }
            prop_assert_eq!(combine(Kind::Sha1, 0, 0, 1), None);
        }
    }
}
