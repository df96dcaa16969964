//! What a user may do, as plainly as it can be said: the rules of a configuration over lists of tokens.

use std::fmt::Write as _;

use sublog_tests::Random;

/// Whether a subject without wildcards is one of a filter's.
pub(crate) fn is_of(filter: &str, subject: &str) -> bool {
    let (filter, subject): (Vec<&str>, Vec<&str>) = (filter.split('.').collect(), subject.split('.').collect());
    for (at, token) in filter.iter().enumerate() {
        match *token {
            ">" => return subject.len() > at,
            "*" if at < subject.len() => {}
            literal if subject.get(at) == Some(&literal) => {}
            _ => return false,
        }
    }
    filter.len() == subject.len()
}

/// A line of a list: a filter, and that of queue groups.
#[derive(Debug, Clone)]
pub(crate) struct Line(pub(crate) String, pub(crate) Option<String>);

impl Line {
    fn is_about(&self, subject: &str, queue: Option<&str>) -> bool {
        let group = self.1.as_deref();
        is_of(&self.0, subject) && group.is_none_or(|group| queue.is_some_and(|queue| is_of(group, queue)))
    }
}

/// Two lists; no list to allow is all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    pub(crate) allow: Option<Vec<Line>>,
    pub(crate) deny: Vec<Line>,
}

impl Lists {
    /// Whether it is denied by name.
    pub(crate) fn denies(&self, subject: &str, queue: Option<&str>) -> bool {
        self.deny.iter().any(|line| line.is_about(subject, queue))
    }

    /// Whether it is allowed: by a line, and denied by none.
    pub(crate) fn allows(&self, subject: &str, queue: Option<&str>) -> bool {
        let listed = self.allow.as_ref().is_none_or(|allow| allow.iter().any(|line| line.is_about(subject, queue)));
        listed && !self.denies(subject, queue)
    }

    /// As it stands in a configuration.
    pub(crate) fn text(&self) -> String {
        let list = |lines: &[Line]| {
            let mut out = String::from("[");
            for Line(subject, queue) in lines {
                write!(out, " {:?},", format!("{subject} {}", queue.as_deref().unwrap_or_default()).trim()).unwrap();
            }
            out.trim_end_matches(',').to_owned() + " ]"
        };
        let allow = self.allow.as_ref().map(|lines| format!("allow: {},", list(lines))).unwrap_or_default();
        format!("{{ {allow} deny: {} }}", list(&self.deny))
    }
}

/// First tokens of subjects: live ones, those of a stream, and those that it publishes once more.
pub(crate) const FIRST: &[&str] = &["a", "b", "s", "r"];
const LATER: &[&str] = &["a", "b", "s"];

/// A filter over few tokens, so that many of them overlap.
pub(crate) fn filter(random: &mut Random) -> String {
    let len = random.between(1, 3);
    let mut tokens = Vec::new();
    for at in 0..len {
        let words = if at == 0 { FIRST } else { LATER };
        match random.below(6) {
            0 if at + 1 == len => tokens.push(">"),
            0 | 1 => tokens.push("*"),
            n => tokens.push(words[usize::try_from(n + random.below(9)).unwrap() % words.len()]),
        }
    }
    tokens.join(".")
}

/// A queue group, or none.
pub(crate) fn queue(random: &mut Random) -> Option<String> {
    let names = ["g", "h", "g.x", "h.x"];
    (random.below(2) == 0).then(|| names[usize::try_from(random.below(4)).unwrap()].to_owned())
}

fn line(random: &mut Random, queues: bool) -> Line {
    let groups = ["g", "*", "g.*", ">", "h.x"];
    let group = queues && random.below(3) == 0;
    Line(filter(random), group.then(|| groups[usize::try_from(random.below(5)).unwrap()].to_owned()))
}

/// Some lists; what every user needs is among what is allowed.
pub(crate) fn lists(random: &mut Random, queues: bool, needed: &[&str]) -> Lists {
    let mut some = |most: u64| (0..random.between(0, most)).map(|_| line(random, queues)).collect::<Vec<_>>();
    let (mut allow, deny) = (some(4), some(3));
    allow.extend(needed.iter().map(|subject| Line((*subject).to_owned(), None)));
    Lists { allow: (random.below(3) > 0).then_some(allow), deny }
}

/// All subjects there are.
pub(crate) fn subjects() -> Vec<String> {
    let mut all = Vec::new();
    for first in FIRST {
        all.push((*first).to_owned());
        for second in LATER {
            all.push(format!("{first}.{second}"));
            all.extend(LATER.iter().map(|third| format!("{first}.{second}.{third}")));
        }
    }
    all
}
