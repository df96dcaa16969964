//! Subjects of a scope, filled in for each user: `{{name()}}`, `{{subject()}}`, `{{account-name()}}`,
//! `{{account-subject()}}`, `{{tag(x)}}`, `{{account-tag(x)}}`.

use sublog_protocol::subject;

use crate::jwt::user::{Bounds, Permission};

/// Subjects that one template may become.
const SUBJECTS_MAX: usize = 4096;

/// What is filled in.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "named as in the templates")]
pub struct Facts<'a> {
    pub name: &'a str,
    pub subject: &'a str,
    pub tags: &'a [String],
    pub account_name: &'a str,
    pub account_subject: &'a str,
    pub account_tags: &'a [String],
}

impl Facts<'_> {
    /// What an operation stands for; nothing where a tag is not there. `None`: there is no such operation.
    fn values(&self, operation: &str) -> Option<Vec<String>> {
        let operation = operation.trim();
        let one = |text: &str| Some(vec![text.to_owned()]);
        let is = |name: &str| operation.eq_ignore_ascii_case(name);
        if is("name()") {
            return one(self.name);
        }
        if is("subject()") {
            return one(self.subject);
        }
        if is("account-name()") {
            return one(self.account_name);
        }
        if is("account-subject()") {
            return one(self.account_subject);
        }
        let inner = operation.strip_suffix(')')?;
        let tagged = |opening: &str| {
            let head = inner.get(..opening.len())?;
            head.eq_ignore_ascii_case(opening).then(|| inner.get(opening.len()..).unwrap_or_default().to_lowercase())
        };
        let (tag, tags) = match (tagged("tag("), tagged("account-tag(")) {
            (Some(tag), _) => (tag, self.tags),
            (None, Some(tag)) => (tag, self.account_tags),
            (None, None) => return None,
        };
        let prefix = format!("{tag}:");
        Some(tags.iter().filter_map(|tag| tag.strip_prefix(&prefix)).map(str::to_owned).collect())
    }
}

/// Fills in the subjects of a scope. `None`: a user like this can have none of it.
#[must_use]
pub fn fill(template: &Bounds, facts: &Facts<'_>) -> Option<Bounds> {
    let mut bounds = template.clone();
    for list in [&mut bounds.permissions.subscribe, &mut bounds.permissions.publish] {
        let Permission { allow, deny } = list;
        let allowed_some = !allow.is_empty();
        *allow = filled(allow, facts, false)?;
        // What cannot be filled in may not leave a door open.
        *deny = filled(deny, facts, true)?;
        if allowed_some && allow.is_empty() && !deny.iter().any(|subject| subject == ">") {
            deny.push(">".to_owned());
        }
    }
    Some(bounds)
}

/// Parts of a subject between templates, and the templates.
fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut plain, mut operations, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((operation, behind)) = after.split_once("}}").filter(|(op, _)| !op.is_empty() && !op.contains('}'))
        else {
            break;
        };
        plain.push(before);
        operations.push(operation);
        rest = behind;
    }
    plain.push(rest);
    (plain, operations)
}

fn filled(list: &[String], facts: &Facts<'_>, all: bool) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for text in list {
        let (plain, operations) = split(text);
        if operations.is_empty() {
            out.push(text.clone());
            continue;
        }
        let mut made = vec![plain.first().copied().unwrap_or_default().to_owned()];
        for (operation, behind) in operations.iter().zip(plain.iter().skip(1)) {
            let values = facts.values(operation)?;
            if values.is_empty() && all {
                return None;
            }
            if made.len().saturating_mul(values.len()) > SUBJECTS_MAX {
                return None;
            }
            made =
                made.iter().flat_map(|head| values.iter().map(move |value| format!("{head}{value}{behind}"))).collect();
        }
        for text in made {
            if subject::is_valid_filter(text.as_bytes()) {
                out.push(text);
            } else if all {
                return None;
            }
        }
        if out.len() > SUBJECTS_MAX {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(name: &'a str, tags: &'a [String]) -> Facts<'a> {
        Facts { name, subject: "UX", tags, account_name: "acc", account_subject: "AX", account_tags: tags }
    }

    #[test]
    fn templates_are_filled_in() {
        let tags: Vec<String> = ["team:a", "team:b", "dept:x", "odd: y"].map(str::to_owned).into();
        for (text, expected) in [
            ("plain.>", &["plain.>"][..]),
            ("u.{{name()}}.>", &["u.me.>"]),
            ("{{ Subject() }}", &["UX"]),
            ("{{account-name()}}.{{account-subject()}}", &["acc.AX"]),
            ("t.{{tag(team)}}", &["t.a", "t.b"]),
            ("t.{{tag(TEAM)}}.{{account-tag(dept)}}", &["t.a.x", "t.b.x"]),
            ("t.{{tag(none)}}", &[]),
            ("q.{{name()}} {{tag(dept)}}", &[]),
            ("{{", &["{{"]),
        ] {
            let made = filled(&[text.to_owned()], &facts("me", &tags), false);
            assert_eq!(
                made.as_deref(),
                Some(expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        // Nobody is what no operation is; nobody is denied less than was meant.
        assert_eq!(filled(&["{{none()}}".to_owned()], &facts("me", &tags), false), None);
        assert_eq!(filled(&["{{tag(none)}}".to_owned()], &facts("me", &tags), true), None);
        assert_eq!(filled(&["d.{{name()}}".to_owned()], &facts("a b c", &tags), true), None);
        // A name that would be more than a token's worth of wildcards is what it says: signed by the account.
        assert_eq!(filled(&["d.{{name()}}".to_owned()], &facts("a..b", &tags), false), Some(Vec::new()));
        let many: Vec<String> = (0..100).map(|i| format!("t:{i}")).collect();
        assert_eq!(filled(&["{{tag(t)}}.{{tag(t)}}".to_owned()], &facts("me", &many), false), None);
    }

    #[test]
    fn who_is_allowed_nothing_is_denied_all() {
        let mut template = Bounds::default();
        template.permissions.publish.allow = vec!["{{tag(none)}}".to_owned()];
        let bounds = fill(&template, &facts("me", &[])).unwrap();
        assert_eq!(bounds.permissions.publish.deny, [">"]);
        assert!(bounds.permissions.subscribe.is_empty());
    }
}
