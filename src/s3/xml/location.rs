//! The answer of GetBucketLocation.
//! `us-east-1` is written as nothing, because that is what AWS answers for it. It knows no region by itself.
//! Source: Amazon S3 API reference, GetBucketLocation, "Response syntax".

use crate::s3::xml::writer::Writer;

/// The region that the document leaves empty.
const UNNAMED_REGION: &str = "us-east-1";

/// The document of a bucket in `region`.
pub fn write(region: &str) -> String {
    let mut xml = Writer::document();
    xml.root_text("LocationConstraint", if region == UNNAMED_REGION { "" } else { region });
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::xml::writer::tests::check_document;

    #[test]
    fn answers() {
        let root = "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        check_document(&write("eu-west-1"), &format!("{root}eu-west-1</LocationConstraint>"));
        check_document(&write("us-east-1"), &format!("{root}</LocationConstraint>"));
    }
}
