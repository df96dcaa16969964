//! Which stream and which subjects: what the first word of the command means.

use sublog_protocol::subject;

use super::Args;
use crate::capture::CAPTURE;
use crate::cli::client::Failure;
use crate::cli::subscribe;

/// A stream, and which of its subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct What {
    pub(super) stream: String,
    /// `>` is all.
    pub(super) filter: String,
}

/// Tells a stream's name from a filter, among the streams there are.
pub(super) fn resolve(args: &Args, streams: &[String]) -> Result<What, Failure> {
    decide(args.what.as_deref(), args.subject.as_deref(), streams).map_err(Failure::Usage)
}

fn decide(what: Option<&str>, subject: Option<&str>, streams: &[String]) -> Result<What, String> {
    let stream = what.filter(|word| streams.iter().any(|name| name == word));
    let filter = match (stream, what, subject) {
        (Some(_), _, subject) => subject.unwrap_or(">").to_owned(),
        (None, None, subject) => subject.unwrap_or(">").to_owned(),
        (None, Some(word), None) if word.contains('.') || subject::has_wildcard(word.as_bytes()) => {
            subscribe::parse_filter(word).map_err(|why| format!("{word:?} is no subject filter: {why}"))?
        }
        (None, Some(word), None) => {
            return Err(format!("no stream {word:?} ({}); if it is a subject: --subject {word}", listed(streams)));
        }
        (None, Some(word), Some(_)) => {
            return Err(format!("no stream {word:?} ({}), and --subject is given apart", listed(streams)));
        }
    };
    let stream = match (stream, streams) {
        (Some(stream), _) => stream.to_owned(),
        // What everything is recorded in, and what a replay reads.
        (None, streams) if streams.iter().any(|name| name == CAPTURE) => CAPTURE.to_owned(),
        (None, [only]) => only.clone(),
        (None, streams) => return Err(format!("say which stream is meant ({})", listed(streams))),
    };
    Ok(What { stream, filter })
}

fn listed(streams: &[String]) -> String {
    if streams.is_empty() { "there are none".to_owned() } else { format!("there is {}", streams.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_wins_over_a_filter() {
        let streams: Vec<String> = ["CAPTURE", "ORDERS"].map(String::from).to_vec();
        let decided = |what, subject| {
            let decided = decide(what, subject, &streams)?;
            Ok((decided.stream.clone(), decided.filter.clone()))
        };
        for (what, subject, stream, filter) in [
            (Some("CAPTURE"), None, "CAPTURE", ">"),
            (Some("ORDERS"), None, "ORDERS", ">"),
            (Some("ORDERS"), Some("a"), "ORDERS", "a"),
            (Some("cms.>"), None, "CAPTURE", "cms.>"),
            (Some("a.b"), None, "CAPTURE", "a.b"),
            (Some("*"), None, "CAPTURE", "*"),
            (Some(">"), None, "CAPTURE", ">"),
            (None, Some("ORDERS"), "CAPTURE", "ORDERS"),
        ] {
            assert_eq!(decided(what, subject), Ok((stream.into(), filter.into())), "{what:?} {subject:?}");
        }
        let refused = |what, subject| -> Result<(String, String), String> { decided(what, subject) };
        assert!(refused(Some("orders"), None).unwrap_err().contains("--subject orders"));
        assert!(refused(Some("a..b"), None).unwrap_err().contains("no subject filter"));
        assert!(refused(Some("a.b"), Some("c")).unwrap_err().contains("given apart"));
    }

    #[test]
    fn without_the_capture_stream_one_must_be_named() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(decide(Some("a.>"), None, &names(&["ONE"])).unwrap().stream, "ONE");
        assert!(decide(Some("a.>"), None, &names(&["ONE", "TWO"])).unwrap_err().contains("ONE, TWO"));
        assert!(decide(Some("a.>"), None, &[]).unwrap_err().contains("there are none"));
    }
}
