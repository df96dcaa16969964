//! Reading JSON the way the clients of the API write it, which is the way Go's decoder reads it.
//!
//! Compared with serde's derived readers: `null` is as good as a missing field, names of fields are found in any case,
//! an empty text is an object without fields, and whether unknown fields are an error is the reader's choice.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::jetstream::errors::ApiError;

/// What to do with a field that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Nothing: a newer client may send it.
    Ignore,
    /// Refuse the request, as a strict nats-server does.
    Refuse,
}

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadJson {
    /// The field's name with those around it, `.` between them.
    path: String,
    why: String,
}

impl BadJson {
    /// Something is wrong with a value.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into() }
    }

    fn expected(what: &str, found: &Value) -> Self {
        /// Longest piece of a client's own text in an error, in characters.
        const SHOWN_MAX: usize = 64;
        let mut found = found.to_string();
        if let Some((at, _)) = found.char_indices().nth(SHOWN_MAX) {
            found.truncate(at);
            found.push_str("...");
        }
        Self::new(format!("{what} is expected, not {found}"))
    }

    /// The same, seen from one object further out.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        self.path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.why) } else { write!(f, "{}: {}", self.path, self.why) }
    }
}

/// A value that can be read.
pub trait Read: Sized {
    /// The value in `json`, which is not `null`.
    ///
    /// # Errors
    /// It is of another kind, or out of range.
    fn read(json: &Value, unknown: Unknown) -> Result<Self, BadJson>;
}

/// A request's body.
///
/// # Errors
/// 10025: it is neither empty nor the JSON of a `T`.
pub fn parse<T: Read + Default>(body: &[u8], unknown: Unknown) -> Result<T, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    match serde_json::from_slice(body).map_err(ApiError::invalid_json)? {
        Value::Null => Ok(T::default()),
        json => T::read(&json, unknown).map_err(ApiError::invalid_json),
    }
}

impl Read for String {
    fn read(json: &Value, _: Unknown) -> Result<Self, BadJson> {
        json.as_str().map(str::to_owned).ok_or_else(|| BadJson::expected("a string", json))
    }
}

impl Read for bool {
    fn read(json: &Value, _: Unknown) -> Result<Self, BadJson> {
        json.as_bool().ok_or_else(|| BadJson::expected("true or false", json))
    }
}

impl Read for i64 {
    fn read(json: &Value, _: Unknown) -> Result<Self, BadJson> {
        json.as_i64().ok_or_else(|| BadJson::expected("a whole number of 64 bits", json))
    }
}

impl Read for u64 {
    fn read(json: &Value, _: Unknown) -> Result<Self, BadJson> {
        json.as_u64().ok_or_else(|| BadJson::expected("a whole number from 0 on", json))
    }
}

impl Read for i32 {
    fn read(json: &Value, _: Unknown) -> Result<Self, BadJson> {
        let number = json.as_i64().and_then(|n| Self::try_from(n).ok());
        number.ok_or_else(|| BadJson::expected("a whole number of 32 bits", json))
    }
}

impl<T: Read> Read for Option<T> {
    fn read(json: &Value, unknown: Unknown) -> Result<Self, BadJson> {
        T::read(json, unknown).map(Some)
    }
}

impl<T: Read + Default> Read for Vec<T> {
    fn read(json: &Value, unknown: Unknown) -> Result<Self, BadJson> {
        let items = json.as_array().ok_or_else(|| BadJson::expected("a list", json))?;
        items.iter().map(|item| if item.is_null() { Ok(T::default()) } else { T::read(item, unknown) }).collect()
    }
}

impl Read for BTreeMap<String, String> {
    fn read(json: &Value, unknown: Unknown) -> Result<Self, BadJson> {
        let fields = json.as_object().ok_or_else(|| BadJson::expected("an object", json))?;
        let read = |value: &Value| if value.is_null() { Ok(String::new()) } else { String::read(value, unknown) };
        fields.iter().map(|(key, value)| Ok((key.clone(), read(value).map_err(|bad| bad.within(key))?))).collect()
    }
}

/// The fields of an object.
///
/// # Errors
/// `json` is not an object.
pub fn fields(json: &Value) -> Result<&serde_json::Map<String, Value>, BadJson> {
    json.as_object().ok_or_else(|| BadJson::expected("an object", json))
}

/// What to do about a field that none of the readers knew.
///
/// # Errors
/// It is to be refused.
pub fn unknown_field(name: &str, unknown: Unknown) -> Result<(), BadJson> {
    match unknown {
        Unknown::Ignore => Ok(()),
        Unknown::Refuse => Err(BadJson::new(format!("unknown field {name:?}"))),
    }
}

/// Whether a field is left out of a response when it may be.
pub(crate) fn absent<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Makes a struct readable field by field, with serde's `Deserialize` on top for what was written by this server. The
/// list has to be complete, which the compiler checks.
macro_rules! read_fields {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::jetstream::config::json::Read for $name {
            fn read(
                json: &serde_json::Value,
                unknown: $crate::jetstream::config::json::Unknown,
            ) -> Result<Self, $crate::jetstream::config::json::BadJson> {
                let mut read = Self::default();
                for (name, value) in $crate::jetstream::config::json::fields(json)? {
                    $(
                        if name.eq_ignore_ascii_case(stringify!($field)) {
                            if !value.is_null() {
                                read.$field = $crate::jetstream::config::json::Read::read(value, unknown)
                                    .map_err(|bad| bad.within(stringify!($field)))?;
                            }
                            continue;
                        }
                    )+
                    $crate::jetstream::config::json::unknown_field(name, unknown)?;
                }
                // A field that the list forgets does not compile.
                let $name { $($field: _),+ } = &read;
                Ok(read)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let json = <serde_json::Value as serde::Deserialize>::deserialize(from)?;
                let ignore = $crate::jetstream::config::json::Unknown::Ignore;
                $crate::jetstream::config::json::Read::read(&json, ignore).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Makes an enum whose values are words in JSON. The first is what a missing field means.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident {
            $(#[$first_doc:meta])* $first:ident = $first_word:literal $(| $first_alias:literal)*
            $(, $(#[$each:meta])* $variant:ident = $word:literal)* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            $first,
            $($(#[$each])* $variant),*
        }

        impl $name {
            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$variant => $word),*
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl $crate::jetstream::config::json::Read for $name {
            fn read(
                json: &serde_json::Value,
                unknown: $crate::jetstream::config::json::Unknown,
            ) -> Result<Self, $crate::jetstream::config::json::BadJson> {
                let word = <String as $crate::jetstream::config::json::Read>::read(json, unknown)?;
                match word.as_str() {
                    $first_word $(| $first_alias)* => Ok(Self::$first),
                    $($word => Ok(Self::$variant),)*
                    _ => {
                        let known = [$first_word, $($word),*].join(", ");
                        let why = format!("{word:.64?} is none of {known}");
                        Err($crate::jetstream::config::json::BadJson::new(why))
                    }
                }
            }
        }
    };
}

pub(crate) use {read_fields, words};
