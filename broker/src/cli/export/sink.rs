//! The writer of the format that was asked for.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use ::parquet::errors::ParquetError;

use super::Output;
use super::field::{self, Field};
use super::ndjson::{self, Ndjson};
use super::outfile::OutFile;
use super::parquet::{self, Parquet, TimePrecision};
use super::row::Cells;
use crate::cli::client::Failure;

/// Level of zstd when none is given.
const LEVEL: i32 = 3;

/// Formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Columns, compressed
    Parquet,
    /// One JSON object a line
    Ndjson,
    /// The same, compressed
    #[value(name = "ndjson.zst")]
    NdjsonZst,
}

/// What is to be written, checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) path: PathBuf,
    pub(super) fields: Vec<Field>,
    format: Format,
    force: bool,
    payload: bool,
    embed: bool,
    times: TimePrecision,
    level: i32,
}

impl Plan {
    pub(super) fn new(output: &Output) -> Result<Self, Failure> {
        let refuse = |why: String| Err(Failure::Usage(why));
        let stdout = output.out.as_os_str() == "-";
        let format = match (output.format, by_name(&output.out)) {
            (Some(format), _) => format,
            (None, _) if stdout => Format::Ndjson,
            (None, Some(format)) => format,
            (None, None) => {
                return refuse(format!(
                    "{}: the name ends with none of .parquet, .ndjson, .jsonl, .ndjson.zst; or give --format",
                    output.out.display()
                ));
            }
        };
        if let Some(name) = field::twins(&output.fields) {
            return refuse(format!("two fields are called {name:?}, upper and lower case aside"));
        }
        if output.json && format == Format::Parquet {
            return refuse("--json is for NDJSON; in Parquet use --field name=$:json".to_owned());
        }
        if output.time_unit.is_some() && format != Format::Parquet {
            return refuse("--time-unit is for Parquet; in NDJSON times are text".to_owned());
        }
        if output.level.is_some() && format == Format::Ndjson {
            return refuse("--level is for compressed formats".to_owned());
        }
        if stdout && format != Format::Ndjson && io::stdout().is_terminal() {
            return refuse("stdout is a terminal; this format is not for reading".to_owned());
        }
        Ok(Self {
            path: output.out.clone(),
            fields: output.fields.clone(),
            format,
            force: output.force,
            payload: !output.no_payload,
            embed: output.json,
            times: output.time_unit.unwrap_or(TimePrecision::Ns),
            level: output.level.unwrap_or(LEVEL),
        })
    }

    /// Whether the rows go to stdout.
    pub(super) fn to_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Whether payloads have to be looked at as JSON.
    pub(super) fn wants_json(&self) -> bool {
        self.embed || !self.fields.is_empty()
    }

    /// Opens the file.
    pub(super) fn open(&self) -> Result<Sink, Failure> {
        let out = if self.to_stdout() { OutFile::stdout() } else { OutFile::create(&self.path, self.force)? };
        let level = match self.format {
            Format::Parquet => {
                let (fields, payload) = (self.fields.clone(), self.payload);
                let options = parquet::Options { fields, payload, times: self.times, level: self.level };
                return match Parquet::new(out, options) {
                    Ok(writer) => Ok(Sink::Parquet(Box::new(writer))),
                    Err(error) => Err(self.failed(&system_error(error), 0)),
                };
            }
            Format::Ndjson => None,
            Format::NdjsonZst => Some(self.level),
        };
        ndjson::Options::new(&self.fields, self.embed, self.payload)
            .and_then(|options| Ndjson::new(out, level, options))
            .map(|writer| Sink::Ndjson(Box::new(writer)))
            .map_err(|error| self.failed(&error, 0))
    }

    /// What to say when the system refuses to take more.
    pub(super) fn failed(&self, error: &io::Error, written_bytes: u64) -> Failure {
        if self.to_stdout() {
            // The kind is what tells a reader that has gone away.
            return Failure::Output(io::Error::new(error.kind(), error.to_string()));
        }
        let size = crate::cli::values::show_size(written_bytes);
        Failure::Other(format!("{}: cannot be written: {error}, after {size}", self.path.display()))
    }
}

fn by_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    match () {
        () if ends(&[".parquet"]) => Some(Format::Parquet),
        () if ends(&[".ndjson", ".jsonl"]) => Some(Format::Ndjson),
        () if ends(&[".ndjson.zst", ".jsonl.zst"]) => Some(Format::NdjsonZst),
        () => None,
    }
}

/// A writer.
pub(super) enum Sink {
    Ndjson(Box<Ndjson>),
    Parquet(Box<Parquet>),
}

impl Sink {
    pub(super) fn write(&mut self, cells: &Cells<'_>) -> io::Result<()> {
        match self {
            Self::Ndjson(writer) => writer.write(cells),
            Self::Parquet(writer) => writer.write(cells).map_err(system_error),
        }
    }

    /// Hands on what a reader at the other end of a pipe may wait for.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Ndjson(writer) => writer.flush(),
            Self::Parquet(_) => Ok(()),
        }
    }

    pub(super) fn written_bytes(&self) -> u64 {
        match self {
            Self::Ndjson(writer) => writer.written_bytes(),
            Self::Parquet(writer) => writer.written_bytes(),
        }
    }

    pub(super) fn finish(self) -> io::Result<OutFile> {
        match self {
            Self::Ndjson(writer) => writer.finish(),
            Self::Parquet(writer) => writer.finish().map_err(system_error),
        }
    }
}

/// What the system said, out of what the writer makes of it.
fn system_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(cause) => io::Error::other(cause),
        },
        other => io::Error::other(other),
    }
}
