//! What a command line of the server asks for.

use std::path::PathBuf;

use super::super::signal::Signalled;
use crate::conf::Position;
use crate::conf::settings::Finding;
use crate::config::ServerOptions;
use crate::logging::LogOptions;

/// What a command line of the server asks for.
#[derive(Debug, Clone)]
pub enum Request {
    /// Serve.
    Serve(Box<Serve>),
    /// Print the help.
    Help,
    /// Print what can be chosen for encryption.
    HelpTls,
    /// Print the version.
    Version,
    /// Send a signal to a server that runs.
    Signal(Signalled),
    /// Say that this configuration file is fine (`-t`).
    Checked(Box<Checked>),
}

/// A configuration file without errors.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// The fingerprint of its values.
    pub digest: String,
    /// What has no effect in it.
    pub warnings: Vec<Finding>,
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Serve {
    /// What the server needs to know.
    pub server: ServerOptions,
    /// Where and how it logs.
    pub log: LogOptions,
    /// The configuration file, if there is one.
    pub config: Option<PathBuf>,
    /// The fingerprint of its values; empty without one.
    pub digest: String,
    /// Where each of its keys stands that has an effect.
    pub places: Vec<(String, Position)>,
    /// What has no effect in it.
    pub warnings: Vec<Finding>,
}
