//! All dictionaries of a snapshot as one sorted dictionary, seen through filters.

use crate::index::active::RunCursor;
use crate::index::error::PartError;
use crate::index::filter::{FilterSet, Skip};
use crate::index::part::PartCursor;
use crate::index::postings::Entry;

/// One sorted dictionary: a part's, or a run of the open segment's.
pub(super) enum Dictionary<'a> {
    Part(PartCursor<'a>),
    Run(RunCursor<'a>),
}

impl<'a> Dictionary<'a> {
    pub(super) fn get(&self) -> Option<(&[u8], Entry<'a>)> {
        match self {
            Self::Part(cursor) => cursor.get(),
            Self::Run(cursor) => cursor.get(),
        }
    }

    pub(super) fn advance(&mut self) -> Result<(), PartError> {
        match self {
            Self::Part(cursor) => cursor.advance(),
            Self::Run(cursor) => {
                cursor.advance();
                Ok(())
            }
        }
    }

    pub(super) fn seek(&mut self, key: &[u8]) -> Result<(), PartError> {
        match self {
            Self::Part(cursor) => cursor.seek(key),
            Self::Run(cursor) => {
                cursor.seek(key);
                Ok(())
            }
        }
    }
}

/// Stands at a matching subject of one dictionary, or at its end.
pub(super) struct Scanner<'a, 'f> {
    dictionary: Dictionary<'a>,
    filters: &'f FilterSet,
    next: Vec<u8>,
    spare: Vec<u8>,
    /// Subjects looked at.
    pub(super) looked_at: u64,
}

impl<'a, 'f> Scanner<'a, 'f> {
    pub(super) fn new(dictionary: Dictionary<'a>, filters: &'f FilterSet) -> Self {
        Self { dictionary, filters, next: Vec::new(), spare: Vec::new(), looked_at: 0 }
    }

    /// The numbers of the next matching subject.
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, PartError> {
        loop {
            let Some((key, entry)) = self.dictionary.get() else { return Ok(None) };
            self.looked_at += 1;
            match self.filters.skip(key, &mut self.next, &mut self.spare) {
                Skip::Matches => {
                    self.dictionary.advance()?;
                    return Ok(Some(entry));
                }
                Skip::To => self.dictionary.seek(&self.next)?,
                Skip::End => return Ok(None),
            }
        }
    }
}

/// The dictionaries together: each subject once, with what each of them knows of it.
pub(super) struct Merged<'a, 'f> {
    dictionaries: Vec<Dictionary<'a>>,
    filters: &'f FilterSet,
    subject: Vec<u8>,
    next: Vec<u8>,
    spare: Vec<u8>,
}

impl<'a, 'f> Merged<'a, 'f> {
    /// In the order of their numbers.
    pub(super) fn new(dictionaries: Vec<Dictionary<'a>>, filters: &'f FilterSet) -> Self {
        Self { dictionaries, filters, subject: Vec::new(), next: Vec::new(), spare: Vec::new() }
    }

    /// Puts the entries of the next matching subject into `entries`, oldest first, and returns the subject.
    pub(super) fn next(&mut self, entries: &mut Vec<Entry<'a>>) -> Result<Option<&[u8]>, PartError> {
        entries.clear();
        loop {
            let least = self.dictionaries.iter().filter_map(Dictionary::get).map(|(key, _)| key).min();
            let Some(least) = least else { return Ok(None) };
            match self.filters.skip(least, &mut self.next, &mut self.spare) {
                Skip::Matches => {
                    self.spare.clear();
                    self.spare.extend_from_slice(least);
                    break;
                }
                Skip::To => {
                    for dictionary in &mut self.dictionaries {
                        if dictionary.get().is_some() {
                            dictionary.seek(&self.next)?;
                        }
                    }
                }
                Skip::End => return Ok(None),
            }
        }
        std::mem::swap(&mut self.subject, &mut self.spare);
        for dictionary in &mut self.dictionaries {
            if let Some((_, entry)) = dictionary.get().filter(|(key, _)| *key == self.subject) {
                entries.push(entry);
                dictionary.advance()?;
            }
        }
        Ok(Some(&self.subject))
    }
}
