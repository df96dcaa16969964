//! Configuration files in the language of nats-server: from bytes to a tree whose every value knows its place.
//!
//! [`load`] reads a file and what it includes, [`Source::parse`] a text. Both are total: any bytes give a tree or one
//! [`ParseError`] that names file, line, column, what was found and what was expected. Memory, nesting and the number
//! of included files are bounded ([`limits`]). What the keys mean is the business of [`settings`].
//!
//! Where nats-server takes a file that is broken, as one that ends inside a block, or a number that overflows, this
//! parser refuses it; where nats-server refuses valid JSON, this parser takes it. All else agrees, and the tests in
//! `tests/conf_golden` hold it to that.

mod cursor;
mod digest;
mod error;
mod number;
mod parser;
pub mod settings;
mod tree;

pub use digest::digest;
pub use error::{ParseError, Problem};
pub use parser::{Source, load};
pub use tree::{Entry, Map, Node, Position, Value};

/// Bounds of one configuration, all its files together.
pub mod limits {
    /// Bytes of one file.
    pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Arrays and maps inside each other.
    pub const DEPTH_MAX: usize = 64;
    /// Files that include each other.
    pub const INCLUDE_DEPTH_MAX: usize = 16;
    /// Variables of the environment that stand for each other.
    pub const VARIABLE_DEPTH_MAX: usize = 64;
    /// Files that are read in all.
    pub const FILES_MAX: usize = 1024;
    /// What the tree may take in memory, as [`super::tree`] counts: variables can make a small file large.
    pub const TREE_BYTES_MAX: usize = 64 * 1024 * 1024;
}
