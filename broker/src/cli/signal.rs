//! `--signal word[=pid]`: sends a signal to a server that runs, as nats-server does it.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// The words and what they send.
const WORDS: &[(&str, Signal)] = &[
    ("stop", Signal::KILL),
    ("quit", Signal::INT),
    ("term", Signal::TERM),
    ("reload", Signal::HUP),
    ("reopen", Signal::USR1),
    ("ldm", Signal::USR2),
];

/// A signal and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signalled {
    signal: &'static str,
    to: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// The only server of this machine.
    Only,
    Pid(i32),
    /// A file with the process id.
    File(String),
}

/// Why no signal was sent.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SignalError {
    #[error("cannot read the process id in {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("{path} holds no process id")]
    NoPid { path: String },
    #[error("no server runs")]
    None,
    #[error("several servers run: name one by its process id, --signal {word}=<pid>:{pids}")]
    Several { word: &'static str, pids: String },
    #[error("cannot send a signal to process {pid}: {source}")]
    Send { pid: i32, source: std::io::Error },
}

impl Signalled {
    /// Reads the flag's value. The error is the second half of a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (word, to) = text.split_once('=').map_or((text, None), |(word, to)| (word, Some(to)));
        let Some((signal, _)) = WORDS.iter().find(|(known, _)| *known == word) else {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            return Err(format!("{word:?} is none of {}", words.join(", ")));
        };
        let to = match to {
            None | Some("") => Target::Only,
            Some(to) => match to.parse::<i32>() {
                Ok(pid) if pid > 0 => Target::Pid(pid),
                Ok(_) => return Err(format!("{to:?} is no process id")),
                Err(_) => Target::File(to.to_owned()),
            },
        };
        Ok(Self { signal, to })
    }

    /// Sends it.
    ///
    /// # Errors
    /// [`SignalError`]
    pub fn send(&self) -> Result<(), SignalError> {
        let pid = match &self.to {
            Target::Pid(pid) => *pid,
            Target::File(path) => in_file(path)?,
            Target::Only => self.only(&running()?)?,
        };
        let signal = WORDS.iter().find(|(word, _)| *word == self.signal).map(|(_, signal)| *signal);
        let (Some(signal), Some(to)) = (signal, Pid::from_raw(pid)) else { return Err(SignalError::None) };
        kill_process(to, signal).map_err(|error| SignalError::Send { pid, source: error.into() })
    }

    fn only(&self, pids: &[i32]) -> Result<i32, SignalError> {
        match pids {
            [] => Err(SignalError::None),
            [pid] => Ok(*pid),
            several => {
                let pids = several.iter().map(|pid| format!(" {pid}")).collect();
                Err(SignalError::Several { word: self.signal, pids })
            }
        }
    }
}

fn in_file(path: &str) -> Result<i32, SignalError> {
    let text = std::fs::read_to_string(path).map_err(|source| SignalError::File { path: path.to_owned(), source })?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| SignalError::NoPid { path: path.to_owned() })
}

/// Other processes of this program that serve, as `/proc` shows them.
fn running() -> Result<Vec<i32>, SignalError> {
    let failed = |source| SignalError::File { path: "/proc".to_owned(), source };
    let ours = std::fs::metadata("/proc/self/exe").map_err(failed)?;
    let same = |dir: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(dir.join("exe")).is_ok_and(|exe| (exe.dev(), exe.ino()) == (ours.dev(), ours.ino()))
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(failed)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if pid != own && same(&entry.path()) && serves(&entry.path()) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Whether the process was started as a server and not as one of the other commands.
fn serves(dir: &Path) -> bool {
    let Ok(line) = std::fs::read(dir.join("cmdline")) else { return false };
    let first =
        line.split(|byte| *byte == 0).nth(1).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
    first.is_empty() || first == "serve" || first.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_targets() {
        let parse = |text: &str| Signalled::parse(text).map(|signalled| (signalled.signal, signalled.to));
        assert_eq!(parse("ldm=12"), Ok(("ldm", Target::Pid(12))));
        assert_eq!(parse("reload"), Ok(("reload", Target::Only)));
        assert_eq!(parse("stop="), Ok(("stop", Target::Only)));
        assert_eq!(parse("quit=/run/x.pid"), Ok(("quit", Target::File("/run/x.pid".to_owned()))));
        for text in ["", "kill", "term=-1", "term=0", "LDM"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_server_or_an_error() {
        let signalled = Signalled::parse("ldm").unwrap();
        assert!(matches!(signalled.only(&[]), Err(SignalError::None)));
        assert_eq!(signalled.only(&[7]).unwrap(), 7);
        let text = signalled.only(&[7, 8]).unwrap_err().to_string();
        assert_eq!(text, "several servers run: name one by its process id, --signal ldm=<pid>: 7 8");
    }
}
