//! Which keys a listing shows, and under which common prefix: pure text.
//!
//! Entries of a directory are judged by their whole key; a directory's ends in `/`, so all keys beneath begin with it and
//! sort where it does. A common prefix counts as behind the start exactly as a key does, so one that was shown is not
//! shown again, and neither is one that a marker points into. Source: ListObjects, parameters Delimiter and Marker.

use super::Listing;
use crate::fs::path::check_component;
use crate::s3::names::ObjectKey;

/// What a listing does with an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'t> {
    /// Nothing: it is outside, or it was passed already.
    Skip,
    /// Shows it as an object.
    Show,
    /// Looks at what is in it.
    Descend,
    /// Shows this common prefix in its place, if there is an object.
    Group(&'t str),
}

impl Listing<'_> {
    /// The key text of the directory that all keys of the prefix lie in: empty for the bucket, else ending in `/`.
    ///
    /// Shape: none when no key can begin with the prefix.
    pub(super) fn start(&self) -> Option<&str> {
        if self.prefix.len() > ObjectKey::BYTES_MAX {
            return None;
        }
        let Some(slash) = self.prefix.rfind('/') else { return Some("") };
        let legal = self.prefix[..slash].split('/').all(|component| check_component(component).is_ok());
        legal.then(|| &self.prefix[..=slash])
    }

    /// What to do with an entry; `group` is the common prefix that was shown last, or empty.
    pub(super) fn step<'t>(&self, text: &'t str, group: &str) -> Step<'t> {
        if !text.starts_with(self.prefix) || (!group.is_empty() && text.starts_with(group)) {
            return Step::Skip;
        }
        if let Some(common_prefix) = self.common_prefix(text) {
            return if common_prefix > self.after { Step::Group(common_prefix) } else { Step::Skip };
        }
        if text.ends_with('/') {
            let may_hold_more = text > self.after || self.after.starts_with(text);
            return if may_hold_more { Step::Descend } else { Step::Skip };
        }
        if text > self.after { Step::Show } else { Step::Skip }
    }

    /// Whether the key of a directory is itself one to show, when it is an object.
    pub(super) fn shows_directory(&self, text: &str) -> bool {
        text.starts_with(self.prefix) && text > self.after && self.common_prefix(text).is_none()
    }

    fn common_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        let delimiter = self.delimiter?;
        let behind = text.get(self.prefix.len()..)?;
        let at = behind.find(delimiter)?;
        text.get(..self.prefix.len() + at + delimiter.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing<'a>(prefix: &'a str, delimiter: &'a str, after: &'a str) -> Listing<'a> {
        Listing { prefix, delimiter: Some(delimiter).filter(|text| !text.is_empty()), after }
    }

    #[test]
    fn starts() {
        for (prefix, want) in [
            ("", Some("")),
            ("a", Some("")),
            ("a/", Some("a/")),
            ("a/b/c", Some("a/b/")),
            ("a//b", None),
            ("/a", None),
            ("/", None),
            ("../a", None),
            ("a/..", Some("a/")),
            (".ringway/x", None),
            ("a\0/b", None),
        ] {
            assert_eq!(listing(prefix, "", "").start(), want, "{prefix:?}");
        }
        assert_eq!(listing(&"a/".repeat(513), "", "").start(), None);
    }

    fn check(listing: Listing<'_>, text: &str, want: Step<'_>) {
        assert_eq!(listing.step(text, "g"), want, "{listing:?} {text}");
    }

    #[test]
    fn steps() {
        check(listing("", "", ""), "a", Step::Show);
        check(listing("", "", ""), "a/", Step::Descend);
        check(listing("", "", ""), "gh", Step::Skip);
        check(listing("a", "", ""), "ab/", Step::Descend);
        check(listing("b", "", ""), "ab/", Step::Skip);
        check(listing("", "", "a"), "a", Step::Skip);
        check(listing("", "", "a"), "a/", Step::Descend);
        check(listing("", "", "a/"), "a/", Step::Descend);
        check(listing("", "", "a/b"), "a/", Step::Descend);
        check(listing("", "", "a0"), "a/", Step::Skip);
        check(listing("", "/", ""), "a/", Step::Group("a/"));
        check(listing("", "/", "a/"), "a/", Step::Skip);
        check(listing("", "/", "a/b"), "a/", Step::Skip);
        check(listing("", "/", "a"), "a/", Step::Group("a/"));
        check(listing("a/", "/", ""), "a/b", Step::Show);
        check(listing("a/", "/", ""), "a/b/", Step::Group("a/b/"));
        check(listing("a/", "/", ""), "a/", Step::Descend);
        check(listing("", "-", ""), "a/", Step::Descend);
        check(listing("", "-", ""), "a/b-c", Step::Group("a/b-"));
        check(listing("", "-", ""), "a-b/", Step::Group("a-"));
        check(listing("a-", "-", ""), "a-b", Step::Show);
        check(listing("", "b/", ""), "a/b/", Step::Group("a/b/"));
    }
}
