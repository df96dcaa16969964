//! The name the program was called by: under that of nats-server it is one.
//!
//! Programs that start a nats-server take what it does without being asked for granted: no streams, nothing on a disk,
//! every subject an ordinary one. So under that name JetStream and the recording of messages are there when they are asked for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What asks for recording, whatever the program is called: `on` or `off`.
pub(super) const CAPTURE_VARIABLE: &str = "SUBLOG_CAPTURE";
/// Folder within the one that is named, as nats-server has it.
const JETSTREAM_FOLDER: &str = "jetstream";

/// Under which name the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Called {
    /// Its own.
    #[default]
    Sublog,
    /// That of nats-server.
    NatsServer,
}

impl Called {
    /// By the first word of a command line.
    #[must_use]
    pub fn of(program: &OsStr) -> Self {
        let name = Path::new(program).file_name();
        if name.is_some_and(|name| name == "nats-server") { Self::NatsServer } else { Self::Sublog }
    }

    /// The name itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sublog => "sublog",
            Self::NatsServer => "nats-server",
        }
    }

    /// The version that is shown for it.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Sublog => super::VERSION,
            Self::NatsServer => crate::server::NATS_VERSION,
        }
    }

    /// Where data goes if `given` is the folder that was named, if one was.
    pub(super) fn store_dir(self, given: Option<PathBuf>) -> Option<PathBuf> {
        match self {
            Self::Sublog => given,
            Self::NatsServer => {
                let base = given.unwrap_or_else(|| std::env::temp_dir().join("nats"));
                Some(base.join(JETSTREAM_FOLDER))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders() {
        for (program, called) in [
            ("nats-server", Called::NatsServer),
            ("/usr/bin/nats-server", Called::NatsServer),
            ("./nats-server2", Called::Sublog),
            ("sublog", Called::Sublog),
            ("", Called::Sublog),
        ] {
            assert_eq!(Called::of(OsStr::new(program)), called, "{program}");
        }
        assert_eq!(Called::NatsServer.store_dir(Some("d".into())), Some("d/jetstream".into()));
        assert!(Called::NatsServer.store_dir(None).unwrap().ends_with("nats/jetstream"));
        assert_eq!(Called::Sublog.store_dir(None), None);
    }
}
