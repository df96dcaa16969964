//! What was sent and what became of it, and the comparison with what a replay shows.

use std::collections::HashMap;
use std::time::Instant;

use sublog_tests::{Message, content, random};

/// One message somebody tried to publish.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) subject: String,
    pub(crate) hash: u64,
    /// Its place among the messages of its publisher.
    pub(crate) place: u64,
    /// Which of its publisher's connections it went out on.
    pub(crate) connection: u64,
    /// When it was sent and when its flush was answered, if it was.
    pub(crate) flushed: Option<(Instant, Instant)>,
}

/// All attempts of one publisher, by tag.
pub(crate) type Attempts = HashMap<String, Attempt>;

/// The outcome of a job; all but the first four must be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) published: usize,
    pub(crate) flushed: usize,
    pub(crate) replayed: usize,
    pub(crate) subjects: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) corrupt: usize,
    /// Messages nobody sent.
    pub(crate) unknown: usize,
    pub(crate) order_breaks: usize,
    /// Messages that are there though an earlier one of the same connection is not.
    pub(crate) holes: usize,
}

impl Verdict {
    /// Whether nothing went wrong.
    pub(crate) fn is_clean(&self) -> bool {
        let good = Self {
            published: self.published,
            flushed: self.flushed,
            replayed: self.replayed,
            subjects: self.subjects,
            ..Self::default()
        };
        *self == good
    }
}

/// What identifies a message's content.
pub(crate) fn fingerprint(message: &Message) -> u64 {
    random::hash(message.subject.as_bytes()) ^ random::hash(&message.payload).rotate_left(1)
}

/// Holds a replay of everything against what the publishers know.
pub(crate) fn judge(publishers: &[Attempts], replay: &[Message]) -> Verdict {
    let mut verdict = Verdict { replayed: replay.len(), ..Verdict::default() };
    let mut seen: Vec<HashMap<&str, ()>> = publishers.iter().map(|_| HashMap::new()).collect();
    let mut last_place = vec![0; publishers.len()];
    let mut subjects = std::collections::HashSet::new();
    for message in replay {
        subjects.insert(&message.subject);
        let Some(tag) = content::tag_of(&message.payload) else {
            verdict.unknown += 1;
            continue;
        };
        let number = tag.split('-').next().and_then(|number| number.parse::<usize>().ok());
        let known = number.and_then(|number| Some((number, publishers.get(number)?.get(tag)?)));
        let Some((number, attempt)) = known else {
            verdict.unknown += 1;
            continue;
        };
        if attempt.hash != random::hash(&message.payload) || attempt.subject != message.subject {
            verdict.corrupt += 1;
        }
        if seen[number].insert(tag, ()).is_some() {
            verdict.duplicated += 1;
        } else if attempt.place < last_place[number] {
            verdict.order_breaks += 1;
        }
        last_place[number] = attempt.place;
    }
    verdict.subjects = subjects.len();
    for (attempts, seen) in publishers.iter().zip(&seen) {
        verdict.published += attempts.len();
        verdict.flushed += attempts.values().filter(|attempt| attempt.flushed.is_some()).count();
        verdict.lost += attempts
            .iter()
            .filter(|(tag, attempt)| attempt.flushed.is_some() && !seen.contains_key(tag.as_str()))
            .count();
        verdict.holes += holes(attempts, seen);
    }
    verdict
}

/// A connection's messages are recorded in order, so what survives of it is a beginning.
fn holes(attempts: &Attempts, seen: &HashMap<&str, ()>) -> usize {
    let mut first_missing: HashMap<u64, u64> = HashMap::new();
    for attempt in attempts.iter().filter(|(tag, _)| !seen.contains_key(tag.as_str())).map(|(_, attempt)| attempt) {
        let place = first_missing.entry(attempt.connection).or_insert(attempt.place);
        *place = attempt.place.min(*place);
    }
    attempts
        .iter()
        .filter(|(tag, attempt)| {
            seen.contains_key(tag.as_str())
                && first_missing.get(&attempt.connection).is_some_and(|missing| *missing < attempt.place)
        })
        .count()
}

#[test]
fn the_judge_sees_what_goes_wrong() {
    let now = sublog_tests::clock::now();
    let message = |tag: &str, subject: &str| Message {
        subject: subject.to_owned(),
        sid: "1".to_owned(),
        reply: None,
        headers: None,
        payload: format!("{tag} x").into_bytes(),
    };
    let attempt = |place: u64, tag: &str| {
        let hash = random::hash(format!("{tag} x").as_bytes());
        let attempt = Attempt { subject: "s".into(), hash, place, connection: 1, flushed: Some((now, now)) };
        (tag.to_owned(), attempt)
    };
    let publishers = [Attempts::from([attempt(1, "0-a"), attempt(2, "0-b"), attempt(3, "0-c")])];
    let all = |tags: &[&str]| tags.iter().map(|tag| message(tag, "s")).collect::<Vec<_>>();
    assert!(judge(&publishers, &all(&["0-a", "0-b", "0-c"])).is_clean());
    assert_eq!(judge(&publishers, &all(&["0-a", "0-b"])).lost, 1);
    assert_eq!(judge(&publishers, &all(&["0-a", "0-c"])).holes, 1);
    assert_eq!(judge(&publishers, &all(&["0-a", "0-b", "0-b", "0-c"])).duplicated, 1);
    assert_eq!(judge(&publishers, &all(&["0-b", "0-a", "0-c"])).order_breaks, 1);
    assert_eq!(judge(&publishers, &all(&["0-a", "0-b", "0-c", "0-d", "1-a"])).unknown, 2);
    assert_eq!(judge(&publishers, &[message("0-a", "other")]).corrupt, 1);
}
