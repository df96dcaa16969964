//! From options to a serving process, and back to a clean end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use sublog_protocol::encode;
use sublog_storage::{DataDir, LogError, MetaError, OpenError, RecoveryReport};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::accept::{Listeners, open_websocket, tell_websocket};
use super::closed::ClosedRing;
use super::data::{self, Opened};
use super::notices::Notices;
use super::reload::{self, Reload};
use super::{Server, ServerStats, accept, maintenance, retention, ticker};
use crate::account::{Accounts, Maker, Shared};
use crate::auth::passwords::Passwords;
use crate::capture::{CAPTURE, Capture};
use crate::cli::{BannerFacts, Recovered, announce, banner};
use crate::client::CloseReason;
use crate::client::outbound::Kind;
use crate::config::ServerOptions;
use crate::jetstream::api::{self, Api};
use crate::jetstream::consumer::restore;
use crate::jetstream::copy;
use crate::jetstream::streams::place::{self, Stores};
use crate::logging::LogHandle;
use crate::monitor::Monitor;
use crate::operator::Operator;
use crate::tls::handshake::Shaker;
use crate::tls::{Tls, TlsError};
use crate::{clock, limits, monitor};

/// Threads that read history for replays. Two, so that one slow page does not hold up every reader.
const REPLAY_THREADS: usize = 2;

