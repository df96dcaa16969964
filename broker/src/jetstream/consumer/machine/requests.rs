//! Pull requests: taken or refused, served in their order, ended with the status that says why.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::outgoing::{Action, Status};
use super::pull::{GroupRequest, PullRequest};
use super::waiting::Request;
use super::{Machine, Now, PriorityPolicy, World, durations};

/// Requests without a reader are looked for at most this often when the line is full.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The place in the line of requests that name no priority: behind all that do.
const NO_PRIORITY: u64 = 10;

type Refusal = (u16, Cow<'static, str>);

impl Machine {
    /// A pull request has arrived: its reply subject and body.
    pub fn pull(&mut self, reply: Bytes, body: &[u8], world: &dyn World, now: Now) {
        if let Err((code, text)) = self.take_request(reply.clone(), body, world, now) {
            self.act(Action::Status { to: reply, status: Status { code, text, pending: None } });
        }
    }

    fn take_request(&mut self, reply: Bytes, body: &[u8], world: &dyn World, now: Now) -> Result<(), Refusal> {
        if self.push.is_some() {
            return Err((409, "Consumer is push based".into()));
        }
        let request = PullRequest::parse(body).map_err(|error| (400, format!("Bad Request - {error}").into()))?;
        self.check_caps(&request)?;
        if let Some(group) = &request.group {
            self.check_group(group, now)?;
        }
        let is_full =
            |machine: &Self| machine.config.pull().is_some_and(|pull| machine.waiting.len() >= pull.max_waiting);
        if is_full(self) && self.waiting_swept.is_none_or(|at| now.mono.saturating_sub(at) > SWEEP_EVERY) {
            self.waiting_swept = Some(now.mono);
            self.run_request_timers(world, now);
            self.drop_uninterested(world);
        }
        self.inactivity.touch(now.mono);
        if request.no_wait {
            let there = self.num_pending(world).saturating_add(self.unacked.queued() as u64);
            if there == 0 && request.expires.is_none() {
                return Err((404, "No Messages".into()));
            }
            if there > 0 {
                self.run_request_timers(world, now);
                self.drop_uninterested(world);
                if there < self.waiting.messages() {
                    return Err((408, "Requests Pending".into()));
                }
            }
        }
        if is_full(self) {
            // A client that expects heartbeats asks again when they stay away; told at once, it would ask at once.
            return if request.heartbeat.is_some() { Ok(()) } else { Err((409, "Exceeded MaxWaiting".into())) };
        }
        let priority = self.priority_of(request.group.as_ref());
        let after = |span: Duration| now.mono.saturating_add(span);
        let request = Request {
            reply,
            left: request.batch,
            served: false,
            bytes_left: request.max_bytes.unwrap_or(0),
            expires: request.expires.map(after),
            heartbeat: request.heartbeat.map(|every| (every, after(every))),
            no_wait: request.no_wait,
            group: request.group,
            place: (0, 0),
        };
        self.waiting.add(request, priority);
        self.no_eligible = false;
        Ok(())
    }

    pub(super) fn priority_of(&self, group: Option<&GroupRequest>) -> u64 {
        if self.config.priority() != PriorityPolicy::Prioritized {
            return 0;
        }
        group.map_or(NO_PRIORITY, |group| u64::try_from(group.priority).unwrap_or(NO_PRIORITY))
    }

    fn check_caps(&self, request: &PullRequest) -> Result<(), Refusal> {
        let Some(caps) = self.config.pull() else { return Ok(()) };
        if let Some(max) = caps.max_batch.filter(|max| request.batch > *max) {
            return Err((409, format!("Exceeded MaxRequestBatch of {max}").into()));
        }
        if let Some(max) = caps.max_expires.filter(|max| request.expires.is_some_and(|expires| expires > *max)) {
            let max = durations::format(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX));
            return Err((409, format!("Exceeded MaxRequestExpires of {max}").into()));
        }
        if let Some(max) = caps.max_bytes.filter(|max| request.max_bytes.is_some_and(|bytes| bytes > *max)) {
            return Err((409, format!("Exceeded MaxRequestMaxBytes of {max}").into()));
        }
        Ok(())
    }

    fn check_group(&mut self, group: &GroupRequest, now: Now) -> Result<(), Refusal> {
        let policy = self.config.priority();
        let bad = |why: &'static str| Err((400, why.into()));
        if (group.min_pending != 0 || group.min_ack_pending != 0) && policy != PriorityPolicy::Overflow {
            return bad("Bad Request - Not a Overflow Priority consumer");
        }
        if !group.id.is_empty() && policy != PriorityPolicy::Pinned {
            return bad("Bad Request - Not a Pinned Client Priority consumer");
        }
        if !(0..=9).contains(&group.priority) {
            return bad("Bad Request - Priority must be between 0 and 9");
        }
        if policy == PriorityPolicy::None {
            return Ok(());
        }
        if group.group.is_empty() {
            return bad("Bad Request - Priority Group missing");
        }
        if self.config.pull().is_none_or(|pull| !pull.groups.contains(&group.group)) {
            return bad("Bad Request - Invalid Priority Group");
        }
        let until = self.pin_until(now);
        match &mut self.pin {
            Some(pin) if pin.id == group.id => pin.until = until,
            Some(_) if !group.id.is_empty() => return Err((423, "Nats-Pin-Id mismatch".into())),
            _ => {}
        }
        Ok(())
    }

    /// Ends a request with a status that says what it did not get.
    fn end(&mut self, number: u64, code: u16, text: &'static str) {
        if let Some(request) = self.waiting.remove(number) {
            let pending = Some((request.left, request.bytes_left));
            self.act(Action::Status { to: request.reply, status: Status { code, text: text.into(), pending } });
        }
    }

    pub(super) fn run_request_timers(&mut self, world: &dyn World, now: Now) {
        while let Some(number) = self.waiting.first_due(now.mono) {
            let Some(request) = self.waiting.get(number) else { return };
            if request.expires.is_some_and(|at| at <= now.mono) {
                self.end(number, 408, "Request Timeout");
            } else if world.interested(&request.reply) {
                let to = request.reply.clone();
                self.waiting.beat(number, now.mono);
                self.act(Action::Heartbeat { to, heartbeat: self.heartbeat() });
            } else {
                self.waiting.remove(number);
            }
        }
    }

    /// The end of the stream: requests that do not wait get no more.
    pub(super) fn end_one_shots(&mut self, now: Now) {
        while let Some(number) = self.waiting.first_ending() {
            if self.waiting.get(number).and_then(|request| request.expires).is_some_and(|at| at <= now.mono) {
                self.end(number, 408, "Request Timeout");
                continue;
            }
            let Some(request) = self.waiting.remove(number) else { return };
            let status = Status { code: 404, text: "No Messages".into(), pending: None };
            self.act(Action::Status { to: request.reply, status });
        }
    }

    /// Drops requests whose answer nobody would get. Looks at every one that waits.
    pub fn drop_uninterested(&mut self, world: &dyn World) {
        for number in self.waiting.numbers() {
            if self.waiting.get(number).is_some_and(|request| !world.interested(&request.reply)) {
                self.waiting.remove(number);
            }
        }
    }

    /// Nobody listens to a reply subject any more.
    pub fn reply_gone(&mut self, reply: &[u8]) {
        for number in self.waiting.numbers() {
            if self.waiting.get(number).is_some_and(|request| request.reply == reply) {
                self.waiting.remove(number);
            }
        }
    }

    /// The request that gets a message of so many bytes, as it is afterwards; `there` counts the messages that could be
    /// delivered, this one with them. Requests that stand in the way are ended.
    pub(super) fn choose(&mut self, bytes: u64, there: u64, world: &dyn World, now: Now) -> Option<Request> {
        let mut place = None;
        while let Some((next, number)) = self.waiting.after(place) {
            place = Some(next);
            let request = self.waiting.get(number)?;
            if request.expires.is_some_and(|at| at <= now.mono) {
                self.end(number, 408, "Request Timeout");
                continue;
            }
            if !world.interested(&request.reply) {
                self.waiting.remove(number);
                continue;
            }
            if !world.keeps_up(&request.reply) {
                continue;
            }
            let group = request.group.clone();
            let fits = request.bytes_left == 0 || bytes <= request.bytes_left;
            let id = group.as_ref().map_or("", |group| group.id.as_str());
            match self.config.priority() {
                PriorityPolicy::Pinned if self.pin.as_ref().is_none_or(|pin| pin.id != id) => {
                    if !id.is_empty() {
                        self.end(number, 423, "Nats-Wrong-Pin-Id");
                        continue;
                    }
                    if self.pin.is_some() {
                        continue;
                    }
                    if let Some(group) = group.filter(|group| fits && !group.group.is_empty()) {
                        self.assign_pin(number, &group.group, now);
                    }
                }
                PriorityPolicy::Overflow if group.is_some_and(|group| !self.overflows(&group, there)) => continue,
                _ => {}
            }
            if !fits {
                self.end(number, 409, "Message Size Exceeds MaxBytes");
                continue;
            }
            return self.waiting.serve(number, bytes, now.mono);
        }
        None
    }

    /// Whether so much has piled up that a request with thresholds may help.
    fn overflows(&self, group: &GroupRequest, there: u64) -> bool {
        let reached =
            |threshold: i64, count: u64| threshold > 0 && u64::try_from(threshold).is_ok_and(|min| min <= count);
        let free = group.min_pending <= 0 && group.min_ack_pending <= 0;
        free || reached(group.min_pending, there) || reached(group.min_ack_pending, self.unacked.len() as u64)
    }
}
