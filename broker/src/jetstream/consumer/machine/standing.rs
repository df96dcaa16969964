//! How far a consumer is behind, and what holds it up: for people who look, nothing here changes anything.

use super::{Machine, Now, Stall, World};

impl Stall {
    /// As it is shown; `None` for what is no reason to wonder.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None | Self::UpToDate => None,
            Self::Paused => Some("paused"),
            Self::NoInterest => Some("no_interest"),
            Self::NoRequests => Some("no_requests"),
            Self::Priority => Some("priority"),
            Self::MaxAckPending => Some("max_ack_pending"),
            Self::FlowControl => Some("flow_control"),
            Self::RateLimit => Some("rate_limit"),
            Self::Replay => Some("replay"),
            Self::SlowClient => Some("slow_client"),
        }
    }
}

impl Machine {
    /// The oldest message that is out or due again.
    #[must_use]
    pub fn oldest_out(&self) -> Option<u64> {
        self.unacked.first_to(u64::MAX)
    }

    /// No message before this one will be delivered for the first time.
    #[must_use]
    pub fn first_ahead(&self) -> u64 {
        self.list.as_ref().and_then(|list| list.seqs.front()).copied().unwrap_or(self.next_seq)
    }

    /// Why nothing is sent though there is something to send: `pending` messages for the first time, or some again.
    #[must_use]
    pub fn held_up(&self, pending: u64, world: &dyn World, now: Now) -> Stall {
        if pending == 0 && self.unacked.queued() == 0 {
            return Stall::None;
        }
        let stall = self.stall(now);
        let slow = match (stall, self.config.push()) {
            (Stall::None, Some(push)) => !world.keeps_up(&push.deliver_subject),
            (Stall::Priority, None) => self
                .waiting
                .numbers()
                .into_iter()
                .filter_map(|number| self.waiting.get(number))
                .all(|request| !world.keeps_up(&request.reply)),
            _ => false,
        };
        if slow { Stall::SlowClient } else { stall }
    }
}
