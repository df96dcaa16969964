//! What claims let somebody do, as the server asks for it.

use std::time::Duration;

use crate::auth::permissions::{Permissions, Responses, Rule, Rules};
use crate::jwt::user::{Permission, Permissions as Claimed};

/// Answers that a user may give if its claims do not say how many, and how late.
const RESPONSES: u64 = 1;
const RESPONSES_WITHIN: Duration = Duration::from_secs(120);

/// What may be done. `None`: nothing is said of it.
#[must_use]
pub fn permissions(claimed: &Claimed) -> Option<Permissions> {
    if claimed.is_empty() {
        return None;
    }
    let mut permissions = Permissions {
        publish: rules(&claimed.publish),
        subscribe: rules(&claimed.subscribe),
        responses: claimed.resp.map(|found| Responses {
            max: if found.max == 0 { Some(RESPONSES) } else { u64::try_from(found.max).ok() },
            expires: if found.ttl == 0 {
                Some(RESPONSES_WITHIN)
            } else {
                u64::try_from(found.ttl).ok().map(Duration::from_nanos)
            },
        }),
    };
    if permissions.responses.is_some() && permissions.publish.allow.is_none() {
        // Who may answer may not publish at will, unless that is said as well.
        permissions.publish.allow = Some(Vec::new());
    }
    Some(permissions)
}

fn rules(found: &Permission) -> Rules {
    let rule = |text: &String| {
        let mut words = text.split(' ');
        let subject = words.next().unwrap_or_default();
        Rule { queue: words.next().map(|queue| queue.as_bytes().into()), ..Rule::new(subject) }
    };
    let list = |texts: &[String]| texts.iter().map(rule).collect::<Vec<_>>();
    Rules { allow: (!found.allow.is_empty()).then(|| list(&found.allow)), deny: list(&found.deny) }
}

/// A bound of claims, where -1 is none.
#[must_use]
pub fn bound(limit: i64) -> Option<usize> {
    (limit != crate::jwt::user::NO_LIMIT).then(|| usize::try_from(limit).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_become_permissions() {
        let claimed = |json: &str| permissions(&serde_json::from_str(json).unwrap());
        assert_eq!(claimed("{}"), None);
        let found = claimed(r#"{"pub":{"allow":["a.>"]},"sub":{"deny":["b q"]}}"#).unwrap();
        assert!(found.may_publish(b"a.b") && !found.may_publish(b"c"));
        assert!(found.may_subscribe(b"b", None) && !found.may_subscribe(b"b", Some(b"q")));
        // Whoever may answer may do no more.
        let found = claimed(r#"{"resp":{"max":0,"ttl":0}}"#).unwrap();
        assert!(!found.may_publish(b"a"));
        let answers = found.responses.unwrap();
        assert_eq!((answers.max, answers.expires), (Some(1), Some(Duration::from_secs(120))));
        let answers = claimed(r#"{"resp":{"max":-1,"ttl":-1}}"#).unwrap().responses.unwrap();
        assert_eq!((answers.max, answers.expires), (None, None));
        assert_eq!((bound(-1), bound(0), bound(5), bound(-7)), (None, Some(0), Some(5), Some(0)));
    }
}
