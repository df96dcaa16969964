//! The parts of a stream's configuration.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $word:ident),+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$each])* $word),+ }
    };
}

words! {
    /// What ends a message's stay.
    Retention {
        /// The limits alone.
        #[default] Limits,
        /// Also that every consumer has it.
        Interest,
        /// Also that one consumer has it.
        WorkQueue
    }
}
words! {
    /// What gives way at a limit.
    Discarded {
        /// The oldest messages.
        #[default] Old,
        /// New ones.
        New
    }
}
words! {
    /// Where messages are kept.
    Kept {
        /// On disk.
        #[default] File,
        /// Until the server ends.
        Memory
    }
}
words! {
    /// How messages are kept.
    Compression {
        /// As they are.
        #[default] None,
        /// Compressed.
        S2
    }
}

/// What consumers of a stream are held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "named as they are sent")]
pub struct ConsumerLimits {
    #[serde(skip_serializing_if = "is_zero")]
    pub inactive_threshold: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max_ack_pending: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// What is null is as if it were not there.
pub(super) fn or_default<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
