//! A server for tests: just enough NATS, a log to replay, and faults on demand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::server::Target;

mod jetstream;

/// What goes wrong with the message `AT`, counted over all messages published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Lose,
    Repeat,
    /// It is delivered after its successor.
    Late,
    /// The last byte of its payload changes.
    Alter,
    /// The first member of each queue group gets it too.
    SecondMember,
    /// The publisher is told of an error.
    Refuse,
    /// Deliveries are right, the log lacks it.
    Forget,
    /// Deliveries are right, the log has it twice.
    RecordTwice,
}

/// Which message the fault hits: early, since slow machines publish few, but not the first.
pub(super) const AT: u64 = 3;

#[derive(Debug)]
struct Subscription {
    client: usize,
    writer: TcpStream,
    sid: String,
    filter: String,
    queue: Option<String>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    subscriptions: Vec<Subscription>,
    clients: Vec<TcpStream>,
    log: Vec<(String, Vec<u8>)>,
    published: u64,
    /// What pull requests have asked for so far.
    pulled: usize,
    late: Option<(String, Vec<u8>)>,
}

/// A running fake; dropping it ends it.
#[derive(Debug)]
pub(super) struct Fake {
    port: u16,
    state: Arc<Mutex<State>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(super) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (subscriptions, clients, log) = (Vec::new(), Vec::new(), Vec::new());
        let state = State { fault, subscriptions, clients, log, published: 0, pulled: 0, late: None };
        let state = Arc::new(Mutex::new(state));
        let ending = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, ending) = (Arc::clone(&state), Arc::clone(&ending));
            move || accept(&listener, &state, &ending)
        });
        Self { port, state, ending, thread: Some(thread) }
    }

    /// As a server that records and has no monitoring; its process is this one.
    pub(super) fn target(&self) -> Target {
        let pid = std::process::id();
        // Short only where silence is what the fault leads to: a busy machine must not fail a good run.
        let fault = self.state.lock().unwrap().fault;
        let stall = Duration::from_secs(if matches!(fault, Fault::Lose | Fault::Forget) { 1 } else { 20 });
        Target { port: self.port, monitor: None, pid, records: true, tls: false, users: false, stall }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the listener, and then everybody who reads.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        for client in &self.state.lock().unwrap_or_else(PoisonError::into_inner).clients {
            let _closed_already = client.shutdown(Shutdown::Both);
        }
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|result| result.is_ok()), "the fake server panicked");
    }
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>, ending: &AtomicBool) {
    let mut threads = Vec::new();
    for (client, stream) in listener.incoming().enumerate() {
        if ending.load(Ordering::SeqCst) {
            break;
        }
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        state.lock().unwrap().clients.push(stream.try_clone().unwrap());
        let state = Arc::clone(state);
        threads.push(std::thread::spawn(move || {
            // A client that leaves in the middle is no fault of the fake.
            let _left = serve(client, &stream, &state);
            state.lock().unwrap().subscriptions.retain(|subscription| subscription.client != client);
            // The fake keeps a second handle of the socket: closing this one alone would not end the connection.
            let _closed_already = stream.shutdown(Shutdown::Both);
        }));
    }
    for client in &state.lock().unwrap().clients {
        let _closed_already = client.shutdown(Shutdown::Both);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn serve(client: usize, stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut writer = stream;
    writer.write_all(b"INFO {}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // A client that gave up may leave half a line.
    while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            // An unasked INFO behind the first PONG, as servers do.
            ["CONNECT", ..] => {}
            ["PING"] => writer.write_all(b"PONG\r\nINFO {}\r\n")?,
            ["PONG"] => {}
            ["SUB", filter, sid] => state.lock().unwrap().subscribe(client, stream, filter, None, sid)?,
            ["SUB", filter, queue, sid] => state.lock().unwrap().subscribe(client, stream, filter, Some(queue), sid)?,
            ["PUB", subject, ref rest @ ..] => {
                let reply = (rest.len() == 2).then(|| rest[0]);
                let mut payload = vec![0; rest.last().unwrap().parse::<usize>().unwrap() + 2];
                reader.read_exact(&mut payload)?;
                payload.truncate(payload.len() - 2);
                state.lock().unwrap().publish(writer, subject, reply, payload)?;
            }
            _ => panic!("the load generator sent {line:?}"),
        }
        line.clear();
    }
    Ok(())
}

impl State {
    fn subscribe(
        &mut self,
        client: usize,
        stream: &TcpStream,
        filter: &str,
        queue: Option<&str>,
        sid: &str,
    ) -> std::io::Result<()> {
        let subscription = Subscription {
            client,
            writer: stream.try_clone()?,
            sid: sid.to_owned(),
            filter: filter.to_owned(),
            queue: queue.map(str::to_owned),
        };
        if filter.starts_with("$REPLAY.all.") {
            for (subject, payload) in self.log.iter().filter(|(subject, _)| subject == super::super::SUBJECT) {
                deliver(&subscription, subject, None, payload)?;
            }
        }
        self.subscriptions.push(subscription);
        Ok(())
    }

    fn publish(
        &mut self,
        mut publisher: &TcpStream,
        subject: &str,
        reply: Option<&str>,
        mut payload: Vec<u8>,
    ) -> std::io::Result<()> {
        if let Some(what) = subject.strip_prefix("$JS.API.") {
            return self.api(what, reply.unwrap(), &payload);
        }
        let hit = self.published == AT;
        let fault = if hit { self.fault } else { Fault::None };
        self.published += 1;
        if fault == Fault::Alter {
            *payload.last_mut().unwrap() ^= 1;
        }
        let copies = match fault {
            Fault::Forget => 0,
            Fault::RecordTwice => 2,
            _ => 1,
        };
        self.log.extend((0..copies).map(|_| (subject.to_owned(), payload.clone())));
        match fault {
            Fault::Refuse => return publisher.write_all(b"-ERR 'no'\r\n"),
            Fault::Lose => return Ok(()),
            Fault::Late => {
                self.late = Some((subject.to_owned(), payload));
                return Ok(());
            }
            Fault::Repeat => self.fan_out(subject, reply, &payload, false)?,
            _ => {}
        }
        if let Some(reply) = reply.filter(|reply| reply.starts_with("_INBOX.acks.")) {
            for _ in 0..if fault == Fault::Repeat { 2 } else { 1 } {
                self.acknowledge(reply)?;
            }
        }
        self.fan_out(subject, reply, &payload, fault == Fault::SecondMember)?;
        if let Some((subject, payload)) = self.late.take() {
            self.fan_out(&subject, reply, &payload, false)?;
        }
        Ok(())
    }

    fn fan_out(&self, subject: &str, reply: Option<&str>, payload: &[u8], twice: bool) -> std::io::Result<()> {
        let matching = self.subscriptions.iter().filter(|subscription| matches(&subscription.filter, subject));
        let (members, others): (Vec<_>, Vec<_>) = matching.partition(|subscription| subscription.queue.is_some());
        for subscription in others {
            deliver(subscription, subject, reply, payload)?;
        }
        if !members.is_empty() {
            let chosen = self.published as usize % members.len();
            deliver(members[chosen], subject, reply, payload)?;
            if twice {
                deliver(members[(chosen + 1) % members.len()], subject, reply, payload)?;
            }
        }
        Ok(())
    }
}

fn deliver(to: &Subscription, subject: &str, reply: Option<&str>, payload: &[u8]) -> std::io::Result<()> {
    let reply = reply.map(|reply| format!(" {reply}")).unwrap_or_default();
    let head = format!("MSG {subject} {}{reply} {}\r\n", to.sid, payload.len());
    // Who has just left misses it, which is no fault of who sent it.
    let _left = (&to.writer).write_all(&[head.as_bytes(), payload, b"\r\n"].concat());
    Ok(())
}

/// Only the wildcards that the workloads use, at the end.
fn matches(filter: &str, subject: &str) -> bool {
    match filter.strip_suffix('>').or_else(|| filter.strip_suffix('*')) {
        Some(prefix) => subject.starts_with(prefix),
        None => filter == subject,
    }
}
