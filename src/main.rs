//! The `ringway` binary: server, administration tool and benchmark.
//! Everything is in the library; this file only hands over the command line.
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    match ringway::cli::run(&argv, &|name| std::env::var_os(name), &mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
