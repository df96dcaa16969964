//! Why a configuration cannot be read.

use std::fmt;
use std::path::PathBuf;

use super::tree::Position;

/// What is wrong, and where.
#[derive(Debug)]
pub struct ParseError {
    /// Where it was noticed.
    pub at: Position,
    /// What it is.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// Something else should stand here.
    Unexpected {
        /// What should stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// The bytes are no text.
    NotText,
    /// A number beyond what 64 bits hold.
    NumberRange(String),
    /// A variable that neither the file nor the environment knows.
    UnknownVariable(String),
    /// A variable of the environment that stands for itself, by way of others or not.
    VariableCycle(String),
    /// The text of a variable of the environment is no value.
    BadVariable {
        /// Its name.
        name: String,
        /// Why not.
        error: Box<ParseError>,
    },
    /// A file that includes itself, by way of others or not.
    IncludeCycle(PathBuf),
    /// A file that cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A bound of [`super::limits`].
    TooMuch(&'static str),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.at.line {
            0 => self.problem.to_string(),
            _ => format!("{}: {}", self.at, self.problem),
        };
        // What is quoted from files must not break a line of the log.
        for c in text.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { fmt::Write::write_char(f, c)? }
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::NotText => f.write_str("expected text in UTF-8, found other bytes"),
            Self::NumberRange(text) => write!(f, "expected a number of 64 bits, found {text}"),
            Self::UnknownVariable(name) => {
                write!(
                    f,
                    "expected a variable, found ${name}, which is not defined above in this file or the environment"
                )
            }
            Self::VariableCycle(name) => write!(f, "the variable ${name} of the environment stands for itself"),
            Self::BadVariable { name, error } => write!(f, "the variable ${name} of the environment: {error}"),
            Self::IncludeCycle(path) => write!(f, "{} includes itself", path.display()),
            Self::File { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::TooMuch(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::File { source, .. } => Some(source),
            Problem::BadVariable { error, .. } => Some(error),
            _ => None,
        }
    }
}
