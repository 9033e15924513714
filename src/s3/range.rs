//! Byte ranges of GetObject and HeadObject: the header's text, and what it selects of an object.
//! A header that is no single well-formed range selects the whole object, as AWS answers it: RFC 9110 lets a server
//! ignore any Range, and S3 never sends multipart/byteranges.
//! Source: RFC 9110 section 14.1 to 14.4; GetObject, parameter Range.

use crate::s3::error::{Code, S3Error};

/// A Range header, before the object's size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeHeader {
    /// No range, or one that is ignored.
    Whole,
    /// `bytes=first-last`, both included, first <= last.
    Between {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// `bytes=first-`
    From {
        /// Offset of the first byte.
        first: u64,
    },
    /// `bytes=-length`: the last bytes.
    Suffix {
        /// How many.
        length: u64,
    },
}

/// What is sent of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with 200.
    Whole,
    /// One range of it, with 206.
    Part(ByteRange),
}

/// A range that lies inside an object.
// INVARIANT: length_bytes > 0 and offset_bytes + length_bytes <= the object's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    offset_bytes: u64,
    length_bytes: u64,
}

impl ByteRange {
    /// Where it begins. Units: bytes from the object's start.
    pub fn offset_bytes(self) -> u64 {
        self.offset_bytes
    }

    /// How long it is, at least 1. Units: bytes.
    pub fn length_bytes(self) -> u64 {
        self.length_bytes
    }

    /// The Content-Range value: `bytes 0-9/443`.
    pub fn content_range(self, size_bytes: u64) -> String {
        let last = self.offset_bytes.saturating_add(self.length_bytes).saturating_sub(1);
        format!("bytes {}-{}/{}", self.offset_bytes, last, size_bytes)
    }
}

impl RangeHeader {
    /// Reads the header's value; nothing is an error, see above.
    ///
    /// Numbers beyond 64 bits are taken as the largest: such a range begins or ends behind every object anyway.
    pub fn parse(value: Option<&str>) -> RangeHeader {
        value.and_then(single_range).unwrap_or(RangeHeader::Whole)
    }

    /// Resolves the range against an object's size.
    ///
    /// Errors: InvalidRange (416) when no byte of the object is selected, with the size as `ActualObjectSize`.
    pub fn resolve(self, size_bytes: u64) -> Result<Selection, S3Error> {
        let (offset_bytes, length_bytes) = match self {
            RangeHeader::Whole => return Ok(Selection::Whole),
            RangeHeader::Between { first, last } => {
                let end = last.saturating_add(1).min(size_bytes);
                (first, end.saturating_sub(first))
            }
            RangeHeader::From { first } => (first, size_bytes.saturating_sub(first)),
            RangeHeader::Suffix { length } => (size_bytes.saturating_sub(length), length.min(size_bytes)),
        };
        if length_bytes == 0 {
            let requested = self.text();
            return Err(S3Error::new(Code::InvalidRange)
                .with_element("RangeRequested", requested)
                .with_element("ActualObjectSize", size_bytes.to_string()));
        }
        Ok(Selection::Part(ByteRange { offset_bytes, length_bytes }))
    }

    fn text(self) -> String {
        match self {
            RangeHeader::Whole => String::new(),
            RangeHeader::Between { first, last } => format!("bytes={first}-{last}"),
            RangeHeader::From { first } => format!("bytes={first}-"),
            RangeHeader::Suffix { length } => format!("bytes=-{length}"),
        }
    }
}

fn single_range(value: &str) -> Option<RangeHeader> {
    let (unit, ranges) = value.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A second range brings a comma, which is no digit, so a list fails here as a whole.
    let (first, last) = ranges.trim().split_once('-')?;
    match (first, last) {
        ("", last) => Some(RangeHeader::Suffix { length: number(last)? }),
        (first, "") => Some(RangeHeader::From { first: number(first)? }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeHeader::Between { first, last })
        }
    }
}

fn number(digits: &str) -> Option<u64> {
    let legal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is selected, as `whole`, `offset+length` or the error's code.
    fn check(value: &str, size_bytes: u64, want: &str) {
        let got = match RangeHeader::parse(Some(value)).resolve(size_bytes) {
            Ok(Selection::Whole) => "whole".to_string(),
            Ok(Selection::Part(part)) => format!("{}+{}", part.offset_bytes, part.length_bytes),
            Err(error) => error.code().wire().to_string(),
        };
        assert_eq!(got, want, "{value} of {size_bytes}");
    }

    #[test]
    fn ranges() {
        let cases = [
            ("bytes=0-9", 100, "0+10"),
            ("bytes=0-0", 100, "0+1"),
            ("Bytes=10-", 100, "10+90"),
            ("bytes=-5", 100, "95+5"),
            ("bytes=-500", 100, "0+100"),
            ("bytes=90-500", 100, "90+10"),
            ("bytes=99-", 100, "99+1"),
            ("bytes=100-", 100, "InvalidRange"),
            ("bytes=100-200", 100, "InvalidRange"),
            ("bytes=-0", 100, "InvalidRange"),
            ("bytes=0-", 0, "InvalidRange"),
            ("bytes=-5", 0, "InvalidRange"),
            ("bytes=0-99999999999999999999999", 100, "0+100"),
            ("bytes=99999999999999999999999-", 100, "InvalidRange"),
            ("bytes=0-18446744073709551615", u64::MAX, "0+18446744073709551615"),
        ];
        for (value, size_bytes, want) in cases {
            check(value, size_bytes, want);
        }
    }

    #[test]
    fn what_is_no_single_range_selects_the_whole_object() {
        let ignored = [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=9-0",
            "bytes=0-1,5-6",
            "bytes=0-1,",
            "bytes=1",
            "bytes=+1-2",
            "bytes=0 - 9",
            "bytes=0--9",
            "items=0-9",
            "bytes=0-9-10",
        ];
        for value in ignored {
            check(value, 100, "whole");
        }
        assert_eq!(RangeHeader::parse(None), RangeHeader::Whole);
    }

    #[test]
    fn content_range() {
        let Ok(Selection::Part(part)) = RangeHeader::parse(Some("bytes=-10")).resolve(443) else {
            panic!("a part")
        };
        assert_eq!(part.content_range(443), "bytes 433-442/443");
    }
}
