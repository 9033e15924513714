//! What follows the last chunk of an aws-chunked body: the announced checksum, its signature, and the end.
//! The block is read whole, when the coding below says that the body is over, so that nothing can hide behind it.
//! Lines end in CRLF; a bare LF and up to two empty lines before the signature or at the end are taken as well, since
//! minio-go and the example of the API reference write `name:value` LF CRLF. That last empty line may be missing.
//! Source: S3 API reference, "Signature calculations for trailing headers".

use super::{AwsChunked, AwsChunkedError, Signatures, signature};
use crate::s3::checksum::Checksum;

/// A trailer that is well-formed and says what was announced; whether it is true is checked elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// The value of the announced checksum; `None` only when none was announced.
    pub checksum: Option<Checksum>,
    /// The 64 hex digits of `x-amz-trailer-signature`; there whenever the body is signed and announced a trailer.
    pub signature: Option<[u8; 64]>,
    /// The bytes whose SHA-256 the trailer's string to sign carries: `name:value` LF, the name in lower case.
    pub canonical: Vec<u8>,
}

impl Trailer {
    /// Reads all bytes between the last chunk's head and the end of the body.
    pub(super) fn parse(framing: AwsChunked, block: &[u8]) -> Result<Trailer, AwsChunkedError> {
        let mut trailer = Trailer::default();
        let mut empty_lines = 0_usize;
        // Where no trailer was announced the line that ends the body is all that may come.
        let empty_lines_max = if framing.trailer.is_some() { EMPTY_LINES_MAX } else { 1 };
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").ok_or(AwsChunkedError::TrailerLine)?;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                empty_lines = empty_lines.saturating_add(1);
                if empty_lines > empty_lines_max {
                    return Err(AwsChunkedError::AfterLast);
                }
                continue;
            }
            let (name, value) = field(line)?;
            if name.eq_ignore_ascii_case(SIGNATURE_NAME) {
                trailer.take_signature(framing, value)?;
                empty_lines = 0;
            } else if empty_lines > 0 || trailer.signature.is_some() {
                return Err(AwsChunkedError::AfterLast);
            } else {
                trailer.take_checksum(framing, name, value)?;
            }
        }
        trailer.complete(framing)
    }

    fn take_signature(&mut self, framing: AwsChunked, value: &str) -> Result<(), AwsChunkedError> {
        if !signature_expected(framing) {
            return Err(AwsChunkedError::TrailerUndeclared);
        }
        if self.signature.is_some() {
            return Err(AwsChunkedError::TrailerDuplicate);
        }
        self.signature = Some(signature(value.as_bytes()).ok_or(AwsChunkedError::TrailerSignature)?);
        Ok(())
    }

    fn take_checksum(&mut self, framing: AwsChunked, name: &str, value: &str) -> Result<(), AwsChunkedError> {
        let algorithm = framing
            .trailer
            .filter(|algorithm| name.eq_ignore_ascii_case(algorithm.header()))
            .ok_or(AwsChunkedError::TrailerUndeclared)?;
        if self.checksum.is_some() {
            return Err(AwsChunkedError::TrailerDuplicate);
        }
        let checksum = Checksum::parse(algorithm, value)
            .filter(|checksum| checksum.parts().is_none())
            .ok_or(AwsChunkedError::TrailerValue(algorithm))?;
        self.checksum = Some(checksum);
        self.canonical = [algorithm.header().as_bytes(), b":", value.as_bytes(), b"\n"].concat();
        Ok(())
    }

    fn complete(self, framing: AwsChunked) -> Result<Trailer, AwsChunkedError> {
        if self.checksum.is_none() && framing.trailer.is_some() {
            return Err(AwsChunkedError::TrailerMissing);
        }
        if self.signature.is_none() && signature_expected(framing) {
            return Err(AwsChunkedError::TrailerSignature);
        }
        Ok(self)
    }
}

/// Splits `name:value`; AWS takes white space around either.
fn field(line: &[u8]) -> Result<(&str, &str), AwsChunkedError> {
    let text = std::str::from_utf8(line).map_err(|_| AwsChunkedError::TrailerLine)?;
    let (name, value) = text.split_once(':').ok_or(AwsChunkedError::TrailerLine)?;
    Ok((name.trim_ascii(), value.trim_ascii()))
}

fn signature_expected(framing: AwsChunked) -> bool {
    match framing.signatures {
        Signatures::Signed => framing.trailer.is_some(),
        Signatures::Unsigned => false,
    }
}

/// The line of the trailer's own signature, never itself announced or signed.
const SIGNATURE_NAME: &str = "x-amz-trailer-signature";

