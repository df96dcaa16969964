//! What a configuration says about operators, who sign accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::jwt::operator::Operator;
use crate::jwt::{Encoded, Token};

/// An operator, as its token says.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustedOperator {
    /// The token.
    pub jwt: Encoded,
    /// What is in it.
    pub token: Token<Operator>,
}

/// Where the tokens of accounts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolverOptions {
    /// Those of the configuration, and no others.
    Memory,
    /// A folder, into which they are pushed as well.
    Directory {
        /// The folder.
        dir: PathBuf,
        /// Most of them; `None` is any number.
        limit: Option<usize>,
        /// What becomes of one that is deleted.
        delete: Delete,
    },
    /// An account server, asked by HTTP: the URL up to the public key.
    Url(String),
}

/// What becomes of a token that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delete {
    /// None is.
    Never,
    /// Its file gets another name.
    Rename,
    /// Its file is removed.
    Remove,
}

/// See the module.
#[derive(Clone, PartialEq)]
pub struct OperatorOptions {
    /// The operators; none where keys alone are trusted.
    pub operators: Vec<TrustedOperator>,
    /// Keys that may sign accounts.
    pub trusted: BTreeSet<String>,
    /// Those of them whose accounts sign users with signing keys only.
    pub strict: BTreeSet<String>,
    /// Where accounts are found.
    pub resolver: ResolverOptions,
    /// Tokens of accounts that stand in the configuration.
    pub preload: BTreeMap<String, Encoded>,
    /// Only these accounts may connect.
    pub pinned: Option<BTreeSet<String>>,
    /// The account from which the server is watched.
    pub system: Option<Arc<str>>,
}

impl fmt::Debug for OperatorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorOptions")
            .field("trusted", &self.trusted)
            .field("resolver", &self.resolver)
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}
