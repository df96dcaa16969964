//! The grammar: keys, values, blocks, and where files and variables come in.

mod files;
mod values;

pub use files::{Source, load};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cursor::{Cursor, is_line_end};
use super::error::{ParseError, Problem};
use super::limits;
use super::tree::{Entry, Map, Node, Value, weight};

/// Reads a variable of the environment.
pub(super) type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// What all files of one configuration share.
pub(super) struct Shared<'e> {
    env: &'e Environment<'e>,
    /// The files being read, outermost first, as the system names them.
    including: Vec<PathBuf>,
    files: usize,
    /// Variables of the environment being read.
    reading: Vec<String>,
    bytes_left: usize,
    /// Blocks and lists around the place that is read, in all files.
    depth: usize,
}

impl<'e> Shared<'e> {
    pub(super) fn new(env: &'e Environment<'e>) -> Self {
        Self { env, including: Vec::new(), files: 0, reading: Vec::new(), bytes_left: limits::TREE_BYTES_MAX, depth: 0 }
    }
}

/// Reads one text.
struct Parser<'a, 'e> {
    cursor: Cursor<'a>,
    shared: &'a mut Shared<'e>,
    /// Where included files are looked for.
    dir: &'a Path,
    /// The maps around the place that is read, outermost first: where variables are looked up.
    scopes: Vec<Map>,
}

/// What stands around a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Nothing: the value follows its separator on the same line.
    File,
    /// Braces.
    Braces,
}

/// Reads `text`, whose parts stand in `file`.
fn parse(text: &str, file: Arc<str>, dir: &Path, shared: &mut Shared<'_>) -> Result<Map, ParseError> {
    if text.len() > limits::FILE_BYTES_MAX {
        return Err(Cursor::new("", file).error(Problem::TooMuch("the file is larger than 16 MiB")));
    }
    let mut parser = Parser { cursor: Cursor::new(text, file), shared, dir, scopes: vec![Map::default()] };
    parser.file()?;
    Ok(parser.scopes.pop().unwrap_or_default())
}

impl Parser<'_, '_> {
    /// Members up to the end, with or without braces around them.
    fn file(&mut self) -> Result<(), ParseError> {
        loop {
            self.cursor.skip_space();
            match self.cursor.peek() {
                None => return Ok(()),
                Some('{') => {
                    self.cursor.next();
                    self.members()?;
                    self.cursor.skip_blanks();
                    let _ = self.cursor.eat(',') || self.cursor.eat(';');
                }
                // What is left of a file that once had braces around it. nats-server takes it as well.
                Some('}') if self.cursor.rest().trim_end() == "}" => return Ok(()),
                Some(_) => {
                    self.member(Inside::File)?;
                    self.member_end("the end of the line, ',' or ';' after the value", Inside::File)?;
                }
            }
        }
    }

    /// Members up to the brace that closes them, which is stepped over.
    fn members(&mut self) -> Result<(), ParseError> {
        loop {
            self.cursor.skip_space();
            if self.cursor.eat('}') {
                return Ok(());
            }
            if self.cursor.peek().is_none() {
                return Err(self.cursor.unexpected("a key or '}'"));
            }
            self.member(Inside::Braces)?;
            self.member_end("',', ';', '}' or the end of the line after the value", Inside::Braces)?;
        }
    }

    fn member_end(&mut self, expected: &'static str, inside: Inside) -> Result<(), ParseError> {
        self.cursor.skip_blanks();
        let ended = self.cursor.skip_comment();
        match self.cursor.peek() {
            None | Some('\n' | '\r') => {}
            Some(',' | ';') => {
                self.cursor.next();
                return Ok(());
            }
            Some('}') => return Ok(()),
            Some(_) if !ended => return Err(self.cursor.unexpected(expected)),
            Some(_) => {}
        }
        if inside == Inside::Braces {
            // JSON may have its comma on a line of its own.
            self.cursor.skip_space();
            self.cursor.eat(',');
        }
        Ok(())
    }

    fn member(&mut self, inside: Inside) -> Result<(), ParseError> {
        let at = self.cursor.at();
        let (key, quoted) = self.key()?;
        let blank = self.cursor.peek().is_some_and(char::is_whitespace);
        if !quoted && blank && key.eq_ignore_ascii_case("include") {
            return self.include();
        }
        self.cursor.take_while(char::is_whitespace);
        if matches!(self.cursor.peek(), Some('=' | ':')) {
            self.cursor.next();
            match inside {
                Inside::File => self.cursor.skip_blanks(),
                Inside::Braces => {
                    self.cursor.take_while(char::is_whitespace);
                }
            }
        }
        let node = self.value()?;
        self.put(Entry { key, at, node, used: false })
    }

