//! The query of a request: split once, decoded once, the raw pairs kept because signatures are over them.
//! It knows no parameter by name and refuses none: S3 ignores what it does not know.
//! Source: RFC 3986 section 3.4; Signature Version 4, "canonical query string".

use std::borrow::Cow;
use std::ops::Range;

use crate::http::percent;
use crate::s3::error::{Code, S3Error};
use crate::s3::names::shortened;

/// A query, owned: one copy of its text and one of its decoded text, which the pairs are ranges into.
// INVARIANT: raw ranges lie inside `raw` and decoded ones inside `decoded`, on character boundaries.
#[derive(Default)]
pub struct Query {
    raw: Box<str>,
    decoded: String,
    pairs: Vec<Pair>,
}

struct Pair {
    raw_name: Range<usize>,
    raw_value: Range<usize>,
    name: Range<usize>,
    value: Range<usize>,
}

/// One parameter. A name without `=` has an empty value, as in the canonical query string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'q> {
    /// The name as sent, still encoded.
    pub raw_name: &'q str,
    /// The value as sent, still encoded.
    pub raw_value: &'q str,
    /// The name, decoded.
    pub name: &'q str,
    /// The value, decoded; `+` is a space.
    pub value: &'q str,
}

impl Query {
    /// Most parameters of one request: a presigned URL with every override has under 30.
    pub const PARAMETERS_MAX: usize = 100;

    /// Reads the text after the `?`. Empty pieces (`a&&b`) are no parameters.
    ///
    /// Errors: InvalidURI for a broken escape, for what is no UTF-8, and for more than `PARAMETERS_MAX` parameters.
    pub fn parse(raw: &str) -> Result<Query, S3Error> {
        let mut query = Query {
            raw: raw.into(),
            decoded: String::with_capacity(raw.len()),
            // Most queries have few parameters; the count of `&` is the attacker's, so it is only a bounded hint.
            pairs: Vec::with_capacity(raw.len().min(8)),
        };
        let mut piece_start: usize = 0;
        for piece in raw.split('&') {
            if !piece.is_empty() {
                if query.pairs.len() == Query::PARAMETERS_MAX {
                    return Err(
                        S3Error::new(Code::InvalidURI).with_message("The query has too many parameters.")
                    );
                }
                let pair = query.decode(piece, piece_start)?;
                query.pairs.push(pair);
            }
            piece_start = piece_start.saturating_add(piece.len()).saturating_add(1);
        }
        Ok(query)
    }

    fn decode(&mut self, piece: &str, piece_start: usize) -> Result<Pair, S3Error> {
        let piece_end = piece_start.saturating_add(piece.len());
        let name_end = piece_start.saturating_add(piece.find('=').unwrap_or(piece.len()));
        let (raw_name, raw_value) = piece.split_once('=').unwrap_or((piece, ""));
        Ok(Pair {
            raw_name: piece_start..name_end,
            raw_value: name_end.saturating_add(1).min(piece_end)..piece_end,
            name: self.append(raw_name)?,
            value: self.append(raw_value)?,
        })
    }

    fn append(&mut self, raw: &str) -> Result<Range<usize>, S3Error> {
        let start = self.decoded.len();
        let spaced = if raw.contains('+') { Cow::Owned(raw.replace('+', " ")) } else { Cow::Borrowed(raw) };
        let bytes = percent::decode(&spaced)
            .map_err(|error| S3Error::new(Code::InvalidURI).with_message(error.to_string()))?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| S3Error::new(Code::InvalidURI).with_message("query parameters must be UTF-8"))?;
        self.decoded.push_str(text);
        Ok(start..self.decoded.len())
    }

    /// The query as sent.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Every parameter, in the order sent, repeated ones included.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.pairs.iter().map(|pair| Parameter {
            raw_name: text(&self.raw, &pair.raw_name),
            raw_value: text(&self.raw, &pair.raw_value),
            name: text(&self.decoded, &pair.name),
            value: text(&self.decoded, &pair.value),
        })
    }

    /// The first value under a name; names are case-sensitive.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|pair| text(&self.decoded, &pair.name) == name)
            .map(|pair| text(&self.decoded, &pair.value))
    }

    /// The first value under a name, when it says something: `?prefix=` is the same as none.
    pub fn value_not_empty(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there, with or without a value.
    pub fn contains(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// How many times a name is there.
    pub fn count(&self, name: &str) -> usize {
        self.pairs.iter().filter(|pair| text(&self.decoded, &pair.name) == name).count()
    }

    /// A page size such as `max-keys`: absent or empty is the most, more than the most is the most (S3A sends 5000).
    ///
    /// Errors: InvalidArgument for what is no plain number.
    pub fn page_size(&self, name: &'static str, page_size_max: u32) -> Result<u32, S3Error> {
        let Some(value) = self.value_not_empty(name) else { return Ok(page_size_max) };
        if !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(S3Error::new(Code::InvalidArgument)
                .with_message(format!("Argument {name} must be an integer between 0 and 2147483647"))
                .with_element("ArgumentName", name)
                .with_element("ArgumentValue", shortened(value)));
        }
        // Digits that do not fit are more than the most too.
        Ok(value.parse::<u32>().map_or(page_size_max, |number| number.min(page_size_max)))
    }
}

