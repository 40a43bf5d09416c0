//! `/metrics`, `/livez` and `/readyz` on one small server.
//!
//! **Ready**: the watches' caches are complete, and this replica leads or stands by. **Alive**: the main loop has shown
//! itself within the last minute; a process whose loop is stuck is better started anew, and its closures lose nothing.

use crate::telemetry::{CONTENT_TYPE, Metrics};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// How long the main loop may be silent.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What the probes are told. Cheap to clone; the clones are one.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// Milliseconds from `began` to the last sign of life.
    beat: AtomicU64,
    begun: AtomicBool,
    /// Shards whose caches are not complete.
    filling: AtomicUsize,
    takes_part: AtomicBool,
    hindered: Mutex<Option<String>>,
}

impl Default for Health {
    fn default() -> Self {
        Health::new()
    }
}

impl Health {
    /// Alive as of now, and not ready.
    #[must_use]
    pub fn new() -> Health {
        let inner = Inner {
            began: Instant::now(),
            beat: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            filling: AtomicUsize::new(0),
            takes_part: AtomicBool::new(false),
            hindered: Mutex::default(),
        };
        Health { inner: Arc::new(inner) }
    }

    /// A sign of life from the main loop, due at least every [`SILENCE_MAX`].
    pub fn beat(&self) {
        let now = u64::try_from(self.inner.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.inner.beat.fetch_max(now, Ordering::Relaxed);
    }

    /// What has to be known before anything can be done is known.
    pub fn set_begun(&self) {
        self.inner.begun.store(true, Ordering::Relaxed);
    }

    /// The caches of a shard are being filled, until what this gives back is told otherwise or dropped.
    #[must_use = "the caches count as complete when this is dropped"]
    pub fn fill(&self) -> Filling {
        self.inner.filling.fetch_add(1, Ordering::Relaxed);
        Filling { inner: self.inner.clone(), complete: false }
    }

    /// This replica leads or stands by, or does not.
    pub fn set_takes_part(&self, takes_part: bool) {
        self.inner.takes_part.store(takes_part, Ordering::Relaxed);
    }

    /// Why it can do nothing though it takes part, in a sentence; none where it can.
    pub fn set_hindered(&self, why: Option<String>) {
        *self.inner.hindered.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Whether the process should live on.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let beat = Duration::from_millis(self.inner.beat.load(Ordering::Relaxed));
        self.inner.began.elapsed().saturating_sub(beat) <= SILENCE_MAX
    }

    /// Why it is not ready, if it is not.
    fn missing(&self) -> Option<Cow<'static, str>> {
        if let Some(why) = &*self.inner.hindered.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some(format!("{why}\n").into());
        }
        if !self.inner.begun.load(Ordering::Relaxed) || self.inner.filling.load(Ordering::Relaxed) > 0 {
            Some("the caches are not complete\n".into())
        } else if !self.inner.takes_part.load(Ordering::Relaxed) {
            Some("neither leading nor standing by\n".into())
        } else {
            None
        }
    }
}

/// Caches that are being filled.
#[derive(Debug)]
pub struct Filling {
    inner: Arc<Inner>,
    complete: bool,
}

impl Filling {
    /// They are complete. What they miss later, while a watch begins again, does not count.
    pub fn complete(&mut self) {
        if !std::mem::replace(&mut self.complete, true) {
            self.inner.filling.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.complete();
    }
}

/// The three paths.
pub fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health)
        .merge(Router::new().route("/metrics", get(render)).with_state(metrics))
}

async fn livez(State(health): State<Health>) -> impl IntoResponse {
    if health.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "the main loop has been silent for more than a minute\n")
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    match health.missing() {
        None => (StatusCode::OK, "ok\n".into()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render())
}

/// Takes the address, so that one in use is an error at the start and not a line in a log later.
///
/// # Errors
/// The address cannot be taken.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` resolves, then lets requests under way finish.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(health, metrics)).with_graceful_shutdown(stop).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    #[tokio::test]
    async fn ready_takes_both_and_stops_when_told() {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, metrics) = (Health::new(), Metrics::new());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, health.clone(), metrics, async {
            let _ = stopped.await;
        }));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        health.set_begun();
        assert!(get(address, "/readyz").await.contains("neither leading nor standing by"));
        health.set_takes_part(true);
        let (mut one, other) = (health.fill(), health.fill());
        one.complete();
        one.complete();
        assert!(get(address, "/readyz").await.contains("the caches are not complete"));
        drop(other);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let reply = get(address, "/metrics").await;
        assert!(reply.contains("application/openmetrics-text") && reply.contains("releaseclosure_leader 0"), "{reply}");
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_loop_is_not_alive_and_one_sign_makes_it_so() {
        let health = Health::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(health.is_alive());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!health.is_alive());
        health.beat();
        assert!(health.is_alive());
    }
}
