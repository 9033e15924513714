//! The one door from paths to keys: which names found on disk are listed, and as what.
//! The mirror of path.rs, by the same rules: `key::of` gives back exactly the keys that `path::of` takes. A name that is
//! no key is not an error: it is left out of listings, counted and logged by the caller.
//! Source: the rules of path.rs; what is no UTF-8 could be in no XML answer.

use super::path::{KeyKind, check_component};
use crate::s3::names::ObjectKey;

/// The key of a path below a bucket's directory.
/// Shape: components between single slashes, none at the start or end; `None` for what is no key.
pub fn of(path: &[u8], kind: KeyKind) -> Option<ObjectKey> {
    let path = std::str::from_utf8(path).ok()?;
    path.split('/').try_for_each(check_component).ok()?;
    let key = match kind {
        KeyKind::File => ObjectKey::parse(path.as_bytes()),
        KeyKind::Directory => ObjectKey::parse(&[path.as_bytes(), b"/"].concat()),
    };
    key.ok()
}

/// The component of a key that a directory entry's name is; `None` for a name that is none, such as `..`.
pub fn component(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?;
    check_component(name).ok().map(|()| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::path;
    use proptest::prelude::*;

    fn check(path: &[u8], kind: KeyKind, want: Option<&str>) {
        assert_eq!(of(path, kind).as_ref().map(ObjectKey::as_str), want, "{}", path.escape_ascii());
        if !path.contains(&b'/') && kind == KeyKind::File {
            assert_eq!(component(path), want, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn names_on_disk() {
        check(b"a/b", KeyKind::File, Some("a/b"));
        check(b"a/b", KeyKind::Directory, Some("a/b/"));
        check("é\n".as_bytes(), KeyKind::File, Some("é\n"));
        for name in [
            &b""[..],
            b".",
            b"..",
            b"a\xff",
            b"a\x01",
            b".ringway",
            b".ringway-tmp-1",
            b"a/.ringway/b",
            b"/a",
            b"a/",
        ] {
            check(name, KeyKind::File, None);
        }
        assert_eq!(component(b"a/b"), None);
        let longest = ["x".repeat(255), "x".repeat(255), "x".repeat(255), "x".repeat(255)].join("/");
        check(longest.as_bytes(), KeyKind::Directory, Some(&format!("{longest}/")));
        check(format!("{longest}/").as_bytes(), KeyKind::File, None);
        check(format!("{longest}/a").as_bytes(), KeyKind::Directory, None);
    }

    proptest! {
        #[test]
        fn keys_come_back(key in prop_oneof!["[a-c./\u{1}é]{1,12}", "\\PC{1,40}"]) {
            if let Ok(path) = path::of(&ObjectKey::parse(key.as_bytes()).unwrap()) {
                let back = of(path.path().to_bytes(), path.kind());
                prop_assert_eq!(back.as_ref().map(ObjectKey::as_str), Some(key.as_str()));
            }
        }

        #[test]
        fn paths_come_back(name in proptest::collection::vec(any::<u8>(), 1..300)) {
            if let Some(key) = of(&name, KeyKind::File) {
                let path = path::of(&key).unwrap();
                prop_assert_eq!(path.path().to_bytes(), name.as_slice());
            }
        }
    }
}
