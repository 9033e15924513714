//! S3 over real sockets: a whole server in this process, on a real tree, on each engine, asked by raw requests.
//!
//! `fixture` starts servers, `request` makes signed bytes, `connection` sends them and reads answers; every other module
//! is one theme. Clients of other people are tested in `tests/clients`.

mod conditions;
mod connection;
mod cuts;
mod durable;
mod early_errors;
mod faults;
mod fixture;
mod hostile_bodies;
mod hostile_keys;
mod hostile_requests;
mod hostile_trees;
mod hostile_uploads;
mod overflow;
mod part_numbers;
mod posix;
mod presigned;
mod request;
mod slow_answers;
mod transcript;
mod turns;
