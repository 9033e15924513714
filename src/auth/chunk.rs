//! Signatures of the chunks and the trailer of a streamed body: each covers the one before, from the head's on.
//! It sees hashes and signatures, never bytes: aws_chunked.rs finds the chunks, the digests hash them, and nothing of
//! a body counts until `finish` has said that its last chunk, and its trailer where there is one, were signed.
//! Source: Signature Version 4 for S3, "Signature calculations for the authorization header: chunked upload".

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::amz_date::AmzDate;
use super::canonical::{hex, parse_hex};
use super::scope::Scope;
use super::signing_key::{Comparison, Signature, SigningKey};
use crate::s3::error::{Code, S3Error};

/// Verifies the chunk signatures of one body, in order.
///
/// Boxed, because two prepared HMACs would make every request's authentication as large as a streamed one's.
pub struct ChunkSigner(Box<Verifier>);

struct Verifier {
    chain: Chain,
    trailer: TrailerRule,
    stage: Stage,
}

/// Whether a signed trailer ends the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerRule {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: the empty chunk ends it.
    None,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: a signed trailer follows the empty chunk.
    Signed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// More chunks may come.
    Chunks,
    /// The empty chunk was verified.
    LastChunk,
    /// The trailer was verified.
    Trailer,
    /// A signature was wrong: nothing is right any more.
    Failed,
}

impl ChunkSigner {
    pub(super) fn new(chain: Chain, trailer: TrailerRule) -> Self {
        Self(Box::new(Verifier { chain, trailer, stage: Stage::Chunks }))
    }

    /// Whether a signed trailer must follow the last chunk.
    pub fn trailer(&self) -> TrailerRule {
        self.0.trailer
    }

    /// Verifies the next chunk; the empty one is the last.
    ///
    /// Shape: SHA-256 of the chunk's payload; the signature as sent, 64 lower-case hex digits.
    /// Errors: SignatureDoesNotMatch, and for every later call too.
    pub fn verify_chunk(&mut self, sha256_of_chunk: [u8; 32], signature_hex: &[u8]) -> Result<(), S3Error> {
        let next = if sha256_of_chunk == EMPTY_SHA256 { Stage::LastChunk } else { Stage::Chunks };
        let computed = self.0.chain.chunk(&sha256_of_chunk);
        self.step(Stage::Chunks, next, &computed, signature_hex)
    }

    /// Verifies the trailer, after the last chunk.
    ///
    /// Shape: SHA-256 of the trailer lines as `name:value\n` each, lower-case names, without the signature's line.
    /// Errors: SignatureDoesNotMatch, and for every later call too.
    pub fn verify_trailer(
        &mut self,
        sha256_of_trailer: [u8; 32],
        signature_hex: &[u8],
    ) -> Result<(), S3Error> {
        let computed = self.0.chain.trailer(&sha256_of_trailer);
        let expected = match self.0.trailer {
            TrailerRule::Signed => Stage::LastChunk,
            TrailerRule::None => Stage::Failed,
        };
        self.step(expected, Stage::Trailer, &computed, signature_hex)
    }

    /// Says whether every signature that the body needs was there and right.
    ///
    /// Errors: SignatureDoesNotMatch.
    pub fn finish(self) -> Result<(), S3Error> {
        match (self.0.stage, self.0.trailer) {
            (Stage::LastChunk, TrailerRule::None) | (Stage::Trailer, TrailerRule::Signed) => Ok(()),
            (Stage::Chunks | Stage::LastChunk | Stage::Trailer | Stage::Failed, _) => Err(mismatch()),
        }
    }

    fn step(
        &mut self,
        expected: Stage,
        next: Stage,
        computed: &Signature,
        signature_hex: &[u8],
    ) -> Result<(), S3Error> {
        let comparison = computed.compare(parse_hex(signature_hex).as_ref());
        let in_order = self.0.stage == expected && self.0.stage != Stage::Failed;
        match comparison {
            Comparison::Equal if in_order => {
                self.0.chain.advance(computed);
                self.0.stage = next;
                Ok(())
            }
            Comparison::Equal | Comparison::Different => {
                self.0.stage = Stage::Failed;
                Err(mismatch())
            }
        }
    }
}

fn mismatch() -> S3Error {
    S3Error::new(Code::SignatureDoesNotMatch)
}

/// The signatures of one body as they follow from each other; the server's and the signer's side share it.
pub(super) struct Chain {
    previous: [u8; 64],
    /// With everything hashed that is the same for all chunks.
    chunk_start: Hmac<Sha256>,
    trailer_start: Hmac<Sha256>,
}

impl Chain {
    /// Begins with the signature of the head.
    pub(super) fn new(key: &SigningKey, date: &AmzDate, scope: &Scope<'_>, seed: &Signature) -> Self {
        let start = |algorithm: &[u8]| {
            let mut code = key.start();
            let mut sink = |piece: &[u8]| code.update(piece);
            sink(algorithm);
            sink(b"\n");
            sink(date.text().as_bytes());
            sink(b"\n");
            scope.write_to(&mut sink);
            sink(b"\n");
            code
        };
        Self {
            previous: hex(seed.bytes()),
            chunk_start: start(b"AWS4-HMAC-SHA256-PAYLOAD"),
            trailer_start: start(b"AWS4-HMAC-SHA256-TRAILER"),
        }
    }

