//! Walls inside the code: where unsafe may stand, where the clock is read, where a name is published.
//! Each wall is a list of places; what lies behind it may be written nowhere else.
//! The publish sites are counted: one link and one rename make every object, so one recipe is enough to prove.

use crate::scanner::{Word, group_end, line_of, words};
use crate::tree::{Finding, SourceFile};

/// The ring needs unsafe, and the SIMD lanes; nothing else does.
/// The baselines are measured beside the product and are no part of it.
const UNSAFE_PLACES: [&str; 3] = ["uring/", "src/digest/lanes.rs", "benches/baselines/"];

/// Core logic gets time as an argument; this file alone asks the kernel.
const CLOCK_PLACE: &str = "uring/src/time.rs";

/// Ways to read a clock, as the last two words of a path or one word of its own.
const CLOCK_PATHS: [(&str, &str); 3] = [("Instant", "now"), ("SystemTime", "now"), ("Utc", "now")];
const CLOCK_WORDS: [&str; 3] = ["clock_gettime", "gettimeofday", "elapsed"];

/// Holds the one call site of each way to publish a name.
const PUBLISH_PLACE: &str = "src/fs/commit.rs";
const PUBLISH_NAMES: [&str; 2] = ["link", "rename"];

/// Ways around `uring::file` that would publish a name too.
const PUBLISH_DETOURS: [&str; 4] = ["hard_link", "linkat", "renameat", "renameat2"];

fn unsafe_stays_behind_its_wall(files: &[SourceFile]) -> Vec<Finding> {
    let outside = files.iter().filter(|file| !UNSAFE_PLACES.iter().any(|place| file.path.starts_with(place)));
    let mut findings: Vec<Finding> = outside
        .flat_map(|file| {
            lines_with(file, |word| word.text == "unsafe").into_iter().map(move |line| (file, line))
        })
        .map(|(file, line)| Finding::new(file, line, "unsafe outside uring and src/digest/lanes.rs"))
        .collect();
    let top = files.iter().find(|file| file.path == "src/lib.rs");
    let unguarded = top.filter(|file| !file.code.contains("#![deny(unsafe_code)]"));
    findings.extend(unguarded.map(|file| Finding::new(file, 0, "does not deny unsafe_code")));
    findings
}

fn the_clock_is_read_in_one_file(files: &[SourceFile]) -> Vec<Finding> {
    let in_product =
        |file: &&SourceFile| file.path.starts_with("src/") || file.path.starts_with("uring/src/");
    let mut findings = Vec::new();
    for file in files.iter().filter(in_product).filter(|file| file.path != CLOCK_PLACE) {
        let found = words(&file.code);
        let paths = found.windows(2).filter(|pair| CLOCK_PATHS.contains(&(pair[0].text, pair[1].text)));
        let calls =
            found.iter().filter(|word| CLOCK_WORDS.contains(&word.text) && is_called(&file.code, word));
        let offsets = paths.map(|pair| pair[0].offset).chain(calls.map(|word| word.offset));
        findings.extend(offsets.map(|offset| {
            Finding::new(
                file,
                line_of(&file.code, offset),
                format!("reads the clock: only {CLOCK_PLACE} does"),
            )
        }));
    }
    findings
}

/// One call of `file::link` and one of `file::rename`, both in the commit recipe, and no way around them.
fn names_are_published_in_one_place(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut counts = [0usize; 2];
    for file in files.iter().filter(|file| file.is_rust() && file.path.starts_with("src/")) {
        findings.extend(publish_detours(file));
        for (name, line) in publish_calls(file) {
            let kind = usize::from(name.starts_with(PUBLISH_NAMES[1]));
            counts[kind] += 1;
            if file.path != PUBLISH_PLACE || counts[kind] > 1 {
                findings.push(Finding::new(
                    file,
                    line,
                    format!("`file::{name}`: a second place that publishes"),
                ));
            }
        }
    }
    let recipe = files.iter().find(|file| file.path == PUBLISH_PLACE);
    for (name, count) in PUBLISH_NAMES.into_iter().zip(counts) {
        let missing = recipe.filter(|_| count == 0);
        findings.extend(missing.map(|file| Finding::new(file, 0, format!("no call of `file::{name}`"))));
    }
    findings
}

/// Every path `file::link..` or `file::rename..`, called or not: a function value would hide call sites.
fn publish_calls(file: &SourceFile) -> Vec<(&str, usize)> {
    let found = words(&file.code);
    let paths = found.windows(2).filter(|pair| {
        let between = &file.code[pair[0].offset + pair[0].text.len()..pair[1].offset];
        pair[0].text == "file" && between == "::" && publishes(pair[1].text)
    });
    paths.map(|pair| (pair[1].text, line_of(&file.code, pair[1].offset))).collect()
}

