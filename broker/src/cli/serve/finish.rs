//! From a draft of all flags, and what a configuration says, to how to serve.

use std::sync::Arc;

use super::super::flags::UsageError;
use super::{Draft, Serve, tls};
use crate::config::Auth;

/// Checks what only several flags together can get wrong.
pub(super) fn finish(mut draft: Draft) -> Result<Serve, UsageError> {
    let refuse =
        |flag: &str, reason: &str| Err(UsageError::BadValue { flag: flag.to_owned(), reason: reason.to_owned() });
    tls::finish(&mut draft)?;
    if draft.users.is_some() && (draft.user.is_some() || draft.password.is_some() || draft.token.is_some()) {
        return refuse("--user", "the configuration has a list of users, which excludes --user, --pass and --auth");
    }
    draft.server.auth = match (draft.user, draft.password, draft.token) {
        (None, None, None) => draft.users.map_or(Auth::None, |users| Auth::Users(Arc::new(users))),
        (Some(user), Some(password), None) => Auth::UserPassword { user, password },
        (None, None, Some(token)) => Auth::Token(token),
        (_, _, Some(_)) => return refuse("--auth", "a token excludes --user and --pass"),
        (Some(_), None, None) => return refuse("--user", "needs --pass"),
        (None, Some(_), None) => return refuse("--pass", "needs --user"),
    };
    let limits = &draft.server.limits;
    if limits.max_payload > limits.max_pending {
        return refuse("--max_payload", "must not be more than --max_pending");
    }
    if limits.max_control_line > limits.max_pending {
        return refuse("--max_control_line", "must not be more than --max_pending");
    }
    if draft.server.lame_duck_grace >= draft.server.lame_duck_duration {
        return refuse("--lame_duck_grace_period", "must be shorter than --lame_duck_duration");
    }
    if draft.server.monitor_port.is_some_and(|port| port != 0 && port == draft.server.port) {
        return refuse(if draft.server.monitor_tls { "-ms" } else { "-m" }, "the clients' port is the same");
    }
    draft.log.trace = draft.server.trace;
    let (config, digest, places, warnings) = (None, String::new(), Vec::new(), Vec::new());
    Ok(Serve { server: draft.server, log: draft.log, config, digest, places, warnings })
}
