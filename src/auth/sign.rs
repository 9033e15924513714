//! The client's side of Signature Version 4: signs heads, URLs and chunks. `ringway bench` calls servers with it.
//! It shares the canonical request and the key derivation with the server's side, and nothing of the verification.
//! One signer is good for one moment: its key and date are prepared once and used for as many requests as follow.
//! Source: Signature Version 4 for S3.

use super::amz_date::AmzDate;
use super::canonical::{ALGORITHM, CanonicalRequest, hex, sort_query, write_string_to_sign};
use super::chunk::Chain;
use super::claim::CONTENT_SHA256;
use super::credential::Secret;
use super::payload_mode::{PayloadMode, UNSIGNED_PAYLOAD};
use super::presigned;
use super::scope::{SERVICE, Scope, TERMINATOR};
use super::signing_key::{Signature, SigningKey};
use crate::http::percent::{Slash, encode_into};

/// Signs requests of one access key, in one region, at one moment.
pub struct Signer {
    access_key_id: String,
    region: String,
    date: AmzDate,
    key: SigningKey,
}

/// A request to be signed.
///
/// Shape: path and query decoded; `headers` hold `host` and every header to be signed, with values as they are sent.
pub struct ToSign<'a> {
    /// `GET`, `PUT`, ...
    pub method: &'a str,
    /// Decoded, with its leading slash.
    pub path: &'a [u8],
    /// Decoded names and values, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// Names in any case, without `x-amz-date` and `x-amz-content-sha256`, which the signer adds.
    pub headers: &'a [(&'a str, &'a str)],
}

/// The signature of one head: what its three headers hold.
pub struct SignedHead {
    /// The value of `Authorization`.
    pub authorization: String,
    /// The value of `x-amz-date`.
    pub amz_date: String,
    /// The value of `x-amz-content-sha256`.
    pub content_sha256: String,
    seed: Signature,
}

/// Signs the chunks of one streamed body, in order.
pub struct ChunkSignatures(Chain);

impl Signer {
    /// Prepares a signer. Units: seconds since 1970.
    pub fn new(access_key_id: &str, secret: &Secret, region: &str, unix_s: i64) -> Self {
        let date = AmzDate::of_unix(unix_s);
        let key = SigningKey::derive(secret, &Scope { day: date.day(), region });
        Self { access_key_id: access_key_id.to_owned(), region: region.to_owned(), date, key }
    }

    /// Signs a head for the Authorization header. The request must be sent with the three headers returned.
    pub fn sign(&self, request: &ToSign<'_>, payload: &PayloadMode) -> SignedHead {
        let content_sha256 = payload.text().into_owned();
        let mut headers = headers_of(request);
        headers.push((CONTENT_SHA256, content_sha256.as_bytes()));
        headers.push(("x-amz-date", self.date.text().as_bytes()));
        let signed_headers = names_of(&headers);
        let mut query = request.query.to_vec();
        sort_query(&mut query);
        let seed = self.signature(&CanonicalRequest {
            method: request.method,
            path: request.path,
            query: &query,
            headers: &headers,
            signed_headers: &signed_headers,
            payload: &content_sha256,
        });
        let authorization = format!(
            "{ALGORITHM} Credential={},SignedHeaders={signed_headers},Signature={}",
            self.credential(),
            text(&seed)
        );
        SignedHead { authorization, amz_date: self.date.text().to_owned(), content_sha256, seed }
    }

    /// Signs a URL and returns its path and query, encoded and ready for a request line or to follow `http://HOST`.
    ///
    /// Shape: every header of the request must be sent with the values signed. Units: seconds, 1 to 604800.
    pub fn presign(&self, request: &ToSign<'_>, expires_s: u32) -> String {
        let headers = headers_of(request);
        let signed_headers = names_of(&headers);
        let (credential, expires) = (self.credential(), expires_s.to_string());
        let mut query = request.query.to_vec();
        query.extend([
            (presigned::ALGORITHM_NAME, ALGORITHM),
            (presigned::CREDENTIAL_NAME, &credential),
            (presigned::DATE_NAME, self.date.text()),
            (presigned::EXPIRES_NAME, &expires),
            (presigned::SIGNED_HEADERS_NAME, &signed_headers),
        ]);
        sort_query(&mut query);
        let signature = self.signature(&CanonicalRequest {
            method: request.method,
            path: request.path,
            query: &query,
            headers: &headers,
            signed_headers: &signed_headers,
            payload: UNSIGNED_PAYLOAD,
        });
        let signature = text(&signature);
        query.push((presigned::SIGNATURE_NAME, &signature));
        target(request.path, &query)
    }

    /// Begins the chunk signatures of a body whose head was signed as a streamed one.
    pub fn chunks(&self, head: &SignedHead) -> ChunkSignatures {
        ChunkSignatures(Chain::new(&self.key, &self.date, &self.scope(), &head.seed))
    }

    fn signature(&self, request: &CanonicalRequest<'_>) -> Signature {
        let request_sha256 = request.sha256();
        self.key.sign(|mut sink| write_string_to_sign(&self.date, &self.scope(), &request_sha256, &mut sink))
    }

    fn scope(&self) -> Scope<'_> {
        Scope { day: self.date.day(), region: &self.region }
    }

    fn credential(&self) -> String {
        format!("{}/{}/{}/{SERVICE}/{TERMINATOR}", self.access_key_id, self.date.day(), self.region)
    }
}

