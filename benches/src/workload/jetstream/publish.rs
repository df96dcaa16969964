//! Publishing into a stream with acknowledgements: beside nats-server that syncs nothing before it acknowledges, and
//! one that syncs every message.

use crate::cli::Options;
use crate::content::Content;
use crate::error::Result;
use crate::figure::{Figure, Meter, Unit, merged, percentiles, rate};
use crate::monitor;
use crate::server::Target;
use crate::workload::durable::Disk;
use crate::workload::jetstream::{Api, Until, publish, read};

/// One publisher for `--seconds`, with `window` messages under way.
///
/// # Errors
/// A message was refused, lost, repeated, reordered or altered.
pub(in crate::workload) fn run(
    target: Target,
    options: &Options,
    window: u64,
    payload_bytes: usize,
    disk: Option<&Disk>,
) -> Result<Vec<Figure>> {
    let content = Content::on(crate::workload::SUBJECT, payload_bytes);
    let mut api = Api::open(target)?;
    api.create_stream(&content)?;
    let counted_before = target.monitor.map(monitor::messages_in).transpose()?;
    let meter = Meter::start(target)?;
    let done = publish(target, &content, window, Until::Passed(options.duration()))?;
    let cost = meter.stop()?;
    if let (Some(port), Some(before)) = (target.monitor, counted_before) {
        monitor::expect_messages_in(port, before, done.count)?;
    }
    api.expect_messages(done.count)?;
    read::push(target, &content, done.count)?;

    let per_second = rate(done.count, done.elapsed);
    let times = merged([done.times])?;
    let mut figures = vec![Figure::new("acknowledged", Unit::MessagesPerSecond, per_second)];
    figures.push(Figure::aside("payload", Unit::MegabytesPerSecond, per_second * payload_bytes as f64 / 1e6));
    figures.extend(percentiles(&times));
    if let Some(Disk::Small(raw)) = disk {
        let ratio = times.value_at_quantile(0.5) as f64 / raw.value_at_quantile(0.5).max(1) as f64;
        figures.push(Figure::new("p50 / raw p50", Unit::Count, ratio));
    }
    figures.push(Figure::aside("acks out of order", Unit::Count, done.out_of_order as f64));
    figures.extend(cost.figures(done.count, done.elapsed));
    figures.extend(cost.disk_figures(done.count));
    Ok(figures)
}