fn text<'q>(whole: &'q str, range: &Range<usize>) -> &'q str {
    whole.get(range.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each parameter as `raw_name=raw_value>name=value`.
    fn check(raw: &str, want: Result<&[&str], Code>) {
        let got = Query::parse(raw).map_err(|error| error.code()).map(|query| {
            assert_eq!(query.raw(), raw);
            query
                .parameters()
                .map(|p| format!("{}={}>{}={}", p.raw_name, p.raw_value, p.name, p.value))
                .collect::<Vec<_>>()
        });
        assert_eq!(got, want.map(|list| list.iter().map(|text| text.to_string()).collect()), "{raw}");
    }

    #[test]
    fn pairs_are_split_and_decoded_once() {
        check("", Ok(&[]));
        check("&&", Ok(&[]));
        check("uploads", Ok(&["uploads=>uploads="]));
        check("uploads=", Ok(&["uploads=>uploads="]));
        check("=v", Ok(&["=v>=v"]));
        check("a=1&b=2&a=3", Ok(&["a=1>a=1", "b=2>b=2", "a=3>a=3"]));
        check("prefix=a%2Fb+c%2B&x=y=z&", Ok(&["prefix=a%2Fb+c%2B>prefix=a/b c+", "x=y=z>x=y=z"]));
        check("p=%2526", Ok(&["p=%2526>p=%26"]));
        check("k%C3%A4=%26%3D", Ok(&["k%C3%A4=%26%3D>kä=&="]));
        check("p=%", Err(Code::InvalidURI));
        check("p=%zz", Err(Code::InvalidURI));
        check("p=%ff", Err(Code::InvalidURI));
        check(&"a&".repeat(100), Ok(&["a=>a="; 100]));
        check(&"a&".repeat(101), Err(Code::InvalidURI));
    }

    #[test]
    fn lookups() {
        let query = Query::parse("a=1&b=&a=2").unwrap();
        assert_eq!(query.value("a"), Some("1"));
        assert_eq!(query.count("a"), 2);
        assert_eq!(query.value("b"), Some(""));
        assert_eq!(query.value_not_empty("b"), None);
        assert!(query.contains("b") && !query.contains("B"));
    }

    #[test]
    fn page_sizes() {
        let cases = [
            ("", Ok(1000)),
            ("max-keys=", Ok(1000)),
            ("max-keys=0", Ok(0)),
            ("max-keys=7", Ok(7)),
            ("max-keys=5000", Ok(1000)),
            ("max-keys=2147483647", Ok(1000)),
            ("max-keys=2147483648", Ok(1000)),
            ("max-keys=99999999999999999999999", Ok(1000)),
            ("max-keys=%2B7", Err(Code::InvalidArgument)),
            ("max-keys=-1", Err(Code::InvalidArgument)),
            ("max-keys=blah", Err(Code::InvalidArgument)),
        ];
        for (raw, want) in cases {
            let got = Query::parse(raw).unwrap().page_size("max-keys", 1000);
            assert_eq!(got.map_err(|error| error.code()), want, "{raw}");
        }
    }
}
