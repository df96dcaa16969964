//! The monitoring endpoints, on a port of their own: what probes, load balancers and metrics collectors ask for, and
//! people look at. The pages, their parameters and their field names are nats-server's; one file is one page.
//!
//! A page is built from copies, on a thread that may wait: counters are read where they are, lists are copied under their
//! lock and looked at outside of it. The same pages answer requests of the system account, which is why each takes its
//! options as a struct.

mod accountz;
mod accstatz;
mod config;
mod connz;
mod cpu;
mod gatewayz;
mod healthz;
mod http;
mod index;
mod ipqueuesz;
mod jsz;
mod leafz;
mod pages;
mod routez;
mod secure;
mod streamz;
mod subsz;
pub mod system;
mod text;
mod varz;

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;

pub use config::Config;
pub use cpu::CpuMeter;

use crate::server::{ServeError, Server};

/// The account of everybody who has no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// What the server keeps for these pages.
#[derive(Debug, Default)]
pub struct Monitor {
    /// Where the endpoints are.
    address: OnceLock<SocketAddr>,
    /// Requests for each of them.
    requests: pages::Requests,
    /// Requests of the system account that are being answered.
    pub under_way: AtomicUsize,
    /// What the process takes of the processors.
    pub cpu: CpuMeter,
    /// The configuration file.
    pub config: Config,
}

/// Starts answering, if the options name a port.
///
/// # Errors
/// The port cannot be taken.
pub async fn start(server: &Arc<Server>) -> Result<Option<SocketAddr>, ServeError> {
    let Some(port) = server.options.monitor_port else { return Ok(None) };
    let host = server.options.monitor_host.as_ref().unwrap_or(&server.options.host).clone();
    let failed = |source| ServeError::Listen { host: host.clone(), port, source };
    let listener = TcpListener::bind((host.as_str(), port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    server.monitor.address.get_or_init(|| address);
    let routes = pages::router(server);
    let serving = if server.options.monitor_tls {
        tracing::info!("Starting https monitor on {address}");
        let listener = secure::SecureListener::new(server, listener).map_err(failed)?;
        tokio::spawn(axum::serve(listener, routes).into_future())
    } else {
        tracing::info!("Starting http monitor on {address}");
        tokio::spawn(axum::serve(listener, routes).into_future())
    };
    tokio::spawn(async move {
        if let Ok(Err(error)) = serving.await {
            tracing::error!("The monitoring endpoints ended: {error}");
        }
    });
    Ok(Some(address))
}