/// As many as minio-go and the API reference's example write at one place.
const EMPTY_LINES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::checksum::Algorithm;

    const SIGNATURE: &str = "63bddb248ad2590c92712055f51b8e78ab024eead08276b24f010b0efd74843f";
    const NONE: AwsChunked = AwsChunked { signatures: Signatures::Unsigned, trailer: None };
    const PLAIN_SIGNED: AwsChunked = AwsChunked { signatures: Signatures::Signed, trailer: None };
    const UNSIGNED: AwsChunked =
        AwsChunked { signatures: Signatures::Unsigned, trailer: Some(Algorithm::Crc32c) };
    const SIGNED: AwsChunked =
        AwsChunked { signatures: Signatures::Signed, trailer: Some(Algorithm::Crc32c) };

    /// Want: the checksum's text and whether a signature came, or the error. `SIG` stands for a signature.
    fn check(
        name: &str,
        framing: AwsChunked,
        block: &str,
        want: Result<(Option<&str>, bool), AwsChunkedError>,
    ) {
        let got = Trailer::parse(framing, block.replace("SIG", SIGNATURE).as_bytes());
        let summary = got.as_ref().map(|trailer| {
            let checksum = trailer.checksum.map(|checksum| checksum.text());
            let canonical = checksum.as_ref().map(|text| format!("x-amz-checksum-crc32c:{text}\n"));
            assert_eq!(trailer.canonical, canonical.unwrap_or_default().into_bytes());
            (checksum, trailer.signature.is_some())
        });
        let want = want.map(|(checksum, signed)| (checksum.map(str::to_owned), signed));
        assert_eq!(summary.map_err(|error| *error), want, "{name}: {framing:?} {block:?}");
    }

    #[test]
    fn what_clients_send() {
        let unsigned = Ok((Some("sOO8/Q=="), false));
        let signed = Ok((Some("sOO8/Q=="), true));
        for (client, framing, block, want) in [
            ("no trailer", NONE, "\r\n", Ok((None, false))),
            ("no trailer, signed", PLAIN_SIGNED, "\r\n", Ok((None, false))),
            ("no trailer, last CRLF missing", PLAIN_SIGNED, "", Ok((None, false))),
            ("botocore", UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", unsigned),
            ("minio-go", UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==\n\r\n\r\n", unsigned),
            ("last empty line missing", UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==\r\n", unsigned),
            ("blanks and case", UNSIGNED, "X-Amz-Checksum-CRC32C : sOO8/Q== \r\n\r\n", unsigned),
            ("java", SIGNED, "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:SIG\r\n\r\n", signed),
            (
                "minio-go, signed",
                SIGNED,
                "x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:SIG\r\n\r\n",
                signed,
            ),
            (
                "API reference",
                SIGNED,
                "x-amz-checksum-crc32c:sOO8/Q==\n\r\n\r\nx-amz-trailer-signature:SIG\r\n",
                signed,
            ),
        ] {
            check(client, framing, block, want);
        }
    }

    #[test]
    fn what_is_refused() {
        use AwsChunkedError as E;
        for (framing, block, want) in [
            (NONE, "\r\n\r\n", E::AfterLast),
            (PLAIN_SIGNED, "\r\n\r\n", E::AfterLast),
            (NONE, "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", E::TrailerUndeclared),
            (PLAIN_SIGNED, "x-amz-trailer-signature:SIG\r\n\r\n", E::TrailerUndeclared),
            (UNSIGNED, "x-amz-trailer-signature:SIG\r\n\r\n", E::TrailerUndeclared),
            (UNSIGNED, "x-amz-checksum-crc32:y/Q5Jg==\r\n\r\n", E::TrailerUndeclared),
            (UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-meta-a:1\r\n\r\n", E::TrailerUndeclared),
            (
                UNSIGNED,
                "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n",
                E::TrailerDuplicate,
            ),
            (UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\nx-amz-meta-a:1\r\n", E::AfterLast),
            (UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==", E::TrailerLine),
            (UNSIGNED, "x-amz-checksum-crc32c\r\n", E::TrailerLine),
            (UNSIGNED, "x-amz-checksum-crc32c:\r\n", E::TrailerValue(Algorithm::Crc32c)),
            (UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q\r\n", E::TrailerValue(Algorithm::Crc32c)),
            (UNSIGNED, "x-amz-checksum-crc32c:sOO8/Q==-2\r\n", E::TrailerValue(Algorithm::Crc32c)),
            (UNSIGNED, "", E::TrailerMissing),
            (UNSIGNED, "\r\n", E::TrailerMissing),
            (UNSIGNED, "\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n", E::AfterLast),
            (SIGNED, "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", E::TrailerSignature),
            (SIGNED, "x-amz-trailer-signature:SIG\r\n\r\n", E::TrailerMissing),
            (
                SIGNED,
                "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:SIG0\r\n",
                E::TrailerSignature,
            ),
            (SIGNED, "x-amz-trailer-signature:SIG\r\nx-amz-checksum-crc32c:sOO8/Q==\r\n", E::AfterLast),
            (
                SIGNED,
                "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:SIG\r\nx-amz-trailer-signature:SIG\r\n",
                E::TrailerDuplicate,
            ),
        ] {
            check("refused", framing, block, Err(want));
        }
        assert_eq!(Trailer::parse(UNSIGNED, b"\xff:\xff\r\n"), Err(E::TrailerLine));
    }
}
