//! Reading of the single fields of `CONNECT` into existing options.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::ConnectOptions;

/// The whole document: an object, or `null`, which changes nothing.
pub(super) struct Document<'o>(pub(super) &'o mut ConnectOptions);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            read_field(self.0, &key, &mut map)?;
        }
        Ok(())
    }
}

fn read_field<'de, A: MapAccess<'de>>(options: &mut ConnectOptions, key: &str, map: &mut A) -> Result<(), A::Error> {
    match key {
        "verbose" => flag(map, &mut options.verbose),
        "pedantic" => flag(map, &mut options.pedantic),
        "echo" => flag(map, &mut options.echo),
        "headers" => flag(map, &mut options.headers),
        "no_responders" => flag(map, &mut options.no_responders),
        "tls_required" => flag(map, &mut options.tls_required),
        "new_account" => flag(map, &mut options.new_account),
        "protocol" => {
            if let Some(protocol) = map.next_value()? {
                options.protocol = protocol;
            }
            Ok(())
        }
        "user" => text(map, &mut options.user),
        "pass" => text(map, &mut options.pass),
        "auth_token" => text(map, &mut options.auth_token),
        "jwt" => text(map, &mut options.jwt),
        "nkey" => text(map, &mut options.nkey),
        "sig" => text(map, &mut options.sig),
        "name" => text(map, &mut options.name),
        "lang" => text(map, &mut options.lang),
        "version" => text(map, &mut options.version),
        "account" => text(map, &mut options.account),
        // Of no use on a client port, but of a known type to nats-server, which closes when it is wrong.
        "remote_account" | "proxy_sig" => text(map, &mut None),
        "import" | "export" => map.next_value_seed(Object),
        _ => map.next_value::<IgnoredAny>().map(|_| ()),
    }
}

fn flag<'de, A: MapAccess<'de>>(map: &mut A, field: &mut bool) -> Result<(), A::Error> {
    if let Some(value) = map.next_value()? {
        *field = value;
    }
    Ok(())
}

fn text<'de, A: MapAccess<'de>>(map: &mut A, field: &mut Option<String>) -> Result<(), A::Error> {
    if let Some(value) = map.next_value_seed(Text)? {
        *field = Some(value);
    }
    Ok(())
}

/// `key` as Go compares keys: without regard to case, by Unicode's simple folding, under which exactly two
/// characters outside ASCII are equal to ASCII letters.
fn folded(key: &str) -> String {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

/// A string, or `None` for `null`.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }
}

/// The key of a field. Keys are read like strings, but can be nothing else.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = deserializer.deserialize_bytes(Text)?;
        Ok(folded(&key.unwrap_or_default()))
    }
}

/// An object whose content does not matter, or `null`.
struct Object;

impl<'de> DeserializeSeed<'de> for Object {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
