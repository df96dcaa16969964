//! A text and a place in it: what the parser looks at and steps over.

use std::str::Chars;
use std::sync::Arc;

use super::error::{ParseError, Problem};
use super::tree::Position;

/// Walks over a text, one character at a time.
pub(super) struct Cursor<'a> {
    rest: Chars<'a>,
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, file: Arc<str>) -> Self {
        // Editors of some systems mark UTF-8 that way.
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars();
        Self { rest, file, line: 1, column: 1 }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    /// The character after the next one.
    pub(super) fn peek_second(&self) -> Option<char> {
        self.rest.clone().nth(1)
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    /// Steps over `c` if it comes next.
    pub(super) fn eat(&mut self, c: char) -> bool {
        let is = self.peek() == Some(c);
        if is {
            self.next();
        }
        is
    }

    /// Steps over everything that `wanted` takes, and returns it.
    pub(super) fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> &'a str {
        let all = self.rest.as_str();
        while self.peek().is_some_and(&mut wanted) {
            self.next();
        }
        all.get(..all.len() - self.rest.as_str().len()).unwrap_or_default()
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a str {
        self.rest.as_str()
    }

    pub(super) fn at(&self) -> Position {
        Position { file: self.file.clone(), line: self.line, column: self.column }
    }

    /// Blanks and tabs, which never end a value.
    pub(super) fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t'));
    }

    /// All white space and comments.
    pub(super) fn skip_space(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.skip_comment() {
                return;
            }
        }
    }

    /// A comment up to the end of its line, if one begins here.
    pub(super) fn skip_comment(&mut self) -> bool {
        let is = match self.peek() {
            Some('#') => true,
            Some('/') => self.peek_second() == Some('/'),
            _ => false,
        };
        if is {
            self.take_while(|c| !is_line_end(c));
        }
        is
    }

    /// The error that something else should stand here.
    pub(super) fn unexpected(&self, expected: &'static str) -> ParseError {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some('\n' | '\r') => "the end of the line".to_owned(),
            Some(c) => format!("{c:?}"),
        };
        self.error(Problem::Unexpected { expected, found })
    }

    pub(super) fn error(&self, problem: Problem) -> ParseError {
        ParseError { at: self.at(), problem }
    }
}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// What ends a value that stands without quotes.
pub(super) fn ends_word(c: char) -> bool {
    matches!(c, '\n' | '\r' | ' ' | '\t' | ';' | ',' | ']' | '}')
}
