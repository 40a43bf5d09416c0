//! Starting and stopping.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::call::PREFIX;
use super::connection::{Gate, Knife};
use super::held::Verdict;
use super::seed::{Seed, SeedError};
use super::state::{Config, Sandbox};
use super::state_file;
use super::{admin, page, serve};

/// How long requests that are under way may take when a sandbox stops; then their connections are cut.
const GRACE: Duration = Duration::from_secs(1);

/// The arguments of `releaseclosure sandbox`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What the systems hold at the beginning (YAML); they are empty without it
    #[arg(long, value_name = "FILE")]
    pub seed: Option<PathBuf>,
    /// Keep the state in this file; if it is there already, it counts and the seed does not
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Listen on this address; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub bind: SocketAddr,
    /// Let in only requests with this bearer token; without it, everybody is let in
    #[arg(long, value_name = "TOKEN", env = "SANDBOX_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Write the base URL into this file once the sandbox is listening
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
}

/// Why a sandbox cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The seed is not one.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The seed's file cannot be read.
    #[error("the seed {} cannot be read: {error}", path.display())]
    SeedFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The state file cannot be read or written.
    #[error("the state file {} cannot be used: {error}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The address file cannot be written.
    #[error("the address file {} cannot be written: {error}", path.display())]
    AddressFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The operating system does not give what a server needs.
    #[error("cannot serve: {0}")]
    Serve(io::Error),
}

/// Runs a sandbox until SIGTERM or SIGINT, and says on standard output where it listens.
pub async fn run(args: Args) -> Result<(), Error> {
    // Nobody may be reading; that is no reason to stop.
    let say = |url: &str| drop(writeln!(io::stdout(), "sandbox listening on {url}"));
    run_saying(args, say).await
}

/// Runs a sandbox until SIGTERM or SIGINT; `say` learns the base URL once the sandbox is listening.
pub async fn run_saying(args: Args, say: impl FnOnce(&str)) -> Result<(), Error> {
    let Args { seed, state, bind, token, address_file } = args;
    let seed = match seed {
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|error| Error::SeedFile { path, error })?;
            Seed::from_yaml(&text)?
        }
        None => Seed::default(),
    };
    let listener = TcpListener::bind(bind).await.map_err(|error| Error::Bind { address: bind, error })?;
    // Before anybody is told that we are here, so that a signal that follows at once is not missed.
    let stopped = signals().map_err(Error::Serve)?;
    let handle = start(Config { seed, state_file: state, token }, listener).await?;
    if let Some(path) = address_file {
        let written = state_file::replace(&path, format!("{}\n", handle.url()).as_bytes());
        written.map_err(|error| Error::AddressFile { path, error })?;
    }
    say(&handle.url());
    stopped.await;
    handle.stop().await;
    Ok(())
}

/// Starts a sandbox on a listener. It runs on tasks of its own until the handle is stopped or dropped.
pub async fn start(config: Config, listener: TcpListener) -> Result<Handle, Error> {
    let address = listener.local_addr().map_err(Error::Serve)?;
    let sandbox = Sandbox::new(config)?;
    let gate = Gate::new(listener, sandbox.connections.clone());
    let service = router(sandbox.clone()).into_make_service_with_connect_info::<Knife>();
    let (stop, stopping) = oneshot::channel::<()>();
    let server = async move {
        let stopped = async move { drop(stopping.await) };
        // Serving a gate has no errors; the result is a formality of the interface.
        axum::serve(gate, service).with_graceful_shutdown(stopped).await.ok();
    };
    Ok(Handle { sandbox, address, stop: Some(stop), server: Some(tokio::spawn(server)) })
}

/// A sandbox that is running.
#[derive(Debug)]
pub struct Handle {
    sandbox: Arc<Sandbox>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Handle {
    /// Where it listens, without a path: `http://127.0.0.1:41234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a connection's `endpoint` is set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}{PREFIX}", self.address)
    }

    /// The six systems.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Stops: no new connections, held requests are discarded, requests under way have a second to end. The port is free
    /// afterwards.
    pub async fn stop(mut self) {
        self.sandbox.clear_faults();
        drop(self.stop.take());
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(GRACE, &mut server).await.is_err()
        {
            self.sandbox.connections.cut_all();
            if tokio::time::timeout(GRACE, &mut server).await.is_err() {
                server.abort();
            }
        }
    }
}

impl Drop for Handle {
    /// Like a process that is killed: at once.
    fn drop(&mut self) {
        self.sandbox.lock().held.let_go(Verdict::Discard, |_| true);
        self.sandbox.connections.cut_all();
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route(PREFIX, any(serve::contract))
        .route(&format!("{PREFIX}/{{*path}}"), any(serve::contract))
        .with_state(sandbox.clone())
        .merge(admin::router(sandbox.clone()))
        .merge(page::router(sandbox))
        .fallback(elsewhere)
}

/// Outside the contract and the admin API: deliberately **not** a problem document, for a 404 without one is no answer, and a
/// wrong endpoint must not look like a missing record.
async fn elsewhere(_: Request) -> Response {
    use axum::response::IntoResponse as _;
    (axum::http::StatusCode::NOT_FOUND, "nothing here; the contract is under /closure/v1\n").into_response()
}

/// Ends with the first SIGTERM or SIGINT.
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
