//! The workloads: their names, which servers they are for, and how each is measured.

use std::path::Path;

use crate::cli::Options;
use crate::content::{Content, Share};
use crate::error::Result;
use crate::figure::Figure;
use crate::relay;
use crate::server::{Server, Setup, Target, Variant};

mod churn;
mod durable;
mod idle;
mod jetstream;
mod latency;
mod replay;
mod request;
mod ring;
mod slow;
mod stream;
mod varied;

use durable::Disk;
use jetstream::read::Way;
use stream::Plan;
use varied::Cycle;

/// The subject of workloads with one.
const SUBJECT: &str = "bench.data";
/// Payload where nothing else is said, bytes.
const PAYLOAD_BYTES: usize = 128;

/// A workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    Publish16,
    Publish128,
    Publish1024,
    Publish128Tls,
    Fan1To1,
    Fan1To10,
    Fan4To4,
    Fan1To1Tls,
    Subjects,
    Queue2To4,
    Connections1000,
    SlowAmongTen,
    MixedSizes,
    Jobs,
    Request1,
    Request50,
    Latency,
    Churn,
    ChurnTls,
    ChurnUsers,
    Idle,
    DurablePublish,
    Flush1,
    Flush8,
    Replay128,
    Replay1024,
    JsPublish1,
    JsPublish1000,
    JsPublish1000Kib,
    JsPush128,
    JsPush1024,
    JsPull128,
    JsPull1024,
    JsOneSubject,
    JsSubjects,
}

