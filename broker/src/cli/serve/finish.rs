//! From a draft of all flags, and what a configuration says, to how to serve.

use std::sync::Arc;

use super::super::called::{CAPTURE_VARIABLE, Called};
use super::super::flags::UsageError;
use super::super::values;
use super::{Draft, Serve, tls};
use crate::config::Auth;
use crate::config::accounts::AccountsOptions;

/// Checks what only several flags together can get wrong.
pub(super) fn finish(mut draft: Draft) -> Result<Serve, UsageError> {
    let refuse =
        |flag: &str, reason: &str| Err(UsageError::BadValue { flag: flag.to_owned(), reason: reason.to_owned() });
    tls::finish(&mut draft)?;
    what_is_kept(&mut draft)?;
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
    if let Some(operator) = &draft.server.operator {
        if !matches!(draft.server.auth, Auth::None) {
            return refuse("--user", "the configuration has operators, who exclude --user, --pass and --auth");
        }
        draft.server.auth = Auth::Operator;
        let system = operator.system.clone();
        draft.server.accounts = Arc::new(AccountsOptions { system, ..AccountsOptions::clone(&draft.server.accounts) });
    }
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

/// Whether there are streams, whether messages are recorded, and where: unless something says so, as the program's name has it.
fn what_is_kept(draft: &mut Draft) -> Result<(), UsageError> {
    let called = draft.program.called;
    let by_default = called == Called::Sublog;
    let variable = match &draft.program.capture {
        None => None,
        Some(text) => {
            let is = text.to_str().ok_or_else(|| "the value is not UTF-8".to_owned()).and_then(values::switch);
            let wrong = |reason| UsageError::BadValue { flag: CAPTURE_VARIABLE.to_owned(), reason };
            Some(is.map_err(wrong)?)
        }
    };
    let server = &mut draft.server;
    server.called = called;
    server.jetstream = draft.jetstream.unwrap_or(by_default);
    server.capture.enabled = draft.capture.or(variable).unwrap_or(by_default || draft.has_own_block);
    let store_dir = draft.own_store_dir.take().or_else(|| called.store_dir(draft.store_dir.take()));
    server.store_dir = store_dir.unwrap_or_else(|| std::mem::take(&mut server.store_dir));
    Ok(())
}
