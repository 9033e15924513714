//! The shape of files: headers, lengths, one door a folder, scripts that read alike.
//! Rust files hold at most 600 lines and functions at most 70, counted from `fn` to the closing brace.
//! A long table is split like any other file; nothing is exempt.

use crate::scanner::functions;
use crate::tree::{Finding, SourceFile};

const HEADER_LINES_MIN: usize = 3;
const HEADER_LINES_MAX: usize = 8;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const SCRIPT_LINES_MAX: usize = 99;
const README_LINES_MAX: usize = 150;

fn rust_files_begin_with_a_header(files: &[SourceFile]) -> Vec<Finding> {
    let rust = files.iter().filter(|file| file.is_rust());
    let headers =
        rust.map(|file| (file, file.text.lines().take_while(|line| line.starts_with("//!")).count()));
    let wrong = headers.filter(|(_, count)| !(HEADER_LINES_MIN..=HEADER_LINES_MAX).contains(count));
    wrong
        .map(|(file, count)| Finding::new(file, 1, format!("header of {count} lines of `//!`, not 3 to 8")))
        .collect()
}

fn files_fit_in_the_head(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let lines_max = match file.path.as_str() {
            "README.md" => README_LINES_MAX,
            path if path.starts_with("scripts/") => SCRIPT_LINES_MAX,
            _ if file.is_rust() => FILE_LINES_MAX,
            _ => continue,
        };
        let count = file.text.lines().count();
        if count > lines_max {
            findings.push(Finding::new(file, lines_max + 1, format!("{count} lines, at most {lines_max}")));
        }
    }
    findings
}

fn functions_fit_on_a_screen(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for function in functions(&file.code) {
            let count = function.last_line - function.first_line + 1;
            if count > FUNCTION_LINES_MAX {
                let what = format!("fn {}: {count} lines, at most {FUNCTION_LINES_MAX}", function.name);
                findings.push(Finding::new(file, function.first_line, what));
            }
        }
    }
    findings
}

/// A folder of modules is entered by its `mod.rs`: no `foo.rs` beside `foo/`.
fn folders_have_one_door(files: &[SourceFile]) -> Vec<Finding> {
    let rust: Vec<&SourceFile> = files.iter().filter(|file| file.is_rust()).collect();
    let doubled = rust.iter().filter(|file| {
        let folder = format!("{}/", file.path.trim_end_matches(".rs"));
        rust.iter().any(|other| other.path.starts_with(&folder))
    });
    doubled
        .map(|file| {
            Finding::new(file, 0, "stands beside a folder of its name: move it to that folder's mod.rs")
        })
        .collect()
}

fn scripts_read_alike(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_script = |file: &&SourceFile| file.path.starts_with("scripts/") || file.path.starts_with(".ci/");
    for file in files.iter().filter(is_script) {
        let lines: Vec<&str> = file.text.lines().collect();
        let Some(first) = lines.first().filter(|line| line.starts_with("#!")) else {
            findings.push(Finding::new(file, 1, "a script begins with `#!`"));
            continue;
        };
        if !lines.get(1).is_some_and(|line| line.starts_with("# ") || line.starts_with("\"\"\"")) {
            findings.push(Finding::new(file, 2, "a script's second line says when to run it"));
        }
        if first.ends_with("bash") && !lines.contains(&"set -euo pipefail") {
            findings.push(Finding::new(file, 1, "no `set -euo pipefail`"));
        }
    }
    findings
}

