//! What holds for the names of streams and of consumers.

/// Whether a name is a token of subjects and a file's name.
#[must_use]
pub fn is_asset_name(name: &str) -> bool {
    !name.is_empty() && !name.contains([' ', '\t', '\r', '\n', '\x0c', '.', '*', '>', '\\', '/'])
}

/// Whether a name has what separates folders.
#[must_use]
pub fn has_path_separator(name: &str) -> bool {
    name.contains(['/', '\\'])
}
