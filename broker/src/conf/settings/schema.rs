//! How the table of keys is written down.

/// A block: what may stand in it.
#[derive(Debug)]
pub struct Block {
    /// What it is called in sentences.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

impl Block {
    /// The key of this name, in any case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        let keys: &'static [Key] = self.keys;
        keys.iter().find(|key| key.names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// All its names, the usual one first.
    pub names: &'static [&'static str],
    /// What its value is.
    pub kind: Kind,
    /// What this server does about it.
    pub now: Now,
}

/// Writes one key of a table.
pub(super) const fn key(names: &'static [&'static str], kind: Kind, now: Now) -> Key {
    Key { names, kind, now }
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number, whole or not.
    Number,
    /// Text.
    Text,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// `"250ms"`; a bare number is seconds, which nats-server warns of.
    Duration,
    /// `"250ms"`, or a number of seconds.
    Seconds,
    /// Bytes: a whole number with or without a suffix.
    Size,
    /// -1 for any free one, 0 for none or the default, up to 65535.
    Port,
    /// A port, or `host:port`.
    Address,
    /// Text or a list of texts.
    Texts,
    /// A block of texts under any names.
    TextMap,
    /// A block of booleans under any names.
    BoolMap,
    /// A block.
    Block(&'static Block),
    /// A list of blocks.
    Blocks(&'static Block),
    /// A block of blocks under names of the user's.
    Named(&'static Block),
    /// A block of values of one kind under names of the user's.
    Each(&'static Self),
    /// A list of values of one kind.
    List(&'static Self),
    /// Any of these.
    OneOf(&'static [Self]),
}

impl Kind {
    /// The block it is, or can be.
    #[must_use]
    pub fn block(&self) -> Option<&'static Block> {
        match self {
            Self::Block(block) => Some(block),
            Self::OneOf(kinds) => kinds.iter().find_map(Self::block),
            _ => None,
        }
    }

    /// All blocks that can stand somewhere in it.
    #[must_use]
    pub fn blocks(&self) -> Vec<&'static Block> {
        match self {
            Self::Block(block) | Self::Blocks(block) | Self::Named(block) => vec![block],
            Self::OneOf(kinds) => kinds.iter().flat_map(Self::blocks).collect(),
            Self::Each(kind) | Self::List(kind) => kind.blocks(),
            _ => Vec::new(),
        }
    }
}

/// What this server does about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// It takes effect; of a block, what is in it is looked at key by key.
    Honoured,
    /// As [`Now::Honoured`], but not all that somebody may expect, as a warning says.
    Partly(&'static str),
    /// It has no effect, which a warning says, with this reason.
    Ignored(&'static str),
    /// The server does not start with it, for this reason: without effect it would be unsafe.
    Refused(&'static str),
}
