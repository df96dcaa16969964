//! From arguments, and the file they name, to what is asked for.

use std::ffi::{OsStr, OsString};

use super::super::called::{CAPTURE_VARIABLE, Called};
use super::super::flags::{self, UsageError};
use super::super::signal::Signalled;
use super::super::unsupported::UNSUPPORTED;
use super::super::values;
use super::finish::finish;
use super::{Checked, Draft, FLAGS, Request, Serve, file};

/// What else than its arguments decides what the program is to do.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The name it was called by.
    pub called: Called,
    /// Whether the environment asks for recording, in its words.
    pub capture: Option<OsString>,
}

impl Program {
    /// Of this process, whose command line begins with `first`.
    #[must_use]
    pub fn of(first: &OsStr) -> Self {
        Self { called: Called::of(first), capture: std::env::var_os(CAPTURE_VARIABLE).filter(|text| !text.is_empty()) }
    }
}

/// [`parse_as`] of a program that is called by its own name, with nothing in the environment.
///
/// # Errors
/// As there.
pub fn parse(args: &[OsString]) -> Result<Request, UsageError> {
    parse_as(args, &Program::default())
}

/// Reads the arguments of the server, without the program's name.
///
/// # Errors
/// [`UsageError`] that names the argument that cannot be obeyed.
pub fn parse_as(args: &[OsString], program: &Program) -> Result<Request, UsageError> {
    let mut draft = Draft { program: program.clone(), ..Draft::default() };
    let words = flags::parse(FLAGS, UNSUPPORTED, args, &mut draft)?;
    if let Some(word) = words.first() {
        match word.to_string_lossy().to_ascii_lowercase().as_str() {
            "help" => return Ok(Request::Help),
            "version" => return Ok(Request::Version),
            other => {
                let switch = values::switch(other).is_ok();
                return Err(UsageError::UnexpectedWord { word: word.to_string_lossy().into_owned(), switch });
            }
        }
    }
    if draft.help {
        return Ok(Request::Help);
    }
    if draft.help_tls {
        return Ok(Request::HelpTls);
    }
    if draft.version {
        return Ok(Request::Version);
    }
    if let Some(signal) = &draft.signal {
        let signalled = Signalled::parse(signal);
        return signalled
            .map(Request::Signal)
            .map_err(|reason| UsageError::BadValue { flag: "--signal".to_owned(), reason });
    }
    let Some(path) = draft.config.clone() else {
        if draft.check {
            return Err(UsageError::BadValue {
                flag: "-t".to_owned(),
                reason: "needs -c, the file to check".to_owned(),
            });
        }
        return finish(draft).map(|serve| Request::Serve(Box::new(serve)));
    };
    let file = file::read(&path)?;
    if draft.check {
        let file::Read { draft: mut alone, digest, warnings, .. } = file;
        alone.program = program.clone();
        finish(alone)?;
        return Ok(Request::Checked(Box::new(Checked { path, digest, warnings })));
    }
    // The flags once more, over what the file says.
    let file::Read { draft: mut both, digest, warnings, places } = file;
    both.program = program.clone();
    let (user, password, token) = (both.user.take(), both.password.take(), both.token.take());
    flags::parse(FLAGS, UNSUPPORTED, args, &mut both)?;
    if both.token.is_none() {
        if both.user.is_none() && both.password.is_none() {
            both.token = token;
        }
        both.user = both.user.or(user);
        both.password = both.password.or(password);
    }
    let serve = finish(both)?;
    Ok(Request::Serve(Box::new(Serve { config: Some(path), digest, places, warnings, ..serve })))
}
