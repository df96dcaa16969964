//! Where the tokens of accounts are found.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::http;
use super::store::Store;
use crate::config::operator::{OperatorOptions, ResolverOptions};
use crate::jwt::{Encoded, decode};

/// Why there is no token of an account.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FetchError {
    #[error("Account Missing")]
    Missing,
    #[error("its token cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("could not fetch it: {0}")]
    Http(String),
}

/// See the module.
pub(super) enum Resolver {
    /// In the configuration.
    Memory(RwLock<BTreeMap<String, Encoded>>),
    /// In a folder.
    Directory(Store),
    /// An account server has them.
    Url(http::Url),
}

impl Resolver {
    /// As the options say.
    pub(super) fn new(options: &OperatorOptions) -> Result<Self, String> {
        match &options.resolver {
            ResolverOptions::Memory => Ok(Self::Memory(RwLock::new(options.preload.clone()))),
            ResolverOptions::Directory { dir, limit, delete } => {
                let failed = |error| format!("resolver: cannot use {}: {error}", dir.display());
                let store = Store::open(dir, *limit, *delete).map_err(failed)?;
                preload(&store, &options.preload).map_err(failed)?;
                tracing::info!("Managing all jwt in exclusive directory {}", dir.display());
                Ok(Self::Directory(store))
            }
            ResolverOptions::Url(url) => {
                let url = http::Url::parse(url)?;
                // Is there anybody?
                url.get("").map_err(|error| format!("resolver: {error}"))?;
                Ok(Self::Url(url))
            }
        }
    }

    /// The token of an account. May wait.
    pub(super) fn fetch(&self, name: &str) -> Result<Encoded, FetchError> {
        match self {
            Self::Memory(tokens) => tokens.read().get(name).cloned().ok_or(FetchError::Missing),
            Self::Directory(store) => store.load(name)?.ok_or(FetchError::Missing),
            Self::Url(url) => url.get(name).map(|text| Encoded::new(&text)).map_err(FetchError::Http),
        }
    }

    /// The accounts whose tokens it has, as far as that can be said.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Memory(tokens) => tokens.read().keys().cloned().collect(),
            Self::Directory(store) => store.names(),
            Self::Url(_) => Vec::new(),
        }
    }

    /// Accounts whose tokens are others than before.
    pub(super) fn reload(&self, options: &OperatorOptions) -> Vec<String> {
        match self {
            Self::Memory(tokens) => {
                let mut tokens = tokens.write();
                let differs = |(name, jwt): &(&String, &Encoded)| tokens.get(*name) != Some(*jwt);
                let changed = options.preload.iter().filter(differs).map(|(name, _)| name.clone()).collect();
                tokens.clone_from(&options.preload);
                changed
            }
            Self::Directory(store) => {
                let read = preload(store, &options.preload).and_then(|()| store.read_again());
                read.unwrap_or_else(|error| {
                    tracing::error!("The folder of the resolver cannot be read: {error}");
                    Vec::new()
                })
            }
            Self::Url(_) => Vec::new(),
        }
    }

    /// The folder, if there is one.
    pub(super) fn store(&self) -> Option<&Store> {
        if let Self::Directory(store) = self { Some(store) } else { None }
    }
}

/// Tokens of the configuration, unless the folder has newer ones.
fn preload(store: &Store, tokens: &BTreeMap<String, Encoded>) -> std::io::Result<()> {
    for (name, jwt) in tokens {
        let issued = |jwt: &Encoded| decode::<crate::jwt::account::Account>(jwt.text()).map(|token| token.claims.iat);
        let newer = store.load(name)?.is_some_and(|there| issued(&there).ok() > issued(jwt).ok());
        if !newer {
            store.save(name, jwt)?;
        }
    }
    Ok(())
}