    fn put(&mut self, entry: Entry) -> Result<(), ParseError> {
        self.spend(2 * entry.key.len() + 128)?;
        if let Some(map) = self.scopes.last_mut() {
            map.put(entry);
        }
        Ok(())
    }

    /// Counts what the tree takes.
    fn spend(&mut self, bytes: usize) -> Result<(), ParseError> {
        match self.shared.bytes_left.checked_sub(bytes) {
            Some(left) => self.shared.bytes_left = left,
            None => {
                let problem =
                    Problem::TooMuch("the configuration takes more than 64 MiB, variables and included files read");
                return Err(self.cursor.error(problem));
            }
        }
        Ok(())
    }

    /// A key, and whether it was quoted.
    fn key(&mut self) -> Result<(String, bool), ParseError> {
        const EXPECTED: &str = "a key";
        match self.cursor.peek() {
            Some(quote @ ('"' | '\'')) => {
                self.cursor.next();
                let key = self.cursor.take_while(|c| c != quote && c != '\0').to_owned();
                if self.cursor.eat(quote) {
                    Ok((key, true))
                } else {
                    Err(self.cursor.unexpected("the end of the quoted key"))
                }
            }
            None | Some('=' | ':' | ',' | ';' | '{' | '}' | '[' | ']' | '(' | ')' | '\0') => {
                Err(self.cursor.unexpected(EXPECTED))
            }
            Some(_) => {
                let key = self.cursor.take_while(|c| !c.is_whitespace() && !matches!(c, '=' | ':' | '{' | '}' | '\0'));
                match self.cursor.peek() {
                    // The blank is not optional there: nats-server takes the brace for a part of the key.
                    Some('{' | '}' | '\0') => Err(self.cursor.unexpected("a blank, '=' or ':' after the key")),
                    None => Err(self.cursor.unexpected("a value after the key")),
                    Some(_) => Ok((key.to_owned(), false)),
                }
            }
        }
    }

    fn value(&mut self) -> Result<Node, ParseError> {
        let at = self.cursor.at();
        let value = match self.cursor.peek() {
            Some('[') => self.nested(Self::array)?,
            Some('{') => self.nested(Self::map)?,
            Some('"') => Value::Str(self.quoted()?),
            Some('\'') => Value::Str(self.raw()?),
            Some('(') => Value::Str(self.block()?),
            Some('.') => return Err(self.cursor.unexpected("a value (a number begins with a digit)")),
            None | Some('\n' | '\r' | ',' | ';' | ']' | '}' | '\0') => return Err(self.cursor.unexpected("a value")),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number()?,
            Some(_) => self.word()?,
        };
        let node = Node { value, at };
        match &node.value {
            // What is inside was counted when it was read.
            Value::Array(_) | Value::Map(_) => self.spend(128)?,
            _ => self.spend(weight(&node))?,
        }
        Ok(node)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, ParseError>) -> Result<Value, ParseError> {
        if self.shared.depth >= limits::DEPTH_MAX {
            return Err(self.cursor.error(Problem::TooMuch("more than 64 blocks and lists inside each other")));
        }
        self.shared.depth += 1;
        self.cursor.next();
        let value = read(self)?;
        self.shared.depth -= 1;
        Ok(value)
    }

    fn map(&mut self) -> Result<Value, ParseError> {
        self.scopes.push(Map::default());
        self.members()?;
        Ok(Value::Map(self.scopes.pop().unwrap_or_default()))
    }

    fn array(&mut self) -> Result<Value, ParseError> {
        let mut nodes = Vec::new();
        loop {
            self.cursor.skip_space();
            if self.cursor.eat(']') {
                return Ok(Value::Array(nodes));
            }
            if self.cursor.peek().is_none() {
                return Err(self.cursor.unexpected("a value or ']'"));
            }
            nodes.push(self.value()?);
            self.cursor.skip_blanks();
            let commented = self.cursor.skip_comment();
            let line_ends = self.cursor.peek().is_some_and(is_line_end);
            if commented || line_ends {
                self.cursor.skip_space();
                self.cursor.eat(',');
            } else if !self.cursor.eat(',') && self.cursor.peek() != Some(']') {
                return Err(self.cursor.unexpected("',', ']' or the end of the line after the value"));
            }
        }
    }
}
