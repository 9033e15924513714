//! The rules of style that a program can check, each a test whose failure lists `file:line: what`.
//! A rule looks at text only: nothing is compiled, so a rule also holds for code behind `cfg`.
//! Each rule is a pure function over files, tried on small wrong examples beside it and then on the whole tree.
//! Exceptions are rows of a table with their reason, never a comment at the place itself.

mod floors;
mod names;
mod scanner;
mod shape;
mod text;
mod tree;
mod walls;
