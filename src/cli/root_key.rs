//! `ringway root-key show|reset`: root's stored key pair, offline, for whoever may read its file.
//! It talks to no server: `reset` is refused while one holds the state directory, `show` needs no lock.
//! A key pair that the environment gave to a server is not stored and not shown.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::Failure;
use crate::server::banner;
use crate::server::root_key::RootKey;
use crate::server::state_dir::StateDir;

/// What to do with the key.
#[derive(Debug, Subcommand)]
pub enum RootKeyCommand {
    /// Print the stored key as two shell commands: eval "$(ringway root-key show ./data)"
    Show(RootKeyArgs),
    /// Make a new key in place of the stored one and print it; the server must not be running
    Reset(RootKeyArgs),
}

/// Where the key is, and how it is printed.
#[derive(Debug, Args)]
pub struct RootKeyArgs {
    /// The directory that is served; the key is in its state directory, ROOT/.ringway
    #[arg(value_name = "ROOT")]
    root: Option<PathBuf>,

    /// The state directory, when the server has another than ROOT/.ringway
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// The configuration file of the server: its `state-dir` or `root` say where the key is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

/// Carries out one command, printing to `out`.
/// Errors: Usage without a place to look; Failed when there is no key, it may not be read, or a server is running.
pub fn run(command: RootKeyCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        RootKeyCommand::Show(args) => {
            let state_dir = args.state_dir()?;
            let key = RootKey::read(&state_dir).map_err(Failure::failed)?;
            let Some(key) = key else {
                let shown = state_dir.display();
                return Err(Failure::failed(format!(
                    "no root key is stored in {shown}: the first start of ringway serve makes one"
                )));
            };
            print(&key, &args, out)
        }
        RootKeyCommand::Reset(args) => {
            let state_dir = args.state_dir()?;
            // A typing error must not make a state directory with a key that no server uses.
            if !state_dir.is_dir() {
                return Err(Failure::failed(format!("there is no state directory {}", state_dir.display())));
            }
            let state_dir = StateDir::open(&state_dir).map_err(Failure::failed)?;
            let key = RootKey::reset(&state_dir).map_err(Failure::failed)?;
            print(&key, &args, out)
        }
    }
}

impl RootKeyArgs {
    fn state_dir(&self) -> Result<PathBuf, Failure> {
        match (&self.state_dir, &self.root) {
            (Some(state_dir), _) => Ok(state_dir.clone()),
            (None, Some(root)) => Ok(root.join(".ringway")),
            (None, None) => {
                Err(Failure::Usage("ROOT or --state-dir is missing: they say where the key is".to_owned()))
            }
        }
    }
}

fn print(key: &RootKey, args: &RootKeyArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let written = if args.json {
        let id = key.access_key_id();
        writeln!(
            out,
            "{}",
            serde_json::json!({ "access_key_id": id, "secret_access_key": key.secret_access_key() })
        )
    } else {
        out.write_all(banner::exports(key).as_bytes())
    };
    written
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot print the key: {error}")))
}
