//! Hashed passwords: checked on threads of their own, since one check takes a tenth of a second and more.
//!
//! Publishers that come with every message would pay that each time. So what was right is remembered: not the password, but
//! a digest of it and the hash under a key that only this process has. What was wrong is not remembered.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::users::Secret;
use crate::limits::PASSWORDS_KEPT_MAX;

type Mark = [u8; 32];

/// See the module.
pub struct Passwords {
    key: [u8; 32],
    right: Mutex<Right>,
    /// Checks at a time: half of the cores, so that who guesses does not keep the others from being served.
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct Right {
    marks: HashSet<Mark>,
    /// In the order they came: the oldest goes first.
    order: VecDeque<Mark>,
    /// How often all was forgotten: a check that began before that is not to be remembered.
    cleared: u64,
}

impl Passwords {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { key, right: Mutex::default(), turns: Arc::new(Semaphore::new((cores / 2).max(1))) })
    }

    /// Whether the password is the one that was hashed.
    pub async fn fits(&self, hash: &Secret, password: &Secret) -> bool {
        let mark = self.mark(hash, password);
        let Some(cleared) = self.unknown(&mark) else { return true };
        // It is never closed; if it were, nobody would get in.
        let Ok(turn) = self.turns.clone().acquire_owned().await else { return false };
        // Somebody else may have asked the same meanwhile.
        if self.unknown(&mark).is_none() {
            return true;
        }
        let (hash, password) = (hash.clone(), password.clone());
        let work = move || {
            let _turn = turn;
            compare(&hash, &password)
        };
        let fits = tokio::task::spawn_blocking(work).await.unwrap_or(false);
        if fits {
            self.remember(mark, cleared);
        }
        fits
    }

    /// The same for a thread that may wait.
    #[must_use]
    pub fn fits_blocking(&self, hash: &Secret, password: &Secret) -> bool {
        let mark = self.mark(hash, password);
        let Some(cleared) = self.unknown(&mark) else { return true };
        let fits = compare(hash, password);
        if fits {
            self.remember(mark, cleared);
        }
        fits
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut right = self.right.lock();
        right.marks.clear();
        right.order.clear();
        right.cleared += 1;
    }

    fn mark(&self, hash: &Secret, password: &Secret) -> Mark {
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update((hash.expose().len() as u64).to_le_bytes());
        digest.update(hash.expose());
        digest.update(password.expose());
        digest.finalize().into()
    }

    /// How often all was forgotten, or `None` where this is known to fit.
    fn unknown(&self, mark: &Mark) -> Option<u64> {
        let right = self.right.lock();
        (!right.marks.contains(mark)).then_some(right.cleared)
    }

    fn remember(&self, mark: Mark, cleared: u64) {
        let mut right = self.right.lock();
        if right.cleared != cleared || !right.marks.insert(mark) {
            return;
        }
        right.order.push_back(mark);
        if right.order.len() > PASSWORDS_KEPT_MAX
            && let Some(oldest) = right.order.pop_front()
        {
            right.marks.remove(&oldest);
        }
    }
}

/// A hash that is none fits nothing.
fn compare(hash: &Secret, password: &Secret) -> bool {
    bcrypt::verify(password.expose(), hash.expose()).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_right_is_remembered_until_it_is_cleared() {
        let passwords = Passwords::new().unwrap();
        let hash = Secret::new(bcrypt::hash("right", 4).unwrap());
        assert!(!passwords.fits(&hash, &"wrong".into()).await);
        assert_eq!(passwords.right.lock().marks.len(), 0);
        assert!(passwords.fits(&hash, &"right".into()).await);
        let mark = passwords.mark(&hash, &"right".into());
        assert!(passwords.unknown(&mark).is_none());
        // What is remembered is about this hash alone.
        assert!(passwords.unknown(&passwords.mark(&"$2a$04$other".into(), &"right".into())).is_some());
        assert!(!passwords.fits_blocking(&"$2a$04$other".into(), &"right".into()));
        passwords.clear();
        assert!(passwords.unknown(&mark).is_some());
        passwords.remember(mark, 0);
        assert!(passwords.unknown(&mark).is_some(), "from before it was cleared");
        assert!(passwords.fits_blocking(&hash, &"right".into()));
        assert!(passwords.unknown(&mark).is_none());
    }

    #[test]
    fn so_much_and_no_more_is_kept() {
        let passwords = Passwords::new().unwrap();
        let mark = |i: usize| passwords.mark(&"$2a$".into(), &Secret::new(i.to_string()));
        (0..=PASSWORDS_KEPT_MAX).for_each(|i| passwords.remember(mark(i), 0));
        let right = passwords.right.lock();
        assert_eq!((right.marks.len(), right.order.len()), (PASSWORDS_KEPT_MAX, PASSWORDS_KEPT_MAX));
        assert!(!right.marks.contains(&mark(0)) && right.marks.contains(&mark(PASSWORDS_KEPT_MAX)));
    }

    /// One password, as `htpasswd` (`$2y$`), nats-server and older programs hash it.
    #[test]
    fn all_kinds_of_hashes_are_known() {
        let hash = bcrypt::hash("s3cret", 4).unwrap();
        let tail = hash.get(4..).unwrap();
        for kind in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let hash = Secret::new(format!("{kind}{tail}"));
            assert!(hash.is_bcrypt());
            assert!(compare(&hash, &"s3cret".into()), "{kind}");
            assert!(!compare(&hash, &"s3cre".into()), "{kind}");
        }
        for broken in ["$2a$", "$2a$99$x", "$2a$04$", "$2a$04$ä"] {
            assert!(!compare(&broken.into(), &"".into()), "{broken}");
        }
        // The longest and the oddest that a client can send.
        assert!(!compare(&Secret::new(hash), &Secret::new("\0".repeat(4096))));
    }
}
