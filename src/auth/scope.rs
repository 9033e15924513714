//! The credential of a signature, `AKID/20130524/us-east-1/s3/aws4_request`, and the scope within it.
//! It is cut from the right, so that an access key id may hold slashes. Any region is a region here, the empty one
//! too (s3-tests signs with it); whether it is ours is the claim's rule.
//! Source: Signature Version 4, "Credential scope".

/// Day and region that a signing key is good for; service and terminator are always the same two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub(super) day: &'a str,
    pub(super) region: &'a str,
}

/// A credential as named by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamedCredential<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) scope: Scope<'a>,
}

/// Why a credential's text is refused, with the part that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialError<'a> {
    /// Not five parts of visible ASCII, an empty access key id, or a day that is not eight digits.
    Shape,
    Service(&'a str),
    Terminator(&'a str),
}

impl<'a> NamedCredential<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, CredentialError<'a>> {
        // A line feed in a region would be a second reading of the string to sign.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Shape);
        }
        let mut parts = text.rsplitn(5, '/');
        let mut part = || parts.next().ok_or(CredentialError::Shape);
        let (terminator, service, region, day, access_key_id) = (part()?, part()?, part()?, part()?, part()?);
        if access_key_id.is_empty() || day.len() != 8 || !day.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CredentialError::Shape);
        }
        if service != SERVICE {
            return Err(CredentialError::Service(service));
        }
        if terminator != TERMINATOR {
            return Err(CredentialError::Terminator(terminator));
        }
        Ok(Self { access_key_id, scope: Scope { day, region } })
    }
}

impl Scope<'_> {
    /// Writes `20130524/us-east-1/s3/aws4_request` piece by piece.
    pub(super) fn write_to(&self, sink: &mut impl FnMut(&[u8])) {
        for piece in [self.day, "/", self.region, "/", SERVICE, "/", TERMINATOR] {
            sink(piece.as_bytes());
        }
    }
}

/// The only service that requests may be signed for.
pub(super) const SERVICE: &str = "s3";
/// The word that ends every credential.
pub(super) const TERMINATOR: &str = "aws4_request";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, input: &str, want: Result<(&str, &str, &str), CredentialError<'_>>) {
        let want = want.map(|(access_key_id, day, region)| NamedCredential {
            access_key_id,
            scope: Scope { day, region },
        });
        assert_eq!(NamedCredential::parse(input), want, "{name}");
    }

    #[test]
    fn credentials() {
        let rows = [
            ("plain", "AKID/20130524/us-east-1/s3/aws4_request", Ok(("AKID", "20130524", "us-east-1"))),
            ("empty region", "AKID/20130524//s3/aws4_request", Ok(("AKID", "20130524", ""))),
            ("slash in the id", "a/b/20130524/r/s3/aws4_request", Ok(("a/b", "20130524", "r"))),
            ("empty", "", Err(CredentialError::Shape)),
            ("four parts", "AKID/20130524/s3/aws4_request", Err(CredentialError::Shape)),
            ("no id", "/20130524/r/s3/aws4_request", Err(CredentialError::Shape)),
            ("short day", "AKID/2013052/r/s3/aws4_request", Err(CredentialError::Shape)),
            ("day of letters", "AKID/2013052x/r/s3/aws4_request", Err(CredentialError::Shape)),
            ("line feed in the region", "AKID/20130524/r\nr/s3/aws4_request", Err(CredentialError::Shape)),
            ("service", "AKID/20130524/r/ec2/aws4_request", Err(CredentialError::Service("ec2"))),
            ("service in capitals", "AKID/20130524/r/S3/aws4_request", Err(CredentialError::Service("S3"))),
            (
                "terminator",
                "AKID/20130524/r/s3/aws5_request",
                Err(CredentialError::Terminator("aws5_request")),
            ),
            ("terminator and more", "AKID/20130524/r/s3/aws4_request/", Err(CredentialError::Shape)),
        ];
        for (name, input, want) in rows {
            check(name, input, want);
        }
    }

    #[test]
    fn scope_text() {
        let mut text = Vec::new();
        Scope { day: "20130524", region: "us-east-1" }.write_to(&mut |piece| text.extend_from_slice(piece));
        assert_eq!(text, b"20130524/us-east-1/s3/aws4_request");
    }
}
