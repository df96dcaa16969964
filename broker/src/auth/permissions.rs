//! What a user may publish and subscribe to.
//!
//! The invariant that all ways of delivery keep: a client gets a message on a subject only if it might subscribe to just
//! that subject, in the same queue group.

use std::time::Duration;

use sublog_protocol::subject;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish to.
    pub publish: Rules,
    /// Subjects it may subscribe to.
    pub subscribe: Rules,
    /// Whether it may answer requests wherever they ask it to.
    pub responses: Option<Responses>,
}

/// Allowed and denied subjects; what is denied is denied even where it is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// `None` allows everything.
    pub allow: Option<Vec<Rule>>,
    /// Never these.
    pub deny: Vec<Rule>,
}

/// One subject of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// With wildcards.
    pub subject: Box<[u8]>,
    /// Only as a member of this group, which may have wildcards.
    pub queue: Option<Box<[u8]>>,
}

/// Answers beyond what may be published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Responses {
    /// Answers to one request; `None` is any number.
    pub max: Option<u64>,
    /// How long after the request; `None` is for ever.
    pub expires: Option<Duration>,
}

impl Rule {
    /// A rule without a queue group.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        Self { subject: subject.as_bytes().into(), queue: None }
    }

    /// Whether it is about this queue group. A name with wildcards is also the name of just that group.
    fn is_of(&self, group: &[u8]) -> bool {
        self.queue.as_deref().is_some_and(|queue| queue == group || subject::matches(queue, group))
    }
}

/// What rules say of a subject: of it alone, and of a group on it.
fn of_queue<'r>(rules: &'r [Rule], queue: &'r [u8], covers: impl Fn(&Rule) -> bool + 'r) -> Option<bool> {
    let mut about = rules.iter().filter(|rule| rule.queue.is_some() && covers(rule)).peekable();
    about.peek()?;
    Some(about.any(|rule| rule.is_of(queue)))
}

impl Rules {
    /// Whether a list says nothing at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    fn allows(&self, queue: Option<&[u8]>, covers: impl Fn(&Rule) -> bool + Copy) -> bool {
        let Some(allow) = &self.allow else { return true };
        let plain = || allow.iter().any(|rule| rule.queue.is_none() && covers(rule));
        // A rule for groups decides for all groups on its subjects.
        queue.and_then(|queue| of_queue(allow, queue, covers)).unwrap_or_else(plain)
    }

    fn denies(&self, queue: Option<&[u8]>, covers: impl Fn(&Rule) -> bool + Copy) -> bool {
        self.deny.iter().any(|rule| rule.queue.is_none() && covers(rule))
            || queue.and_then(|queue| of_queue(&self.deny, queue, covers)).unwrap_or(false)
    }
}

impl Permissions {
    /// Whether messages may be published on `subject`, not counting answers to requests.
    #[must_use]
    pub fn may_publish(&self, subject: &[u8]) -> bool {
        let covers = |rule: &Rule| subject::matches(&rule.subject, subject);
        self.publish.allows(None, covers) && !self.publish.denies(None, covers)
    }

    /// Whether `filter` may be subscribed to. One that is denied in part is accepted: see [`may_receive`](Self::may_receive).
    #[must_use]
    pub fn may_subscribe(&self, filter: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.allows(queue, |rule| subject::is_subset(filter, &rule.subject))
            // A wildcard in the filter counts as a token here: `a.>` is denied by `a.*`, as in nats-server.
            && !self.subscribe.denies(queue, |rule| subject::matches(&rule.subject, filter))
    }

    /// Whether a message on `subject` may be delivered to a subscription.
    #[must_use]
    pub fn may_receive(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.allows(queue, |rule| subject::matches(&rule.subject, subject)) && !self.denies(subject, queue)
    }

    /// Whether messages on `subject` are kept from this user, whatever is allowed.
    #[must_use]
    pub fn denies(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.subscribe.denies(queue, |rule| subject::matches(&rule.subject, subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: Option<&[&str]>, deny: &[&str]) -> Rules {
        let rule = |text: &&str| match text.split_once(' ') {
            Some((subject, queue)) => Rule { queue: Some(queue.as_bytes().into()), ..Rule::new(subject) },
            None => Rule::new(text),
        };
        Rules { allow: allow.map(|allow| allow.iter().map(rule).collect()), deny: deny.iter().map(rule).collect() }
    }

    /// Each line as nats-server 2.15.1 answers it, but for `foo.>` within `foo.*`, which it accepts.
    #[test]
    fn subscriptions() {
        type Case<'a> = (Option<&'a [&'a str]>, &'a [&'a str], &'a str, Option<&'a str>, bool);
        let cases: &[Case<'_>] = &[
            (None, &[], "foo", None, true),
            (Some(&[]), &[], "foo", None, false),
            (Some(&["foo.*"]), &[], "foo.a", None, true),
            (Some(&["foo.*"]), &[], "foo.*", None, true),
            (Some(&["foo.*"]), &[], "foo.a", Some("q"), true),
            (Some(&["foo.*"]), &[], "foo.>", None, false),
            (Some(&["foo.*"]), &[], ">", None, false),
            (Some(&["foo.*"]), &[], "*.a", None, false),
            (None, &["foo.*"], "foo.>", None, false),
            (None, &["foo.*"], "foo.*", None, false),
            (None, &["foo.*"], "foo.a", None, false),
            (None, &["foo.*"], ">", None, true),
            (None, &["foo.*"], "*.a", None, true),
            (Some(&["foo.> v1", "foo.bar"]), &[], "foo.a", Some("v1"), true),
            (Some(&["foo.> v1", "foo.bar"]), &[], "foo.a", Some("v2"), false),
            (Some(&["foo.> v1", "foo.bar"]), &[], "foo.a", None, false),
            (Some(&["foo.> v1", "foo.bar"]), &[], "foo.bar", Some("v2"), false),
            (Some(&["foo.> v1", "foo.bar"]), &[], "foo.bar", None, true),
            (Some(&["foo.> *.prod"]), &[], "foo.a", Some("x.prod"), true),
            (None, &["foo.> v1"], "foo.a", Some("v1"), false),
            (None, &["foo.> v1"], "foo.a", Some("v2"), true),
            (None, &["foo.a", "foo.> v1"], "foo.a", Some("v2"), false),
        ];
        for (allow, deny, filter, queue, expected) in cases {
            let permissions = Permissions { subscribe: rules(*allow, deny), ..Permissions::default() };
            let queue = queue.map(str::as_bytes);
            let may = permissions.may_subscribe(filter.as_bytes(), queue);
            assert_eq!(may, *expected, "{allow:?} but {deny:?}: {filter} {queue:?}");
            if !subject::has_wildcard(filter.as_bytes()) {
                assert_eq!(
                    permissions.may_receive(filter.as_bytes(), queue),
                    *expected,
                    "{allow:?} {deny:?}: {filter}"
                );
            }
        }
    }

    #[test]
    fn publishing() {
        let permissions =
            Permissions { publish: rules(Some(&["a.>", "b"]), &["a.secret.*"]), ..Permissions::default() };
        for (subject, may) in [
            ("a.x", true),
            ("b", true),
            ("a", false),
            ("a.secret.x", false),
            ("a.secret", true),
            ("c", false),
            ("a..b", false),
        ] {
            assert_eq!(permissions.may_publish(subject.as_bytes()), may, "{subject}");
        }
    }
}