/// Threads for handshakes: half of the cores, so that a crowd of new clients leaves the other half to those that are there.
fn handshake_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2)
}

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ServeError {
    #[error("cannot start threads: {0}")]
    Runtime(#[source] io::Error),
    #[error("cannot listen on {host}:{port}: {source}")]
    Listen { host: String, port: u16, source: io::Error },
    #[error("cannot use the data directory: {0}")]
    Data(#[from] OpenError),
    #[error("cannot use the metadata: {0}")]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Operator(String),
    #[error("cannot write {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the log could not be closed cleanly: {0}")]
    Close(#[source] LogError),
}

/// Serves until a signal ends it. `reload` says where new options come from when HUP asks for them.
///
/// # Errors
/// Why it did not start, or did not end well.
pub fn run(options: ServerOptions, log: LogHandle, reload: Option<Reload>) -> Result<(), ServeError> {
    sublog_storage::give_back_large_buffers();
    let main = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sublog")
        .build()
        .map_err(ServeError::Runtime)?;
    let replay = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(REPLAY_THREADS)
        .thread_name("sublog-replay")
        .build()
        .map_err(ServeError::Runtime)?;
    let shaking = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(handshake_threads())
        .thread_name("sublog-tls")
        .build()
        .map_err(ServeError::Runtime)?;
    let result =
        main.block_on(serve(options, &log, reload, replay.handle().clone(), Shaker::new(shaking.handle().clone())));
    replay.shutdown_background();
    shaking.shutdown_background();
    main.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Starts a thread that lasts as long as the server.
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ServeError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(ServeError::Runtime)
}

async fn serve(
    options: ServerOptions,
    log: &LogHandle,
    mut reload: Option<Reload>,
    replay_runtime: tokio::runtime::Handle,
    shaker: Shaker,
) -> Result<(), ServeError> {
    tracing::info!("Starting {}", options.called.name());
    tracing::info!("  Version:  {}", options.called.version());
    let mut signals = Signals::new().map_err(ServeError::Runtime)?;
    let tls = options.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
    tls.iter().flat_map(|tls| &tls.warnings).for_each(|warning| tracing::warn!("{warning}"));
    let Opened { data, meta, id, _unkept } = data::open(&options)?;
    tracing::info!("  Name:     {}", options.name.as_deref().unwrap_or(&id));
    tracing::info!("  ID:       {id}");
    let (capture, recovered) = open_capture(&options, &data)?;
    let stores = Stores::new(data.clone(), meta, options.capture.sync).map_err(ServeError::Runtime)?;
    let (api, requests) = Api::new();
    let shared = Arc::new(Shared::new(&options, &id, replay_runtime));
    let maker = Maker::new(stores, api, shared.clone(), capture.clone(), &options.capture);
    let passwords = Passwords::new().map_err(|error| ServeError::Runtime(io::Error::other(error)))?;
    let listener = accept::bind(&options.host, options.port).await.map_err(|source| ServeError::Listen {
        host: options.host.clone(),
        port: options.port,
        source,
    })?;
    let address = listener.local_addr().map_err(ServeError::Runtime)?;
    let (ws_listener, websocket) = open_websocket(&options).await?.unzip();
    let server = Arc::new(Server {
        websocket: websocket.map(Arc::new),
        accounts: Accounts::new(maker, &options.accounts),
        shared,
        capture,
        passwords,
        operator: options.operator.clone().map(Operator::new).transpose().map_err(ServeError::Operator)?,
        sys_answers: AtomicU64::new(0),
        stats: ServerStats::default(),
        shaker,
        tls: RwLock::new(tls),
        id,
        start: clock::wall(),
        address,
        lame_duck: AtomicBool::new(false),
        closed: ClosedRing::new(options.closed_connections),
        monitor: Monitor::default(),
        clients: Mutex::new(FxHashMap::default()),
        last_cid: AtomicU64::new(0),
        current: RwLock::new(Arc::new(options.clone())),
        reloads: AtomicU64::new(0),
        options,
    });
    tokio::task::block_in_place(|| server.accounts.start(&server));
    server.monitor.config.loaded(reload.as_ref().map(|reload| reload.digest.clone()).unwrap_or_default());
    start_consumers(&server)?;
    let monitor = monitor::start(&server).await?;
    let mut notices =
        Notices::write(&server.options, address, monitor, server.websocket.as_ref().map(|port| port.address), None)?;
    tell_ports(&server);
    announce(log, &banner(&BannerFacts { options: &server.options, listen: address, monitor, recovered }));

    let ticker = tokio::spawn(ticker::run(server.clone()));
    let retention = tokio::spawn(retention::run(server.clone(), data));
    let expiry = tokio::spawn(retention::expire(server.clone()));
    start_thread("sublog-api", move || api::run(&requests))?;
    let maintenance = maintenance::start(&server).map_err(ServeError::Runtime)?;
    let mut on_reload = |server: &Arc<Server>| match &mut reload {
        Some(reload) => reload::reload(server, reload, log, &mut notices, monitor),
        None => tracing::warn!("Nothing to reload: the server was started without a configuration file"),
    };
    let listeners = Listeners::new(&server, listener, ws_listener);
    until_stopped(&server, listeners, &mut signals, log, &mut on_reload).await;

    tracing::info!("Initiating Shutdown...");
    server.shared.stopping.store(true, Ordering::Release);
    ticker.abort();
    drop(maintenance);
    retention.abort();
    expiry.abort();
    copy::stop(&server.accounts).await;
    restore::stop(&server.accounts).await;
    disconnect(&server).await;
    for account in server.accounts.all() {
        tokio::task::block_in_place(|| account.jetstream.streams.close()).map_err(ServeError::Close)?;
    }
    if let Some(log) = server.capture.log() {
        tokio::task::block_in_place(|| log.close()).map_err(ServeError::Close)?;
    }
    drop(notices);
    tracing::info!("Server Exiting..");
    Ok(())
}

/// Makes the consumers there were, and goes on with what copies other streams.
fn start_consumers(server: &Server) -> Result<(), ServeError> {
    tokio::task::block_in_place(|| server.accounts.all().iter().for_each(restore::all));
    server.accounts.all().iter().for_each(copy::start_all);
    let positions = server.accounts.global.jetstream.positions.clone();
    start_thread("sublog-consumers", move || positions.run())
}

fn tell_ports(server: &Server) {
    tracing::info!("Listening for client connections on {}:{}", server.options.host, server.address.port());
    tell_websocket(server);
    if server.tls().is_some() {
        tracing::info!("TLS required for client connections");
    }
    tracing::info!("Server is ready");
}

type Recording = (Capture, Option<Recovered>);

fn open_capture(options: &ServerOptions, data: &DataDir) -> Result<Recording, ServeError> {
    if options.capture.enabled || options.jetstream {
        tracing::info!("  Store Directory:  \"{}\"", data.root().display());
    }
    if options.capture.enabled && options.accounts.all.keys().any(|name| *name != options.accounts.captured) {
        tracing::info!("  Recording what is published in account '{}', and in no other", options.accounts.captured);
    }
    if !options.capture.enabled {
        return Ok((Capture::off(), None));
    }
    let (capture, report) = Capture::open(
        &place::of_capture(data, &options.accounts.captured),
        data,
        &options.capture,
        &tokio::runtime::Handle::current(),
    )?;
    tell_recovery(&report);
    let recovered = capture.state().map(|state| Recovered {
        messages: state.messages,
        first_seq: state.first_seq,
        last_seq: state.last_seq,
        bytes: state.bytes,
        damaged_ranges: usize::try_from(state.damage_found).unwrap_or(usize::MAX),
    });
    if let Some(found) = recovered.filter(|_| !report.created) {
        tracing::info!(
            "  Restored {} messages for stream '{CAPTURE}' in {:.1?}",
            found.messages,
            Duration::from_nanos(report.took_ns)
        );
    }
    Ok((capture, recovered))
}

fn tell_recovery(report: &RecoveryReport) {
    if let Some((path, offset)) = &report.torn_at {
        tracing::warn!(
            "The last write was not finished: {} bytes at {} of {} were never acknowledged and are cut",
            report.torn_bytes,
            offset,
            path.display()
        );
    }
    for path in &report.unfinished {
        tracing::warn!("A segment whose creation was never finished is removed: {}", path.display());
    }
    if let Some(skipped) = report.skipped {
        tracing::warn!(
            "After the power cut sequences {} to {} are left out, so that none is given out twice",
            skipped.first_seq,
            skipped.last_seq
        );
    }
    for damage in &report.damage {
        tracing::error!(
            "Damage in {} at byte {}, {} bytes: {:?}; all the rest stays readable",
            damage.path.display(),
            damage.offset,
            damage.bytes,
            damage.lost
        );
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reload: Signal,
    reopen: Signal,
    lame_duck: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            lame_duck: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Accepts connections and obeys signals until one of them ends the server.
async fn until_stopped(
    server: &Arc<Server>,
    listeners: Listeners,
    signals: &mut Signals,
    log: &LogHandle,
    reload: &mut dyn FnMut(&Arc<Server>),
) {
    {
        let accepting = accept::accept_loop(server.clone(), &listeners.clients, None);
        tokio::pin!(accepting);
        loop {
            tokio::select! {
                () = &mut accepting => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.terminate.recv() => return,
                _ = signals.reload.recv() => tokio::task::block_in_place(|| reload(server)),
                _ = signals.reopen.recv() => reopen(log),
                _ = signals.lame_duck.recv() => break,
            }
        }
    }
    // Nobody new: the port is free for a successor from here on.
    drop(listeners);
    let retiring = lame_duck(server);
    tokio::pin!(retiring);
    loop {
        tokio::select! {
            () = &mut retiring => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.reopen.recv() => reopen(log),
            // As nats-server: a lame duck takes its time.
            _ = signals.terminate.recv() => {}
            _ = signals.reload.recv() => {}
            _ = signals.lame_duck.recv() => {}
        }
    }
}

fn reopen(log: &LogHandle) {
    match log.reopen() {
        Ok(()) => tracing::info!("File log re-opened"),
        Err(error) => tracing::error!("The log file cannot be re-opened, the old one stays in use: {error}"),
    }
}

/// Tells every client to go elsewhere, waits, then closes them one by one over the rest of the time.
async fn lame_duck(server: &Arc<Server>) {
    tracing::info!("Entering lame duck mode, stop accepting new clients");
    server.lame_duck.store(true, Ordering::Relaxed);
    for client in server.clients() {
        if client.async_info.load(Ordering::Relaxed) {
            let mut info = Vec::new();
            encode::info(&mut info, &server.info(&client));
            client.send(&mut info, Kind::Control);
        }
    }
    if server.connections() == 0 {
        return;
    }
    let options = server.current();
    tokio::time::sleep(options.lame_duck_grace).await;
    let clients = server.clients();
    let rest = options.lame_duck_duration.saturating_sub(options.lame_duck_grace);
    let pause = rest / u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
    for client in clients {
        client.close(CloseReason::ServerShutdown);
        tokio::time::sleep(pause).await;
    }
}

/// Ends every connection, after what is queued for it has had a moment to leave.
async fn disconnect(server: &Arc<Server>) {
    for client in server.clients() {
        client.close(CloseReason::ServerShutdown);
    }
    let all_gone = async {
        while server.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(limits::SHUTDOWN_FLUSH, all_gone).await.is_err() {
        tracing::warn!("{} clients did not take what was queued for them", server.connections());
    }
}