fn publishes(word: &str) -> bool {
    PUBLISH_NAMES.iter().any(|name| word == *name || word.starts_with(&format!("{name}_")))
}

/// In the floors that touch the tree: the same system calls by another door, and imports that shorten their names.
fn publish_detours(file: &SourceFile) -> Vec<Finding> {
    if !["src/fs/", "src/ops/"].iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let code = file.code.as_str();
    let mut findings = Vec::new();
    let found = words(code);
    for (index, word) in found.iter().enumerate() {
        let after = &code[word.offset + word.text.len()..];
        let is_std = word.text == "rename" && code[..word.offset].ends_with("fs::");
        let is_renamed = word.text == "file" && after.starts_with(" as ");
        let is_detour = PUBLISH_DETOURS.contains(&word.text) || is_std || is_renamed;
        if is_detour
            || word.text == "file" && after.starts_with("::{") && group_publishes(code, word, &found[index..])
        {
            let line = line_of(code, word.offset);
            findings.push(Finding::new(
                file,
                line,
                format!("`{}`: publish through {PUBLISH_PLACE}", word.text),
            ));
        }
    }
    findings
}

fn group_publishes(code: &str, file: &Word, following: &[Word]) -> bool {
    let open = file.offset + file.text.len() + "::".len();
    let Some(end) = group_end(code, open) else { return false };
    following.iter().take_while(|word| word.offset < end).any(|word| publishes(word.text))
}

fn lines_with(file: &SourceFile, is_meant: fn(&Word) -> bool) -> Vec<usize> {
    words(&file.code)
        .iter()
        .filter(|word| is_meant(word))
        .map(|word| line_of(&file.code, word.offset))
        .collect()
}

fn is_called(code: &str, word: &Word) -> bool {
    code[word.offset + word.text.len()..].starts_with('(')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{check_one, check_project};

    #[test]
    fn unsafe_holds_in_the_project() {
        check_project(unsafe_stays_behind_its_wall);
    }

    #[test]
    fn the_clock_holds_in_the_project() {
        check_project(the_clock_is_read_in_one_file);
    }

    #[test]
    fn publish_sites_hold_in_the_project() {
        check_project(names_are_published_in_one_place);
    }

    #[test]
    fn unsafe_is_found_as_code_only() {
        let check = |path: &str, text: &str, want: &[usize]| {
            check_one(unsafe_stays_behind_its_wall, path, text, want)
        };
        check("src/fs/a.rs", "\nunsafe { b() }\nunsafe fn c() {}", &[2, 3]);
        check("src/fs/a.rs", "// unsafe\nlet a = \"unsafe\"; let not_unsafe = 1;", &[]);
        check("uring/src/ring.rs", "unsafe { b() }", &[]);
        check("src/digest/lanes.rs", "unsafe { b() }", &[]);
        check("src/lib.rs", "pub mod fs;", &[0]);
    }

    #[test]
    fn every_clock_is_found() {
        let check = |path: &str, text: &str, want: &[usize]| {
            check_one(the_clock_is_read_in_one_file, path, text, want)
        };
        check("src/fs/a.rs", "let a = std::time::Instant::now();\nSystemTime::now()", &[1, 2]);
        check("uring/src/core.rs", "libc::clock_gettime(0, a);\nb.elapsed()", &[1, 2]);
        check("src/fs/a.rs", "use uring::time::now_ns; let elapsed = now_ns();", &[]);
        check("uring/src/time.rs", "Instant::now()", &[]);
        check("tests/s3/main.rs", "SystemTime::now()", &[]);
    }

    #[test]
    fn publish_sites_are_counted() {
        let check = |path: &str, text: &str, want: &[usize]| {
            check_one(names_are_published_in_one_place, path, text, want)
        };
        let both = "file::link(a).await;\nuring::file::rename(b).await;\n";
        check("src/fs/commit.rs", both, &[]);
        check("src/fs/commit.rs", &format!("{both}file::link(c).await;"), &[3]);
        check("src/fs/commit.rs", "file::link(a).await;", &[0]);
        check("src/fs/writer.rs", both, &[1, 2]);
        check("src/fs/writer.rs", "use uring::file::{self, unlink, rename};", &[1]);
        check(
            "src/fs/writer.rs",
            "use uring::file as f;\nlibc::renameat2(a);\nstd::fs::rename(b, c);",
            &[1, 2, 3],
        );
        check("src/fs/commit.rs", "file::link_at(a).await;\nfile::rename_at(b).await;", &[]);
        check("src/fs/writer.rs", "file::unlink(a).await;\nlet link = file::links(b);", &[]);
        check("src/server/root_key.rs", "std::fs::rename(a, b)", &[]);
    }
}
