//! The one door from keys to paths: which keys name a place in a bucket's tree, and which rule the others break.
//! A key that is refused here can be no object: a write of it is 400, a read 404, a delete 204, so the rule comes back
//! as a value and the operation decides. It looks at no file; symlinks and mounts are the resolver's.
//! Source: path_resolution(7), openat2(2); the XML 1.0 production `Char`, without which a key could not be listed.

use std::ffi::CStr;

use crate::s3::error::{Code, S3Error};
use crate::s3::names::ObjectKey;
use crate::s3::xml::writer::is_xml_char;

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A file.
    File,
    /// A directory as an object: the key ends in `/`.
    Directory,
}

/// The rule that a key breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPathError {
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// Nothing before, after or between slashes.
    EmptyComponent,
    /// A component `.` or `..`.
    DotComponent,
    /// A component over [`COMPONENT_BYTES_MAX`].
    ComponentTooLong,
    /// A NUL byte.
    Nul,
    /// A character that XML 1.0 cannot carry: no listing could name the key.
    NotXml,
    /// A component that begins with `.ringway`.
    Reserved,
}

impl KeyPathError {
    /// The rule in words, for the message of a refused write.
    pub fn rule(self) -> &'static str {
        match self {
            KeyPathError::NotUtf8 => "a key must be UTF-8",
            KeyPathError::EmptyComponent => {
                "a key must have no empty component: no `/` at its start, no `//`"
            }
            KeyPathError::DotComponent => "a key must have no component `.` or `..`",
            KeyPathError::ComponentTooLong => "a component of a key must be at most 255 bytes long",
            KeyPathError::Nul => "a key must have no NUL byte",
            KeyPathError::NotXml => "a key must have no control character that XML 1.0 cannot carry",
            KeyPathError::Reserved => "a component of a key must not begin with `.ringway`",
        }
    }
}

impl From<KeyPathError> for S3Error {
    /// Errors: InvalidArgument, as a write answers.
    fn from(error: KeyPathError) -> S3Error {
        S3Error::new(Code::InvalidArgument).with_message(error.rule())
    }
}

/// A key as a path below its bucket's directory, in every form that system calls ask for.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPath {
    /// One allocation: the path, the parent's path, then each component, every one ended by a NUL.
    /// INVARIANT: no other NUL, no empty component, at least one component.
    text: Box<[u8]>,
    /// Where the parent's path starts.
    parent_start: usize,
    /// Where the components start.
    components_start: usize,
    /// Where the last component starts.
    leaf_start: usize,
    kind: KeyKind,
}

/// The path of a key.
/// Errors: the first rule that it breaks; length is `ObjectKey`'s rule.
pub fn of(key: &ObjectKey) -> Result<KeyPath, KeyPathError> {
    if !key.is_utf8() {
        return Err(KeyPathError::NotUtf8);
    }
    let (path, kind) = match key.as_str().strip_suffix('/') {
        Some(path) => (path, KeyKind::Directory),
        None => (key.as_str(), KeyKind::File),
    };
    for component in path.split('/') {
        check_component(component)?;
    }
    let (parent, leaf) = path.rsplit_once('/').unwrap_or(("", path));
    let mut text = Vec::with_capacity(path.len() + parent.len() + path.len() + 3);
    text.extend_from_slice(path.as_bytes());
    text.push(0);
    let parent_start = text.len();
    text.extend_from_slice(parent.as_bytes());
    text.push(0);
    let components_start = text.len();
    text.extend(path.bytes().map(|byte| if byte == b'/' { 0 } else { byte }));
    text.push(0);
    let leaf_start = text.len() - leaf.len() - 1;
    Ok(KeyPath { text: text.into(), parent_start, components_start, leaf_start, kind })
}

impl KeyPath {
    /// The whole path, relative to the bucket, without a trailing slash.
    pub fn path(&self) -> &CStr {
        c_str(&self.text)
    }

    /// The path of the directory that holds it; `None` when that is the bucket itself.
    pub fn parent(&self) -> Option<&CStr> {
        Some(c_str(&self.text[self.parent_start..])).filter(|parent| !parent.is_empty())
    }

    /// The components of the parent's path, outermost first: what is made when it is missing.
    pub fn parent_components(&self) -> impl Iterator<Item = &CStr> {
        self.text[self.components_start..self.leaf_start].split_inclusive(|byte| *byte == 0).map(c_str)
    }

    /// The name in the parent directory.
    pub fn leaf(&self) -> &CStr {
        c_str(&self.text[self.leaf_start..])
    }

    /// Whether the key names a file or a directory.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
}

impl std::fmt::Debug for KeyPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.path())
    }
}

