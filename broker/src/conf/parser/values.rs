//! Values that are no blocks or lists: quoted and bare text, numbers, variables.

use std::sync::Arc;

use super::Parser;
use crate::conf::cursor::ends_word;
use crate::conf::error::{ParseError, Problem};
use crate::conf::limits;
use crate::conf::number::{self, Wrong};
use crate::conf::parser::parse;
use crate::conf::tree::{Value, weight};

/// The key under which the text of a variable of the environment is read.
const VARIABLE_KEY: &str = "value";

impl Parser<'_, '_> {
    /// `"text"` with escapes.
    pub(super) fn quoted(&mut self) -> Result<String, ParseError> {
        self.cursor.next();
        let mut bytes = Vec::new();
        let begin = self.cursor.at();
        loop {
            let plain = self.cursor.take_while(|c| !matches!(c, '"' | '\\' | '\0'));
            bytes.extend_from_slice(plain.as_bytes());
            match self.cursor.peek() {
                Some('"') => {
                    self.cursor.next();
                    // Escapes can spell bytes that are no text.
                    return String::from_utf8(bytes).map_err(|_| ParseError { at: begin, problem: Problem::NotText });
                }
                Some('\\') => self.escape(&mut bytes)?,
                _ => return Err(self.cursor.unexpected("'\"' at the end of the text")),
            }
        }
    }