/// In the floors that read what strangers send, clippy refuses whatever may panic.
fn floors_of_requests_cannot_panic(files: &[SourceFile]) -> Vec<Finding> {
    const LINTS: [&str; 4] = ["unwrap_used", "expect_used", "indexing_slicing", "arithmetic_side_effects"];
    let doors = ["src/http/mod.rs", "src/s3/mod.rs", "src/auth/mod.rs", "src/iam/mod.rs"];
    let is_denied = |file: &SourceFile, lint: &str| {
        let mut denials = file.code.split("#![deny(").skip(1).filter_map(|rest| rest.split(")]").next());
        denials.any(|denied| denied.contains(&format!("clippy::{lint}")))
    };
    let guarded = files.iter().filter(|file| doors.contains(&file.path.as_str()));
    let missing = guarded.flat_map(|file| {
        LINTS.into_iter().filter(|lint| !is_denied(file, lint)).map(move |lint| (file, lint))
    });
    missing.map(|(file, lint)| Finding::new(file, 0, format!("does not deny clippy::{lint}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{check_one, check_project};

    #[test]
    fn headers_hold_in_the_project() {
        check_project(rust_files_begin_with_a_header);
    }

    #[test]
    fn file_lengths_hold_in_the_project() {
        check_project(files_fit_in_the_head);
    }

    #[test]
    fn function_lengths_hold_in_the_project() {
        check_project(functions_fit_on_a_screen);
    }

    #[test]
    fn doors_hold_in_the_project() {
        check_project(folders_have_one_door);
    }

    #[test]
    fn scripts_hold_in_the_project() {
        check_project(scripts_read_alike);
    }

    #[test]
    fn lints_hold_in_the_project() {
        check_project(floors_of_requests_cannot_panic);
    }

    #[test]
    fn headers_are_three_to_eight_lines_at_the_top() {
        let check =
            |text: &str, want: &[usize]| check_one(rust_files_begin_with_a_header, "src/a.rs", text, want);
        check("//! a\n//! b\n//! c\n", &[]);
        check("//! a\n//!\n//! c\n#![deny(unsafe_code)]\n", &[]);
        check("//! a\n//! b\n", &[1]);
        check("\n//! a\n//! b\n//! c\n", &[1]);
        check(&"//! a\n".repeat(9), &[1]);
    }

    #[test]
    fn lengths_bite_one_line_beyond() {
        let body = |lines: usize| format!("fn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2));
        check_one(functions_fit_on_a_screen, "src/a.rs", &body(70), &[]);
        check_one(functions_fit_on_a_screen, "src/a.rs", &body(71), &[1]);
        check_one(files_fit_in_the_head, "src/a.rs", &"\n".repeat(600), &[]);
        check_one(files_fit_in_the_head, "src/a.rs", &"\n".repeat(601), &[601]);
        check_one(files_fit_in_the_head, "scripts/a", &"\n".repeat(100), &[100]);
        check_one(files_fit_in_the_head, "README.md", &"\n".repeat(151), &[151]);
    }

    #[test]
    fn a_file_beside_its_folder_is_found() {
        let files =
            ["src/a.rs", "src/a/b.rs", "src/ab.rs", "src/c/mod.rs"].map(|path| SourceFile::new(path, ""));
        let found: Vec<String> = folders_have_one_door(&files).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["src/a.rs"]);
    }

    #[test]
    fn scripts_without_their_first_lines_are_found() {
        let check = |text: &str, want: &[usize]| check_one(scripts_read_alike, "scripts/a", text, want);
        check("#!/usr/bin/env bash\n# Run it often.\nset -euo pipefail\n", &[]);
        check("#!/usr/bin/env python3\n\"\"\"Run it often.\"\"\"\n", &[]);
        check("#!/usr/bin/env bash\nset -eu\n", &[1, 2]);
        check("echo\n", &[1]);
    }

    #[test]
    fn a_lint_that_is_only_allowed_is_missing() {
        let denied =
            "#![deny(clippy::unwrap_used, clippy::expect_used)]\n#![allow(clippy::indexing_slicing)]\n";
        check_one(floors_of_requests_cannot_panic, "src/s3/mod.rs", denied, &[0, 0]);
        check_one(floors_of_requests_cannot_panic, "src/ops/mod.rs", "", &[]);
    }
}
