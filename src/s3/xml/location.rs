//! LocationConstraint, the answer of GetBucketLocation.
//! The region of the oldest buckets, us-east-1, is written as an empty element: that is how clients know it.
//! Source: GetBucketLocation, response syntax.

use crate::s3::xml::writer::Writer;

/// The region that S3 shows as none.
const UNNAMED_REGION: &str = "us-east-1";

/// The document that tells a bucket's region.
pub fn write(region: &str) -> String {
    let mut xml = Writer::document();
    xml.open_root("LocationConstraint");
    if region != UNNAMED_REGION {
        xml.content(region);
    }
    xml.close("LocationConstraint");
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(region: &str, want: &str) {
        let start = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        assert_eq!(write(region), format!("{start}{want}</LocationConstraint>"));
    }

    #[test]
    fn regions() {
        check("us-east-1", "");
        check("eu-west-1", "eu-west-1");
        check("a<b", "a&lt;b");
    }
}