    /// What stands for a backslash and what follows it. JSON's own are taken although nats-server refuses them.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), ParseError> {
        const EXPECTED: &str = "one of t n r \" \\ / b f, xHH or uHHHH after the backslash";
        self.cursor.next();
        let one = match self.cursor.peek() {
            Some('t') => b'\t',
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('b') => 8,
            Some('f') => 12,
            Some('"') => b'"',
            Some('\\') => b'\\',
            Some('/') => b'/',
            Some('x') => {
                self.cursor.next();
                out.push(u8::try_from(self.hex(2)?).unwrap_or(0));
                return Ok(());
            }
            Some('u') => {
                self.cursor.next();
                let c = self.utf16()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.cursor.unexpected(EXPECTED)),
        };
        self.cursor.next();
        out.push(one);
        Ok(())
    }

    fn hex(&mut self, digits: u32) -> Result<u32, ParseError> {
        let mut number = 0;
        for _ in 0..digits {
            let Some(digit) = self.cursor.peek().and_then(|c| c.to_digit(16)) else {
                return Err(self.cursor.unexpected("a hexadecimal digit"));
            };
            self.cursor.next();
            number = number * 16 + digit;
        }
        Ok(number)
    }

    /// One character after `\u`, which may take two of them.
    fn utf16(&mut self) -> Result<char, ParseError> {
        let mut code = self.hex(4)?;
        if (0xd800..0xdc00).contains(&code) && self.cursor.rest().starts_with("\\u") {
            self.cursor.next();
            self.cursor.next();
            let low = self.hex(4)?;
            code = match low {
                0xdc00..0xe000 => 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00),
                _ => 0xd800,
            };
        }
        char::from_u32(code)
            .ok_or_else(|| self.cursor.unexpected("two halves of one character in \\u escapes before this"))
    }

    /// `'text'`, as it stands.
    pub(super) fn raw(&mut self) -> Result<String, ParseError> {
        self.cursor.next();
        let text = self.cursor.take_while(|c| c != '\'' && c != '\0').to_owned();
        if self.cursor.eat('\'') { Ok(text) } else { Err(self.cursor.unexpected("''' at the end of the text")) }
    }

    /// `(text)` over several lines; ends at a line that is `)`.
    pub(super) fn block(&mut self) -> Result<String, ParseError> {
        self.cursor.next();
        let mut text = String::new();
        loop {
            let line = self.cursor.take_while(|c| c != '\n' && c != '\0');
            match self.cursor.peek() {
                Some('\n') => {
                    text.push_str(line);
                    text.push('\n');
                    self.cursor.next();
                }
                _ => return Err(self.cursor.unexpected("a line with nothing but ')' at the end of the text")),
            }
            let rest = self.cursor.rest();
            let closed = rest.strip_prefix(')').is_some_and(|tail| tail.is_empty() || tail.starts_with(['\n', '\r']));
            if closed {
                self.cursor.next();
                return Ok(text);
            }
        }
    }

    pub(super) fn number(&mut self) -> Result<Value, ParseError> {
        let at = self.cursor.at();
        let word = self.cursor.take_while(|c| !ends_word(c) && c != '\0');
        number::read(word).map_err(|wrong| ParseError {
            at,
            problem: match wrong {
                Wrong::Expected(expected) => Problem::Unexpected { expected, found: format!("{word:?}") },
                Wrong::Range => Problem::NumberRange(word.to_owned()),
            },
        })
    }

    /// Text without quotes, a boolean, or a variable.
    pub(super) fn word(&mut self) -> Result<Value, ParseError> {
        let at = self.cursor.at();
        let mut bytes = Vec::new();
        let mut escaped = false;
        loop {
            let plain = self.cursor.take_while(|c| !ends_word(c) && !matches!(c, '\\' | '\'' | '\0'));
            bytes.extend_from_slice(plain.as_bytes());
            match self.cursor.peek() {
                Some('\\') => {
                    escaped = true;
                    self.escape(&mut bytes)?;
                }
                Some('\'' | '\0') => return Err(self.cursor.unexpected("the end of the value (quote such text)")),
                _ => break,
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| ParseError { at: at.clone(), problem: Problem::NotText })?;
        if escaped {
            return Ok(Value::Str(text));
        }
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => return Ok(Value::Bool(true)),
            "false" | "no" | "off" => return Ok(Value::Bool(false)),
            _ => {}
        }
        match text.strip_prefix('$') {
            // A hash of bcrypt has dollar signs of its own.
            Some(name) if ["2a$", "2b$", "2y$"].iter().any(|prefix| name.starts_with(prefix)) => Ok(Value::Str(text)),
            Some(name) => self.variable(name).map_err(|problem| ParseError { at, problem }),
            None => Ok(Value::Str(text)),
        }
    }

    /// What `$name` stands for: the blocks around it, then the environment.
    fn variable(&mut self, name: &str) -> Result<Value, Problem> {
        if let Some(node) = self.scopes.iter_mut().rev().find_map(|map| map.take_variable(name)) {
            // Counted before it is copied, since copies of copies grow fast.
            let bytes = weight(node);
            let value = (bytes <= self.shared.bytes_left).then(|| node.value.clone());
            let Some(value) = value else {
                return Err(Problem::TooMuch("the configuration takes more than 64 MiB with its variables read"));
            };
            self.shared.bytes_left -= bytes;
            return Ok(value);
        }
        if self.shared.reading.iter().any(|reading| reading == name) {
            return Err(Problem::VariableCycle(name.to_owned()));
        }
        if self.shared.reading.len() >= limits::VARIABLE_DEPTH_MAX {
            return Err(Problem::TooMuch("more than 64 variables of the environment that stand for each other"));
        }
        let Some(text) = (self.shared.env)(name) else { return Err(Problem::UnknownVariable(name.to_owned())) };
        self.shared.reading.push(name.to_owned());
        let file: Arc<str> = format!("${name}").into();
        let parsed = parse(&format!("{VARIABLE_KEY}={text}"), file, self.dir, self.shared);
        self.shared.reading.pop();
        match parsed {
            Ok(map) => match map.get(VARIABLE_KEY) {
                Some(entry) => Ok(entry.node.value.clone()),
                None => Err(Problem::UnknownVariable(name.to_owned())),
            },
            Err(mut error) => {
                // What stands before the text is ours.
                if error.at.line == 1 {
                    let ours = u32::try_from(VARIABLE_KEY.len() + 1).unwrap_or(0);
                    error.at.column = error.at.column.saturating_sub(ours).max(1);
                }
                Err(Problem::BadVariable { name: name.to_owned(), error: Box::new(error) })
            }
        }
    }
}