/// The rules of one component, the same for keys that come in and for names that are found on disk.
pub(super) fn check_component(component: &str) -> Result<(), KeyPathError> {
    if component.is_empty() {
        Err(KeyPathError::EmptyComponent)
    } else if component == "." || component == ".." {
        Err(KeyPathError::DotComponent)
    } else if component.len() > COMPONENT_BYTES_MAX {
        Err(KeyPathError::ComponentTooLong)
    } else if component.starts_with(RESERVED_PREFIX) {
        Err(KeyPathError::Reserved)
    } else if component.contains('\0') {
        Err(KeyPathError::Nul)
    } else if !component.chars().all(is_xml_char) {
        Err(KeyPathError::NotXml)
    } else {
        Ok(())
    }
}

fn c_str(text: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(text).expect("every part of a KeyPath ends in a NUL")
}

/// NAME_MAX of every Linux filesystem we serve.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// What Ringway keeps for itself in every directory: its state, staging names, sidecars.
pub const RESERVED_PREFIX: &str = ".ringway";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(key: &str) -> Result<KeyPath, KeyPathError> {
        of(&ObjectKey::parse(key.as_bytes()).unwrap())
    }

    /// Kind, parent, its components, leaf.
    type Parts<'a> = (KeyKind, Option<&'a str>, &'a [&'a str], &'a str);

    fn check(key: &str, want: Result<Parts, KeyPathError>) {
        let text = |c_str: &CStr| c_str.to_str().unwrap().to_owned();
        let got = parse(key).map(|path| {
            assert_eq!(text(path.path()), key.strip_suffix('/').unwrap_or(key));
            let components = path.parent_components().map(text).collect::<Vec<_>>();
            (path.kind(), path.parent().map(text), components, text(path.leaf()))
        });
        let want = want.map(|(kind, parent, components, leaf)| {
            (
                kind,
                parent.map(str::to_owned),
                components.iter().map(|&c| c.to_owned()).collect(),
                leaf.to_owned(),
            )
        });
        assert_eq!(got, want, "{key:?}");
    }

    #[test]
    fn keys_that_are_paths() {
        use KeyKind::{Directory, File};
        check("a", Ok((File, None, &[], "a")));
        check("a/b", Ok((File, Some("a"), &["a"], "b")));
        check("a/bb/ccc", Ok((File, Some("a/bb"), &["a", "bb"], "ccc")));
        check("a/", Ok((Directory, None, &[], "a")));
        check("a/b/", Ok((Directory, Some("a"), &["a"], "b")));
        check("...", Ok((File, None, &[], "...")));
        check("a b\t\n\r\u{7f}é\u{fffd}😀", Ok((File, None, &[], "a b\t\n\r\u{7f}é\u{fffd}😀")));
        check(".ringwa", Ok((File, None, &[], ".ringwa")));
        check("a.ringway", Ok((File, None, &[], "a.ringway")));
        let longest = "x".repeat(255);
        check(&longest, Ok((File, None, &[], &longest)));
    }

    #[test]
    fn keys_that_break_a_rule() {
        use KeyPathError as E;
        for key in ["/", "/a", "a//b", "a//", "//"] {
            check(key, Err(E::EmptyComponent));
        }
        for key in [".", "..", "../a", "a/..", "a/./b", "a/../", "./"] {
            check(key, Err(E::DotComponent));
        }
        for key in [".ringway", ".ringway/b", "a/.ringway-tmp-1", "a/.ringwayx/b"] {
            check(key, Err(E::Reserved));
        }
        for key in ["\0", "a\0b", "a/b\0"] {
            check(key, Err(E::Nul));
        }
        for key in ["\x01", "a/\x1f", "\u{fffe}", "a\u{ffff}"] {
            check(key, Err(E::NotXml));
        }
        check(&"x".repeat(256), Err(E::ComponentTooLong));
        check(&format!("a/{}/b", "é".repeat(128)), Err(E::ComponentTooLong));
        let error = S3Error::from(E::DotComponent);
        assert_eq!((error.code(), error.message()), (Code::InvalidArgument, E::DotComponent.rule()));
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_bucket(key in "[a./\0\u{1}]{1,12}") {
            if let Ok(path) = parse(&key) {
                let text = path.path().to_str().unwrap();
                prop_assert!(!text.starts_with('/') && !text.is_empty());
                prop_assert!(text.split('/').all(|component| !["", ".", ".."].contains(&component)));
                let leaf = path.leaf().to_str().unwrap();
                let parent = path.parent().map_or(String::new(), |parent| parent.to_str().unwrap().to_owned() + "/");
                prop_assert_eq!(text, parent + leaf);
            }
        }
    }
}
