//! Floor 5: the running server: listeners, connections, responses, the control thread, metrics.
//! It decides nothing about S3; it moves bytes and owns lifetimes.
//! Source: ARCHITECTURE.md.

pub mod config;
pub mod setting;

pub mod banner;
mod private_file;
pub mod root_key;
pub mod start;
pub mod state_dir;