impl Workload {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 35] = [
        Self::Publish16,
        Self::Publish128,
        Self::Publish1024,
        Self::Publish128Tls,
        Self::Fan1To1,
        Self::Fan1To10,
        Self::Fan4To4,
        Self::Fan1To1Tls,
        Self::Subjects,
        Self::Queue2To4,
        Self::Connections1000,
        Self::SlowAmongTen,
        Self::MixedSizes,
        Self::Jobs,
        Self::Request1,
        Self::Request50,
        Self::Latency,
        Self::Churn,
        Self::ChurnTls,
        Self::ChurnUsers,
        Self::Idle,
        Self::DurablePublish,
        Self::Flush1,
        Self::Flush8,
        Self::Replay128,
        Self::Replay1024,
        Self::JsPublish1,
        Self::JsPublish1000,
        Self::JsPublish1000Kib,
        Self::JsPush128,
        Self::JsPush1024,
        Self::JsPull128,
        Self::JsPull1024,
        Self::JsOneSubject,
        Self::JsSubjects,
    ];

    /// Its name on the command line, in the table and in JSON.
    pub(crate) fn name(self) -> &'static str {
        self.words().0
    }

    /// What it does, in a few words.
    pub(crate) fn about(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Publish16 => ("pub-16", "1 publisher, no subscriber, 16 B"),
            Self::Publish128 => ("pub-128", "1 publisher, no subscriber, 128 B"),
            Self::Publish1024 => ("pub-1024", "1 publisher, no subscriber, 1 KiB"),
            Self::Publish128Tls => ("pub-128-tls", "as pub-128, over TLS"),
            Self::Fan1To1 => ("fan-1-1", "1 publisher, 1 subscriber, 128 B"),
            Self::Fan1To10 => ("fan-1-10", "1 publisher, 10 subscribers that get everything, 128 B"),
            Self::Fan4To4 => ("fan-4-4", "4 publishers, 4 subscribers that get everything, one subject, 128 B"),
            Self::Fan1To1Tls => ("fan-1-1-tls", "as fan-1-1, over TLS"),
            Self::Subjects => {
                ("subjects-100k", "1 publisher on 100,000 subjects in turn, 1 wildcard subscriber, 128 B")
            }
            Self::Queue2To4 => ("queue-2-4", "2 publishers, a queue group of 4, 128 B"),
            Self::Connections1000 => ("conns-1000", "1,000 connections that publish and subscribe, 128 B"),
            Self::SlowAmongTen => ("slow-1-of-10", "as fan-1-10, and an eleventh subscriber that does not keep up"),
            Self::MixedSizes => ("mixed-sizes", "16 B to 1 MiB, 1 publisher, 1 subscriber"),
            Self::Jobs => ("jobs", "job reports of 1 to 45 KB on their subjects, 1 publisher, 1 subscriber"),
            Self::Request1 => ("request-1", "request and reply, 1 in flight, 128 B"),
            Self::Request50 => ("request-50", "request and reply, 50 in flight on one connection, 128 B"),
            Self::Latency => ("latency-10k", "publish to delivery at 10,000 messages/s, 128 B"),
            Self::Churn => ("churn-8", "connect, publish 128 B, flush, close; 8 at once"),
            Self::ChurnUsers => ("churn-8-users-tls", "as churn-8-tls, users with passwords kept as bcrypt"),
            Self::ChurnTls => ("churn-8-tls", "as churn-8, over TLS: every connection shakes hands anew"),
            Self::Idle => ("idle", "memory of idle connections with one subscription each"),
            Self::DurablePublish => ("durable-pub", "1 publisher of 128 B messages that flushes at the end"),
            Self::Flush1 => ("flush-1", "1 publisher that flushes every 128 B message"),
            Self::Flush8 => ("flush-8", "8 publishers that flush every 128 B message"),
            Self::Replay128 => ("replay-128", "replay of the whole log by one subscriber after a restart, 128 B"),
            Self::Replay1024 => ("replay-1024", "replay of the whole log by one subscriber after a restart, 1 KiB"),
            Self::JsPublish1 => ("js-pub-1", "JetStream publish, 1 in flight, 128 B"),
            Self::JsPublish1000 => ("js-pub-1000", "JetStream publish, 1,000 in flight, 128 B"),
            Self::JsPublish1000Kib => ("js-pub-1000-1k", "JetStream publish, 1,000 in flight, 1 KiB"),
            Self::JsPush128 => ("js-replay-push-128", "a push consumer of the whole stream after a restart, 128 B"),
            Self::JsPush1024 => ("js-replay-push-1024", "a push consumer of the whole stream after a restart, 1 KiB"),
            Self::JsPull128 => {
                ("js-replay-pull-128", "a pull consumer, batches of 500, of the whole stream after a restart, 128 B")
            }
            Self::JsPull1024 => {
                ("js-replay-pull-1024", "a pull consumer, batches of 500, of the whole stream after a restart, 1 KiB")
            }
            Self::JsOneSubject => (
                "js-subject-10-of-1m",
                "a consumer for each replay of one subject of 100,000, 10 of 1,000,000 messages",
            ),
            Self::JsSubjects => ("js-subjects-1m", "1,000,000 subjects in a stream: rate and memory"),
        }
    }

    /// Whether it says anything about a server.
    pub(crate) fn suits(self, variant: Variant) -> bool {
        match self {
            Self::Replay128 | Self::Replay1024 => variant.records(),
            Self::JsPublish1 | Self::JsPublish1000 | Self::JsPublish1000Kib => {
                variant.is_nats() || variant == Variant::SublogAlways
            }
            _ if self.setup().jetstream => matches!(variant, Variant::Nats | Variant::SublogAlways),
            // nats-server stays, as the figure without durability.
            Self::DurablePublish | Self::Flush1 | Self::Flush8 => {
                !matches!(variant, Variant::SublogOff | Variant::NatsSynced)
            }
            _ => variant != Variant::NatsSynced,
        }
    }

    /// What it wants of a server beside its defaults.
    pub(crate) fn setup(self) -> Setup {
        Setup {
            jetstream: self.name().starts_with("js-"),
            tls: self.name().ends_with("-tls"),
            users: matches!(self, Self::ChurnUsers),
        }
    }

    /// Measures the disk by itself, for the workloads that are held against it.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn measure_disk(self, folder: &Path, options: &Options) -> Result<Option<Disk>> {
        match self {
            Self::DurablePublish => Disk::sequential(folder, options).map(Some),
            Self::Flush1 | Self::Flush8 | Self::JsPublish1 => Disk::small(folder, options).map(Some),
            _ => Ok(None),
        }
    }

    /// Measures sockets by themselves, for the workload that is held against them.
    ///
    /// # Errors
    /// The system gives no sockets.
    pub(crate) fn measure_relay(self, options: &Options) -> Result<Option<Vec<Figure>>> {
        let held = matches!(self, Self::Request1);
        held.then(|| relay::round_trips(options.duration()).map(|relayed| relayed.figures())).transpose()
    }

    /// Measures it once on a fresh server.
    ///
    /// # Errors
    /// The run gives no figure: something failed, or a message was lost, repeated, reordered or altered.
    pub(crate) fn run(self, server: &mut Server, options: &Options, disk: Option<&Disk>) -> Result<Vec<Figure>> {
        let target = server.target();
        match self {
            Self::DurablePublish => durable::publish(target, options, disk),
            Self::Flush1 => durable::flush(target, options, 1, disk),
            Self::Flush8 => durable::flush(target, options, 8, disk),
            Self::Replay128 => replay::run(server, options, PAYLOAD_BYTES),
            Self::Replay1024 => replay::run(server, options, 1024),
            Self::Request1 => request::run(target, options, 1),
            Self::Request50 => request::run(target, options, 50),
            Self::Latency => latency::run(target, options),
            Self::Churn | Self::ChurnTls | Self::ChurnUsers => churn::run(target, options, 8),
            Self::Connections1000 => ring::run(target, options, 1000),
            Self::MixedSizes => varied::run(target, options, &Cycle::of_sizes(), SUBJECT),
            Self::Jobs => varied::run(target, options, &Cycle::of_jobs(), "jobs.>"),
            Self::Idle => idle::run(target, options),
            Self::JsPublish1 => jetstream::publish::run(target, options, 1, PAYLOAD_BYTES, disk),
            Self::JsPublish1000 => jetstream::publish::run(target, options, 1000, PAYLOAD_BYTES, None),
            Self::JsPublish1000Kib => jetstream::publish::run(target, options, 1000, 1024, None),
            Self::JsPush128 => jetstream::read::run(server, options, PAYLOAD_BYTES, Way::Push),
            Self::JsPush1024 => jetstream::read::run(server, options, 1024, Way::Push),
            Self::JsPull128 => jetstream::read::run(server, options, PAYLOAD_BYTES, Way::Pull),
            Self::JsPull1024 => jetstream::read::run(server, options, 1024, Way::Pull),
            Self::JsOneSubject => jetstream::subjects::one_of_many(server, options),
            Self::JsSubjects => jetstream::subjects::memory_of_many(server, options),
            _ => self.stream(target, options),
        }
    }

    fn stream(self, target: Target, options: &Options) -> Result<Vec<Figure>> {
        let plan = |publishers, subscribers| Plan {
            publishers,
            subscribers,
            share: Share::All,
            filter: SUBJECT.to_owned(),
            content: Content::on(SUBJECT, PAYLOAD_BYTES),
        };
        let plan = match self {
            Self::Publish16 => Plan { content: Content::on(SUBJECT, 16), ..plan(1, 0) },
            Self::Publish1024 => Plan { content: Content::on(SUBJECT, 1024), ..plan(1, 0) },
            Self::Fan1To1 | Self::Fan1To1Tls => plan(1, 1),
            Self::Fan1To10 | Self::SlowAmongTen => plan(1, 10),
            Self::Fan4To4 => plan(4, 4),
            Self::Subjects => Plan {
                content: Content::on_many("bench.many.", 5, PAYLOAD_BYTES),
                filter: "bench.many.>".to_owned(),
                ..plan(1, 1)
            },
            Self::Queue2To4 => Plan { share: Share::Part, ..plan(2, 4) },
            _ => plan(1, 0),
        };
        if self == Self::SlowAmongTen {
            return slow::run(target, options, &plan);
        }
        stream::run(target, options, &plan)
    }
}

#[cfg(test)]
mod tests;
