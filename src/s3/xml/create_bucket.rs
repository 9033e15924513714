//! The configuration that CreateBucket may bring.
//! What it asks for beyond a location is refused by name; a bucket without its tags would be another bucket.
//! Whether the location fits this server's region is the operation's to decide.
//! Source: Amazon S3 API reference, CreateBucket, "Request syntax".

use crate::s3::error::{Code, S3Error};
use crate::s3::xml::reader::{Reader, malformed};

/// Longest request. Units: bytes.
pub const BYTES_MAX: usize = 1024 * 1024;

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateBucketConfiguration {
    /// The location constraint; an empty one is none.
    pub location: Option<String>,
}

/// Reads the request; an empty body is an empty configuration.
///
/// Errors: MalformedXML; NotImplemented naming the element.
pub fn read(bytes: &[u8]) -> Result<CreateBucketConfiguration, S3Error> {
    let mut configuration = CreateBucketConfiguration::default();
    if bytes.is_empty() {
        return Ok(configuration);
    }
    let mut document = Reader::document(bytes, "CreateBucketConfiguration")?;
    while let Some(name) = document.next_child()? {
        match name {
            "LocationConstraint" if configuration.location.is_some() => {
                return Err(malformed("there are two constraints"));
            }
            "LocationConstraint" => configuration.location = Some(document.text()?.trim().to_string()),
            "Location" | "Bucket" | "Tags" => {
                let message = format!("The element {name} of CreateBucketConfiguration is not implemented.");
                return Err(S3Error::new(Code::NotImplemented).with_message(message));
            }
            _ => return Err(malformed("the configuration has an element that S3 does not know")),
        }
    }
    configuration.location = configuration.location.filter(|location| !location.is_empty());
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<Option<&str>, Code>) {
        let got = read(text.as_bytes());
        let got = got.as_ref().map(|configuration| configuration.location.as_deref());
        assert_eq!(got.map_err(|error| error.code()), want, "{text}");
    }

    #[test]
    fn configurations() {
        check("", Ok(None));
        check("<CreateBucketConfiguration/>", Ok(None));
        check(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint> eu-west-1\n</LocationConstraint></CreateBucketConfiguration>",
            Ok(Some("eu-west-1")),
        );
        check("<CreateBucketConfiguration><LocationConstraint/></CreateBucketConfiguration>", Ok(None));
        check("<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>", Err(Code::NotImplemented));
        check("<CreateBucketConfiguration><Other/></CreateBucketConfiguration>", Err(Code::MalformedXML));
        check("<Other/>", Err(Code::MalformedXML));
        check(" ", Err(Code::MalformedXML));
    }
}
