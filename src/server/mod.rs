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

pub mod core_link;
pub mod lifecycle;
pub mod metrics;
mod metrics_text;

pub mod access_log;
pub mod log;
pub mod log_writer;

mod admin;
pub mod control;

pub mod connection;
pub mod core_main;
pub mod core_state;
pub mod descriptors;
pub mod dispatch;
pub mod respond;
pub mod send;
pub mod serve;
