//! Floor 6: the command line, one file per command group.
//! Flags, environment and the TOML file become one configuration here.
//! Source: ARCHITECTURE.md.
