//! What every client command shares: where the server is, how an interrupt ends the work, how it is reported.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::connection::secure::TlsFiles;
use super::connection::{ClientError, Signer, Target};
use super::url::{self, Credentials};
use super::{EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, output, values};

/// How long interrupted work may take to end by itself. A pipe that nobody reads can hold it for ever.
const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// Where the server is and how to get in.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Access {
    /// Address: [nats://|tls://][user:password@]host[:port], or several with commas
    ///
    /// Without this flag, $NATS_URL, or else 127.0.0.1:4222.
    #[arg(short = 's', long, value_name = "URL")]
    server: Option<String>,
    /// User name
    #[arg(long, requires = "pass", value_name = "NAME")]
    user: Option<String>,
    /// Password
    #[arg(long, requires = "user", value_name = "PASSWORD")]
    pass: Option<String>,
    /// Token
    #[arg(long, conflicts_with_all = ["user", "pass"], value_name = "TOKEN")]
    token: Option<String>,
    /// File with the seed of an nkey, which signs instead
    #[arg(long, conflicts_with_all = ["user", "pass", "token"], value_name = "FILE")]
    nkey: Option<PathBuf>,
    /// File with a token and the seed that signs for it, as nsc makes it (.creds)
    #[arg(long, conflicts_with_all = ["user", "pass", "token", "nkey"], value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Authorities of the server's certificate; without it those of the system
    ///
    /// This, and any of the next three, encrypts the connection, as tls:// does.
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// Own certificate
    #[arg(long, requires = "tlskey", value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Its private key
    #[arg(long, requires = "tlscert", value_name = "FILE")]
    tlskey: Option<PathBuf>,
    /// Encrypt before the server says anything (handshake_first)
    #[arg(long)]
    tlsfirst: bool,
    /// How long the server may take for any single answer
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = patience)]
    timeout: Duration,
}

fn patience(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        Duration::ZERO => Err("the timeout is 0".to_owned()),
        span => Ok(span),
    }
}

impl Access {
    /// The server to connect to.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let environment = || std::env::var("NATS_URL").ok().filter(|url| !url.is_empty());
        let text = self.server.clone().or_else(environment).unwrap_or_else(|| "127.0.0.1".to_owned());
        let credentials = match (&self.user, &self.pass, &self.token) {
            (Some(user), Some(pass), _) => Credentials::User(user.clone(), pass.clone()),
            (_, _, Some(token)) => Credentials::Token(token.clone()),
            _ => Credentials::None,
        };
        let urls = url::parse_list(&text).map_err(Failure::Usage)?;
        let own = self.tlscert.clone().zip(self.tlskey.clone());
        let tls = TlsFiles { ca: self.tlscacert.clone(), own, first: self.tlsfirst };
        let signer = self.nkey.clone().map(Signer::Nkey).or_else(|| self.creds.clone().map(Signer::Creds));
        Ok(Target { urls, credentials, signer, tls, timeout: self.timeout })
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong in a way the parser does not see.
    #[error("{0}")]
    Usage(String),
    /// Talking to the server failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Printing failed.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Says on stderr what happened, unless a closed pipe means that nobody wants more.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Usage(_) => {
                output::warn(&self.to_string());
                ExitCode::from(EXIT_USAGE)
            }
            _ => {
                output::warn(&self.to_string());
                ExitCode::from(EXIT_ERROR)
            }
        }
    }
}

/// Runs a command's work until it ends or is interrupted; the work gives the exit code.
///
/// The work is dropped when an interrupt comes, so what it has buffered for stdout is written by its drop.
pub(crate) fn run(work: impl Future<Output = Result<u8, Failure>>) -> ExitCode {
    // One worker besides this thread: it hears the interrupt even while this one is stuck in a write.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Other(format!("cannot start: {error}")).report(),
    };
    let (tell, interrupted) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        // The work may have ended in this very moment.
        let _ = tell.send(());
        tokio::time::sleep(INTERRUPT_GRACE).await;
        std::process::exit(i32::from(EXIT_INTERRUPTED));
    });
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = work => Some(outcome),
            Ok(()) = interrupted => None,
        }
    });
    // A read of stdin cannot be called off; it must not hold the end up.
    runtime.shutdown_background();
    match outcome {
        Some(Ok(code)) => ExitCode::from(code),
        Some(Err(failure)) => failure.report(),
        None => ExitCode::from(EXIT_INTERRUPTED),
    }
}