    pub(super) fn chunk(&self, sha256_of_chunk: &[u8; 32]) -> Signature {
        let mut code = self.chunk_start.clone();
        code.update(&self.previous);
        code.update(b"\n");
        // The hash of the chunk's headers, of which there are none.
        code.update(&hex(&EMPTY_SHA256));
        code.update(b"\n");
        code.update(&hex(sha256_of_chunk));
        Signature::of(code)
    }

    pub(super) fn trailer(&self, sha256_of_trailer: &[u8; 32]) -> Signature {
        let mut code = self.trailer_start.clone();
        code.update(&self.previous);
        code.update(b"\n");
        code.update(&hex(sha256_of_trailer));
        Signature::of(code)
    }

    pub(super) fn advance(&mut self, signature: &Signature) {
        self.previous = hex(signature.bytes());
    }
}

/// SHA-256 of no bytes.
const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

#[cfg(test)]
mod tests {
    use super::super::credential::Secret;
    use super::*;
    use sha2::Digest;

    /// Both ends of one body: the chain that signs and the signer that verifies.
    fn ends(trailer: TrailerRule) -> (Chain, ChunkSigner) {
        let date = AmzDate::of_unix(1_369_353_600);
        let scope = Scope { day: date.day(), region: "us-east-1" };
        let key = SigningKey::derive(&Secret::new("secret".to_owned()), &scope);
        let seed = key.sign(|sink| sink(b"seed"));
        let chain = || Chain::new(&key, &date, &scope, &seed);
        (chain(), ChunkSigner::new(chain(), trailer))
    }

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(bytes).into()
    }

    /// What happens to a body: chunks as their payload, `T` before a trailer's text.
    fn check(name: &str, trailer: TrailerRule, signed: &[&str], sent: &[&str], want: Result<(), usize>) {
        let (mut chain, mut signer) = ends(trailer);
        let mut signatures = Vec::new();
        for piece in signed {
            let signature = match piece.strip_prefix('T') {
                Some(lines) => chain.trailer(&sha256(lines.as_bytes())),
                None => chain.chunk(&sha256(piece.as_bytes())),
            };
            chain.advance(&signature);
            signatures.push(hex(signature.bytes()));
        }
        let refused = sent.iter().zip(&signatures).position(|(piece, signature)| {
            match piece.strip_prefix('T') {
                Some(lines) => signer.verify_trailer(sha256(lines.as_bytes()), signature),
                None => signer.verify_chunk(sha256(piece.as_bytes()), signature),
            }
            .is_err()
        });
        let got = match refused {
            Some(index) => Err(index),
            None => signer.finish().map_err(|_| sent.len()),
        };
        assert_eq!(got, want, "{name}");
    }

    #[test]
    fn bodies() {
        let (none, signed) = (TrailerRule::None, TrailerRule::Signed);
        check("empty", none, &[""], &[""], Ok(()));
        check("three chunks", none, &["a", "b", ""], &["a", "b", ""], Ok(()));
        check("trailer", signed, &["a", "", "Tx:y\n"], &["a", "", "Tx:y\n"], Ok(()));
        check("nothing", none, &[], &[], Err(0));
        check("no last chunk", none, &["a"], &["a"], Err(1));
        check("no trailer", signed, &["a", ""], &["a", ""], Err(2));
        check("trailer nobody announced", none, &["", "Tx:y\n"], &["", "Tx:y\n"], Err(1));
        check("trailer before the last chunk", signed, &["a", "Tx:y\n"], &["a", "Tx:y\n"], Err(1));
        check("chunk after the last", none, &["", "a"], &["", "a"], Err(1));
        check("last chunk twice", none, &["", ""], &["", ""], Err(1));
        check("other payload", none, &["a", "b", ""], &["a", "c", ""], Err(1));
        check("swapped", none, &["a", "b", ""], &["b", "a", ""], Err(0));
        check("cut short", none, &["a", "b", ""], &["a", "", ""], Err(1));
        check("other trailer", signed, &["", "Tx:y\n"], &["", "Tx:z\n"], Err(1));
    }

    #[test]
    fn every_bit_of_a_signature_counts_and_a_failure_stays() {
        for bit in 0..64 * 8 {
            let (chain, mut signer) = ends(TrailerRule::None);
            let right = hex(chain.chunk(&EMPTY_SHA256).bytes());
            let mut wrong = right;
            wrong[bit / 8] ^= 1 << (bit % 8);
            let error = signer.verify_chunk(EMPTY_SHA256, &wrong).unwrap_err();
            assert_eq!(error.code(), Code::SignatureDoesNotMatch, "bit {bit}");
            assert!(signer.verify_chunk(EMPTY_SHA256, &right).is_err(), "bit {bit}");
            assert!(signer.finish().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn signatures_of_other_lengths_are_refused() {
        let (chain, _) = ends(TrailerRule::None);
        let right = hex(chain.chunk(&EMPTY_SHA256).bytes());
        for wrong in [&b""[..], &right[..63], &[right.as_slice(), b"0"].concat()] {
            assert!(ends(TrailerRule::None).1.verify_chunk(EMPTY_SHA256, wrong).is_err());
        }
    }
}
