//! The end of a batch: what it recorded goes to the logs, and answers wait for them.

use std::sync::atomic::Ordering;

use sublog_storage::AppendError;

use super::acks::{self, Answer};
use super::connection::Connection;
use crate::clock;

impl Connection {
    /// Gives the batch to the logs, waiting while a queue is full: this is where a slow disk reaches the publisher.
    pub(super) async fn store_batch(&mut self) {
        let flush_follows = !self.answers.is_empty() && !self.ping_overtakes && !self.unsubscribed;
        while let Some(desk) = self.desks.next_staged() {
            let mut result = desk.append(&self.account, flush_follows);
            if let (Err(AppendError::QueueFull { .. }), Some(log)) = (&result, desk.log()) {
                self.client.held_back.store(true, Ordering::Relaxed);
                result = log.append_waiting(|| desk.append(&self.account, false)).await;
                self.client.held_back.store(false, Ordering::Relaxed);
                self.client.last_activity_ms.store(clock::ticks_ms(), Ordering::Relaxed);
            }
            let refusal = result.err().filter(|error| !desk.refused(&self.account, error));
            if let Some(error) = refusal {
                self.refused(&error);
            }
        }
        self.desks.settle();
        if self.answers.iter().any(|answer| matches!(answer, Answer::Pong)) {
            // The next failure is another flush's.
            self.refusal_told = false;
        }
    }

    /// The log did not take this batch: told once a flush, before the answers of the batch and in place of its `+OK`s.
    fn refused(&mut self, error: &AppendError) {
        self.answers.retain(|answer| !matches!(answer, Answer::Ok));
        if !std::mem::replace(&mut self.refusal_told, true) {
            // A PONG that is held for this batch must not overtake it either.
            let queue = if self.held.is_empty() { &mut self.answers } else { &mut self.held };
            queue.insert(0, Answer::Bytes(acks::refusal_bytes(error)));
        }
    }

    /// Waits until at most `max` answers wait for the log.
    pub(super) async fn wait_for_acks(&self, max: usize) {
        if self.client.acks.lock().len() > max {
            self.client.out.wait_for_room(|_| self.client.acks.lock().len() <= max || self.client.is_closing()).await;
        }
    }
}