impl ChunkSignatures {
    /// The signature of the next chunk; the empty chunk is the last. Shape: 64 hex digits.
    pub fn sign_chunk(&mut self, sha256_of_chunk: &[u8; 32]) -> [u8; 64] {
        let signature = self.0.chunk(sha256_of_chunk);
        self.0.advance(&signature);
        hex(signature.bytes())
    }

    /// The signature of the trailer, `name:value\n` a line. Shape: 64 hex digits.
    pub fn sign_trailer(&mut self, sha256_of_trailer: &[u8; 32]) -> [u8; 64] {
        let signature = self.0.trailer(sha256_of_trailer);
        self.0.advance(&signature);
        hex(signature.bytes())
    }
}

/// A path and a query, encoded: what a request line holds for the request that was signed.
pub fn target(path: &[u8], query: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(path.len().saturating_add(16));
    encode_into(path, Slash::Keep, &mut out);
    let mut separator = '?';
    for (name, value) in query {
        out.push(separator);
        encode_into(name.as_bytes(), Slash::Encode, &mut out);
        out.push('=');
        encode_into(value.as_bytes(), Slash::Encode, &mut out);
        separator = '&';
    }
    out
}

fn headers_of<'a>(request: &ToSign<'a>) -> Vec<(&'a str, &'a [u8])> {
    request.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

/// The names as SignedHeaders lists them: lower case, ascending, each once.
fn names_of(headers: &[(&str, &[u8])]) -> String {
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(";")
}

fn text(signature: &Signature) -> String {
    hex(signature.bytes()).iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// The signer of every example in the S3 API reference.
    fn signer() -> Signer {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned());
        Signer::new("AKIAIOSFODNN7EXAMPLE", &secret, "us-east-1", 1_369_353_600)
    }

    const VIRTUAL_HOST: (&str, &str) = ("Host", "examplebucket.s3.amazonaws.com");

    fn check(name: &str, request: &ToSign<'_>, payload: &PayloadMode, want: &str) -> SignedHead {
        let head = signer().sign(request, payload);
        assert_eq!(text(&head.seed), want, "{name}: {}", head.authorization);
        assert!(head.authorization.ends_with(&format!("Signature={want}")), "{name}");
        head
    }

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn the_published_heads() {
        let empty = PayloadMode::Sha256(sha256(b""));
        let get = ToSign {
            method: "GET",
            path: b"/test.txt",
            query: &[],
            headers: &[VIRTUAL_HOST, ("Range", "bytes=0-9")],
        };
        let head = check(
            "GET object",
            &get,
            &empty,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        assert_eq!(
            head.authorization,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let put = ToSign {
            method: "PUT",
            path: b"/test$file.text",
            query: &[],
            headers: &[
                VIRTUAL_HOST,
                ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
        };
        let body = PayloadMode::Sha256(sha256(b"Welcome to Amazon S3."));
        check("PUT object", &put, &body, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
        let lifecycle =
            ToSign { method: "GET", path: b"/", query: &[("lifecycle", "")], headers: &[VIRTUAL_HOST] };
        check(
            "GET lifecycle",
            &lifecycle,
            &empty,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        let list = ToSign {
            method: "GET",
            path: b"/",
            query: &[("prefix", "J"), ("max-keys", "2")],
            headers: &[VIRTUAL_HOST],
        };
        check("list", &list, &empty, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn the_published_presigned_url() {
        let get = ToSign { method: "GET", path: b"/test.txt", query: &[], headers: &[VIRTUAL_HOST] };
        assert_eq!(
            signer().presign(&get, 86_400),
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    /// 65 KiB of `a` in chunks of 64 KiB, 1 KiB and none, as both published bodies are.
    fn check_chunks(name: &str, signatures: &mut ChunkSignatures, want: [&str; 3]) {
        for (length, want) in [65_536, 1024, 0].into_iter().zip(want) {
            let signature = signatures.sign_chunk(&sha256(&vec![b'a'; length]));
            assert_eq!(signature, want.as_bytes(), "{name}, chunk of {length}");
        }
    }

    #[test]
    fn the_published_chunked_upload() {
        let put = ToSign {
            method: "PUT",
            path: b"/examplebucket/chunkObject.txt",
            query: &[],
            headers: &[
                ("Host", "s3.amazonaws.com"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("Content-Encoding", "aws-chunked"),
                ("x-amz-decoded-content-length", "66560"),
                ("Content-Length", "66824"),
            ],
        };
        let head = check(
            "chunked",
            &put,
            &PayloadMode::SignedChunks,
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        );
        let want = [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ];
        check_chunks("chunked", &mut signer().chunks(&head), want);
    }

    #[test]
    fn the_published_chunked_upload_with_a_trailer() {
        let put = ToSign {
            method: "PUT",
            path: b"/examplebucket/chunkObject.txt",
            query: &[],
            headers: &[
                ("Host", "s3.amazonaws.com"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("Content-Encoding", "aws-chunked"),
                ("x-amz-decoded-content-length", "66560"),
                ("x-amz-trailer", "x-amz-checksum-crc32c"),
            ],
        };
        let head = check(
            "trailer",
            &put,
            &PayloadMode::SignedChunksTrailer,
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        );
        let mut signatures = signer().chunks(&head);
        let want = [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ];
        check_chunks("trailer", &mut signatures, want);
        assert_eq!(
            &signatures.sign_trailer(&sha256(b"x-amz-checksum-crc32c:sOO8/Q==\n")),
            b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
        );
    }
}
