//! Where texts come from: files, what they include, the environment.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Environment, Parser, Shared, parse};
use crate::conf::cursor::Cursor;
use crate::conf::error::{ParseError, Problem};
use crate::conf::limits;
use crate::conf::tree::{Map, Position};

/// Reads the configuration in `path`, with the environment of this process.
///
/// # Errors
/// The first thing that is wrong, and where.
pub fn load(path: &Path) -> Result<Map, ParseError> {
    let env = |name: &str| std::env::var(name).ok();
    let mut shared = Shared::new(&env);
    // Nobody asked for it in a file.
    let nowhere = Position { file: name(path), line: 0, column: 0 };
    read_file(path, &nowhere, &mut shared)
}

/// A text that is no file, for tests and for what comes from elsewhere.
pub struct Source<'s> {
    /// What errors call it.
    pub name: &'s str,
    /// Where included files are looked for.
    pub dir: &'s Path,
    /// Looks a variable up.
    pub env: &'s Environment<'s>,
}

impl Source<'_> {
    /// Reads the text.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn parse(&self, bytes: &[u8]) -> Result<Map, ParseError> {
        parse_bytes(bytes, self.name.into(), self.dir, &mut Shared::new(self.env))
    }
}

fn name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

fn parse_bytes(bytes: &[u8], file: Arc<str>, dir: &Path, shared: &mut Shared<'_>) -> Result<Map, ParseError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file, dir, shared),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let mut cursor = Cursor::new(std::str::from_utf8(good).unwrap_or_default(), file);
            cursor.take_while(|_| true);
            Err(cursor.error(Problem::NotText))
        }
    }
}

/// Reads a file that was asked for at `at`.
fn read_file(path: &Path, at: &Position, shared: &mut Shared<'_>) -> Result<Map, ParseError> {
    let wrong = |problem| ParseError { at: at.clone(), problem };
    let failed = |source| wrong(Problem::File { path: path.to_owned(), source });
    let real = std::fs::canonicalize(path).map_err(failed)?;
    if shared.including.contains(&real) {
        return Err(wrong(Problem::IncludeCycle(path.to_owned())));
    }
    if shared.including.len() >= limits::INCLUDE_DEPTH_MAX {
        return Err(wrong(Problem::TooMuch("more than 16 files that include each other")));
    }
    shared.files += 1;
    if shared.files > limits::FILES_MAX {
        return Err(wrong(Problem::TooMuch("more than 1024 files are included")));
    }
    let most = u64::try_from(limits::FILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    File::open(&real).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
    shared.including.push(real);
    let dir = path.parent().unwrap_or(Path::new(""));
    let map = parse_bytes(&bytes, name(path), dir, shared);
    shared.including.pop();
    map
}

impl Parser<'_, '_> {
    /// `include 'file'`: its members become members of the block it stands in.
    pub(super) fn include(&mut self) -> Result<(), ParseError> {
        self.cursor.skip_blanks();
        let at = self.cursor.at();
        let path = match self.cursor.peek() {
            Some('"') => {
                self.cursor.next();
                let path = self.cursor.take_while(|c| !matches!(c, '"' | '\0'));
                if !self.cursor.eat('"') {
                    return Err(self.cursor.unexpected("'\"' at the end of the file's name"));
                }
                path.to_owned()
            }
            Some('\'') => self.raw()?,
            Some(c)
                if !c.is_whitespace() && !c.is_ascii_digit() && !matches!(c, '[' | '{' | '(' | '-' | '\\' | '\0') =>
            {
                self.cursor.take_while(|c| !c.is_whitespace() && !matches!(c, ';' | '}' | '\'' | '\0')).to_owned()
            }
            _ => return Err(self.cursor.unexpected("the name of a file to include")),
        };
        let below = self.dir.join(path.trim_start_matches('/'));
        // nats-server looks for absolute names below the folder of the file as well, and nowhere else.
        let path: PathBuf = if below.exists() { below } else { self.dir.join(path) };
        let included = read_file(&path, &at, self.shared)?;
        if let Some(map) = self.scopes.last_mut() {
            for entry in included.iter() {
                map.put(entry.clone());
            }
        }
        Ok(())
    }
}
