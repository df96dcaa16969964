//! What can go wrong in a measurement, and the words it is reported with.

use std::io;

/// Why a measurement gave no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server answered with an error line.
    #[error("the server said -ERR {0}")]
    ServerSaid(String),
    /// The server ended the connection.
    #[error("the server closed the connection while {0}")]
    Closed(&'static str),
    /// Nothing arrived for longer than `--stall-seconds`.
    #[error("nothing arrived for {seconds} s while {doing}")]
    Stalled {
        /// The limit that ran out, seconds.
        seconds: u64,
        /// What was awaited.
        doing: &'static str,
    },
    /// A message was lost, repeated, reordered or altered, or what came was not NATS.
    #[error("wrong delivery: {0}")]
    Wrong(String),
    /// The measurement could not be set up as asked.
    #[error("{0}")]
    Setup(String),
    /// Another connection of the same measurement failed first.
    #[error("stopped, because another connection of the run failed")]
    Aborted,
}

/// The result of everything here.
pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// Adds what was being done to an [`io::Error`].
pub(crate) trait During<T> {
    /// Names the action that failed.
    fn during(self, what: impl Into<String>) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| BenchError::Io { what: what.into(), source })
    }
}

/// Joins the outcomes of the connections of one run: all values, or the error that caused the others.
///
/// # Errors
/// The first error that is not [`BenchError::Aborted`], else the first error.
pub(crate) fn gather<T>(outcomes: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let mut cause = None;
    for outcome in outcomes {
        match (outcome, &cause) {
            (Ok(value), _) => values.push(value),
            (Err(error), None | Some(BenchError::Aborted)) => cause = Some(error),
            (Err(_), Some(_)) => {}
        }
    }
    cause.map_or(Ok(values), Err)
}
