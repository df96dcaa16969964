//! Reading the values of the server's flags. Errors are the second half of a sentence that begins with the flag.

use std::time::Duration;

use sublog_storage::SyncMode;

use super::super::flags::Value;
use super::super::values;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// A sync interval above this would only be a way to lose more.
const SYNC_INTERVAL_MOST: Duration = Duration::from_secs(3600);
/// `--sync interval` without a duration.
const SYNC_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

pub(super) fn bytes(value: Value<'_>, least: u64, most: u64) -> Result<usize, String> {
    let text = value.text()?;
    let bytes = values::size(text)?;
    if !(least..=most).contains(&bytes) {
        let bounds = (values::show_size(least), values::show_size(most));
        return Err(format!("{text:?} is not between {} and {}", bounds.0, bounds.1));
    }
    usize::try_from(bytes).map_err(|_| format!("{text:?} is too large for this machine"))
}

pub(super) fn count(value: Value<'_>, least: u64, most: u64) -> Result<usize, String> {
    let count = values::number(value.text()?, least, most)?;
    usize::try_from(count).map_err(|_| format!("{count} is too large for this machine"))
}

pub(super) fn span(value: Value<'_>, least: Duration, most: Duration) -> Result<Duration, String> {
    let text = value.text()?;
    let span = values::duration(text)?;
    if span < least || span > most {
        let bounds = (values::show_duration(least), values::show_duration(most));
        return Err(format!("{text:?} is not between {} and {}", bounds.0, bounds.1));
    }
    Ok(span)
}

/// `always`, `os`, `interval` or `interval:<duration>`.
pub(super) fn sync_mode(text: &str) -> Result<SyncMode, String> {
    match text.split_once(':').map_or((text, None), |(mode, span)| (mode, Some(span))) {
        ("always", None) => Ok(SyncMode::Always),
        ("os", None) => Ok(SyncMode::Os),
        ("interval", None) => Ok(SyncMode::Interval(SYNC_INTERVAL_DEFAULT)),
        ("interval", Some(span)) => {
            let span = values::duration(span)?;
            if span.is_zero() || span > SYNC_INTERVAL_MOST {
                return Err(format!("{text:?}: the interval is more than 0 and at most 1h"));
            }
            Ok(SyncMode::Interval(span))
        }
        _ => Err(format!("{text:?} is none of always, interval, interval:<duration>, os")),
    }
}

/// A value, or none for the words that say so.
pub(super) fn unless_off<T>(text: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if matches!(text, "0" | "off" | "none") { Ok(None) } else { read(text).map(Some) }
}

/// A name stands in logs and in INFO, where blanks would break it apart.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("{text:?} has blanks in it"));
    }
    if text.len() > 128 {
        return Err("the name is longer than 128 bytes".to_owned());
    }
    Ok(text.to_owned())
}
