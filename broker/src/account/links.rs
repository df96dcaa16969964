//! What an account takes from others, ready to be used: found when a subscription or a route is made, never a message.

use std::sync::Arc;

use sublog_protocol::subject;

use super::{Account, Accounts};
use crate::config::accounts::{AccountOptions, Import, Mapping};

/// An import with the account it is from.
pub struct Link {
    /// The account that exports.
    pub from: Arc<Account>,
    /// What is imported.
    pub import: Import,
}

/// All of one account.
#[derive(Default)]
pub struct Links {
    /// Streams.
    pub streams: Vec<Arc<Link>>,
    /// Services.
    pub services: Vec<Arc<Link>>,
    /// Where its own messages go instead.
    pub mappings: Vec<Mapping>,
}

impl Links {
    /// As the configuration says.
    pub(super) fn of(options: &AccountOptions, accounts: &Accounts) -> Self {
        let mut links = Self { mappings: options.mappings.clone(), ..Self::default() };
        for import in &options.imports {
            // That it is there was checked when the configuration was read.
            let Some(from) = accounts.get(&import.account) else { continue };
            let link = Arc::new(Link { from, import: import.clone() });
            if import.service.is_some() { links.services.push(link) } else { links.streams.push(link) }
        }
        links
    }

    /// The streams of which somebody gets something who subscribes to `filter`.
    pub fn streams_for(&self, filter: &[u8]) -> impl Iterator<Item = &Arc<Link>> {
        self.streams.iter().filter(move |link| subject::overlaps(&link.import.local, filter))
    }

    /// The services that somebody asks who publishes on `subject`.
    pub fn services_for(&self, subject: &[u8]) -> impl Iterator<Item = &Arc<Link>> {
        self.services.iter().filter(move |link| subject::matches(&link.import.local, subject))
    }

    /// Where a message on `subject` goes instead. `None`: where it was sent to; `Some(None)`: nowhere, it is lost as wanted.
    #[must_use]
    pub fn mapped(&self, subject: &[u8], random: u32) -> Option<Option<Vec<u8>>> {
        let exact = self.mappings.iter().find(|mapping| *mapping.source == *subject);
        let mapping =
            exact.or_else(|| self.mappings.iter().find(|mapping| subject::matches(&mapping.source, subject)))?;
        let dice = random % 100;
        let picked = mapping.destinations.iter().find(|(upto, _)| dice < u32::from(*upto));
        match picked {
            None => Some(None),
            Some((_, None)) => None,
            Some((_, Some(transform))) => transform.apply(subject, random).map(Some),
        }
    }
}

impl Link {
    /// What a message on `subject` of the one side is called on the other.
    #[must_use]
    pub fn renamed(&self, subject: &[u8]) -> Option<Vec<u8>> {
        match &self.import.rewrite {
            None => Some(subject.to_vec()),
            Some(rewrite) => rewrite.apply(subject, 0),
        }
    }

    /// The narrowest filter in the exporting account that has all that a subscription to `filter` here gets.
    #[must_use]
    pub fn filter_there(&self, filter: &[u8]) -> Box<[u8]> {
        let (here, there) = (&self.import.local, &self.import.subject);
        let narrow = if self.import.rewrite.is_none() {
            Some(filter)
        } else {
            // With a prefix, what is behind it.
            let prefix = here.strip_suffix(&**there);
            prefix.filter(|prefix| !prefix.is_empty()).and_then(|prefix| filter.strip_prefix(prefix))
        };
        let narrow = narrow.filter(|filter| subject::is_valid_filter(filter) && subject::is_subset(filter, there));
        narrow.unwrap_or(there).into()
    }
}
