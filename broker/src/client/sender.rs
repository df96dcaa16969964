//! Messages that the server itself sends: answers, acknowledgements, deliveries.
//!
//! They go the way of any publisher's, through a fan-out and desks of their own, so that a stream may record them. The
//! capture stream does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use sublog_protocol::decode::Publish;
use sublog_storage::AppendError;

use super::desks::{Desks, Sink};
use super::fanout::{Fanout, Origin};
use crate::account::{Account, services};
use crate::clock;
use crate::jetstream;
use crate::jetstream::consumer::inlet::Heard;
use crate::limits::{IDLE_KEEP_BYTES, IDLE_SENDERS_MAX};
use crate::server::sys;

/// Senders that rest.
#[derive(Default)]
pub struct Senders {
    idle: Mutex<Vec<Sender>>,
    seeds: AtomicU64,
}

/// One thread's way to the clients, for as long as it has something to say.
pub struct Sender {
    fanout: Fanout,
    desks: Desks,
}

impl Sender {
    /// Stages a message for everybody who gets it; false when nobody does. `message` is the header block, of `header_len`
    /// bytes, and the payload behind it.
    pub fn publish(
        &mut self,
        account: &Arc<Account>,
        subject: &[u8],
        reply: Option<&[u8]>,
        header_len: usize,
        message: &[u8],
    ) -> bool {
        let message = Publish { subject, reply, header_len, has_headers: header_len > 0, message };
        self.deliver(account, subject, &message)
    }

    /// Stages a message that is recorded already for everybody who subscribes to its subject.
    pub fn show(&mut self, account: &Account, message: &Publish<'_>) {
        let origin = Origin { account, except: None, permissions: None, desks: &mut self.desks };
        if let Some(way) = self.fanout.route(origin, message.subject) {
            self.fanout.publish(way.slot, message, false);
        }
    }

    /// Stages a message for everybody who gets what is sent to `to`, under its own subject; false when nobody does, and no
    /// stream records it.
    pub fn deliver(&mut self, account: &Arc<Account>, to: &[u8], message: &Publish<'_>) -> bool {
        if let Some(answered) = services::answer(account, to, message) {
            return answered;
        }
        let origin = Origin { account, except: None, permissions: None, desks: &mut self.desks };
        let Some(way) = self.fanout.route(origin, to) else { return false };
        let mut delivered = self.fanout.publish(way.slot, message, to != message.subject);
        if let Sink::Log(desk) = way.sink {
            // A record that no log takes is none that the server makes up.
            let recorded = self.desks.record(desk, clock::unix_ns(), &Publish { subject: to, ..*message });
            delivered |= recorded.is_ok();
        }
        delivered
    }

    /// Stages a request that came from another account, by way of `depth` of them; false when nobody is there for it.
    pub fn request(&mut self, account: &Arc<Account>, message: &Publish<'_>, depth: usize) -> bool {
        let origin = Origin { account, except: None, permissions: None, desks: &mut self.desks };
        let Some(way) = self.fanout.route(origin, message.subject) else { return false };
        let mut asked = self.fanout.publish(way.slot, message, false);
        match way.sink {
            Sink::Nothing => {}
            Sink::Log(desk) => {
                let recorded = self.desks.record(desk, clock::unix_ns(), message);
                asked |= recorded.is_ok() && self.desks.answers(desk);
            }
            Sink::Server => {
                let taken = jetstream::take(account, None, message, None, &mut Heard::default());
                asked |= taken.unwrap_or_else(|| about_the_server(account, message));
            }
        }
        if way.abroad {
            for link in self.fanout.services(way.slot) {
                asked |= services::ask(account, &link, None, message, depth);
            }
        }
        asked
    }
}

/// Takes a request about the server that came from another account; false when nobody answers there.
fn about_the_server(account: &Arc<Account>, message: &Publish<'_>) -> bool {
    let server = account.shared.server.get().and_then(Weak::upgrade);
    let asks = message.subject != sys::USER_INFO && sys::is_request(account, message.subject);
    server.is_some_and(|server| asks && sys::requests::take(&server, account, message))
}

impl Account {
    /// Lets `say` publish, and hands over what it published.
    pub fn send<T>(self: &Arc<Self>, say: impl FnOnce(&mut Sender) -> T) -> T {
        let senders = &self.senders;
        let mut sender = senders.idle.lock().pop().unwrap_or_else(|| {
            let seed = senders.seeds.fetch_add(1, Ordering::Relaxed) | 1 << 63;
            Sender { fanout: Fanout::new(seed, &self.router), desks: Desks::new(None) }
        });
        let batch = self.router.batches.enter(self.senders.seeds.load(Ordering::Relaxed));
        let said = say(&mut sender);
        sender.fanout.flush();
        self.router.batches.exit(batch);
        sender.fanout.settle(&self.router);
        sender.fanout.begin_turn();
        while let Some(desk) = sender.desks.next_staged() {
            if let Err(error) = desk.append(self, false) {
                desk.refused(self, &error);
                // Nobody can be held back for it.
                if matches!(error, AppendError::QueueFull { .. }) {
                    tracing::warn!("A message of the server's own was not recorded: {error}");
                }
            }
        }
        sender.desks.settle();
        sender.desks.take_unflushed();
        sender.desks.let_go(self, &mut sender.fanout);
        sender.desks.shrink(IDLE_KEEP_BYTES);
        let mut idle = senders.idle.lock();
        if idle.len() < IDLE_SENDERS_MAX {
            idle.push(sender);
        }
        said
    }
}
