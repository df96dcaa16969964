//! What the system itself takes to pass a message on between two sockets: the bar that one request in flight is held against.
//!
//! A thread waits with `epoll_wait`, receives what one side sent and sends it to the other: three system calls a message, the
//! least that a server without busy waiting needs. It looks at nothing, routes nothing, and knows no protocol.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::{nanos, now};
use crate::error::{BenchError, During as _, Result};
use crate::figure::{Figure, Unit, histogram, percentiles};

/// Bytes of a request with 128 bytes of payload, as a server gets it.
const REQUEST_BYTES: usize = 170;
/// Bytes of its reply.
const REPLY_BYTES: usize = 156;
/// A relay that hears nothing for this long looks whether it is still needed, in seconds.
const PATIENCE_S: i64 = 1;

/// What round trips through a relay came to.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Times of round trips, nanoseconds.
    pub(crate) times: Histogram<u64>,
    /// Processor time of the relay's thread for each.
    pub(crate) cpu_each: Duration,
}

impl Relayed {
    /// For the relay's own column.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let mut figures = percentiles(&self.times);
        figures.push(Figure::new("server CPU each", Unit::Microseconds, self.cpu_each.as_secs_f64() * 1e6));
        figures
    }
}

/// Sends requests through a relay for `limit`, one after another, to somebody who answers at once.
///
/// # Errors
/// The system gives no sockets or threads, or a connection breaks.
pub(crate) fn round_trips(limit: Duration) -> Result<Relayed> {
    let what = "passing messages on";
    let (mut asking, inner_asking) = pair()?;
    let (mut answering, inner_answering) = pair()?;
    std::thread::scope(|scope| {
        let relay = scope.spawn(move || relay(inner_asking, inner_answering));
        let answers = scope.spawn(move || -> std::io::Result<()> {
            let mut buffer = [0; REQUEST_BYTES];
            while answering.read_exact(&mut buffer).is_ok() {
                answering.write_all(buffer.get(..REPLY_BYTES).unwrap_or_default())?;
            }
            Ok(())
        });
        let asked = ask(&mut asking, limit);
        // The relay ends with the first of its peers, and the other peer with the relay.
        drop(asking);
        let cpu = joined(relay)?.during(what)?;
        joined(answers)?.during(what)?;
        let times = asked?;
        let each = u32::try_from(times.len()).unwrap_or(u32::MAX).max(1);
        Ok(Relayed { times, cpu_each: cpu / each })
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| BenchError::Setup("a thread of the relay panicked".into()))
}

/// Both ends of a connection over the loopback interface.
fn pair() -> Result<(TcpStream, TcpStream)> {
    let what = "connecting a relay";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during(what)?;
    let outer = TcpStream::connect(listener.local_addr().during(what)?).during(what)?;
    let (inner, _) = listener.accept().during(what)?;
    outer.set_nodelay(true).during(what)?;
    inner.set_nodelay(true).during(what)?;
    Ok((outer, inner))
}

fn ask(asking: &mut TcpStream, limit: Duration) -> Result<Histogram<u64>> {
    let what = "asking through a relay";
    let request = [b'x'; REQUEST_BYTES];
    let mut reply = [0; REPLY_BYTES];
    let mut times = histogram()?;
    let begun = now();
    while begun.elapsed() < limit {
        let started = now();
        asking.write_all(&request).during(what)?;
        asking.read_exact(&mut reply).during(what)?;
        times.saturating_record(nanos(started.elapsed()));
    }
    Ok(times)
}

/// Passes everything on until one side is closed; the processor time of this thread.
fn relay(mut one: TcpStream, mut other: TcpStream) -> std::io::Result<Duration> {
    let cpu = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let begun = cpu();
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&ready, &one, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    epoll::add(&ready, &other, epoll::EventData::new_u64(1), epoll::EventFlags::IN)?;
    let mut events = Vec::with_capacity(8);
    let mut buffer = [0; 4096];
    loop {
        events.clear();
        let patience = Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 };
        epoll::wait(&ready, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        for event in &events {
            let (from, to) = if event.data.u64() == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(cpu().saturating_sub(begun));
            }
            to.write_all(buffer.get(..read).unwrap_or_default())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_there_and_back() {
        let relayed = round_trips(Duration::from_millis(50)).unwrap();
        assert!(relayed.times.len() > 10, "{}", relayed.times.len());
        assert!(relayed.times.min() > 0 && relayed.cpu_each > Duration::ZERO);
    }
}
