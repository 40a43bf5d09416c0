//! A small emulation of Azure Blob Storage, for no server of it can be had from a package registry: one account, one
//! container, two operations (Get Blob, Get Blob Properties), with the errors that Microsoft documents for them.
//!
//! Strict: a request without `x-ms-version`, with another query than the signature's, or with another method is refused.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

pub const CONTAINER: &str = "evidence";
/// What a valid signature looks like here.
pub const SAS: &str = "sv=2023-11-03&sr=c&sp=rl&se=2099-01-01T00%3A00%3A00Z&sig=c2lnbmVk%2Bit%3D";

#[derive(Default)]
struct Account {
    blobs: BTreeMap<String, (String, u64)>,
    writes: u64,
}

/// An account that runs.
pub struct Azure {
    url: String,
    account: Arc<Mutex<Account>>,
    task: JoinHandle<()>,
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Azure {
    pub async fn start() -> Azure {
        let account: Arc<Mutex<Account>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(serve).with_state(account.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Azure { url, account, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stores a blob; each time, it gets a new version.
    pub fn put(&self, name: &str, content: &str) {
        let mut account = lock(&self.account);
        account.writes += 1;
        let version = account.writes;
        account.blobs.insert(name.to_owned(), (content.to_owned(), version));
    }

    pub fn delete(&self, name: &str) {
        lock(&self.account).blobs.remove(name);
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn error(method: &Method, status: u16, code: &str) -> Response {
    let text = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>No.</Message></Error>"
    );
    let body = if method == Method::HEAD { String::new() } else { text };
    let headers = [("content-type", "application/xml"), ("x-ms-error-code", code)];
    (StatusCode::from_u16(status).expect("a status"), headers, body).into_response()
}

async fn serve(State(account): State<Arc<Mutex<Account>>>, request: Request) -> Response {
    let method = request.method().clone();
    let address = Url::parse(&format!("http://x{}", request.uri())).expect("a URL");
    let asked: HashMap<String, String> = address.query_pairs().into_owned().collect();
    let valid = Url::parse(&format!("http://x/?{SAS}")).expect("a URL");
    let valid: HashMap<String, String> = valid.query_pairs().into_owned().collect();
    let mut permitted = asked.clone();
    permitted.insert("sp".to_owned(), valid["sp"].clone());
    if permitted != valid {
        return error(&method, 403, "AuthenticationFailed");
    }
    if request.headers().get("x-ms-version").is_none_or(|version| version.as_bytes() < b"2020".as_slice()) {
        return error(&method, 400, "UnsupportedHeader");
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return error(&method, 405, "UnsupportedHttpVerb");
    }
    if !asked["sp"].contains('r') {
        return error(&method, 403, "AuthorizationPermissionMismatch");
    }
    let path = percent_encoding(address.path());
    let Some(name) = path.strip_prefix(&format!("/{CONTAINER}/")) else {
        return error(&method, 404, "ContainerNotFound");
    };
    let Some((content, version)) = lock(&account).blobs.get(name).cloned() else {
        return error(&method, 404, "BlobNotFound");
    };
    let headers = [
        ("etag", format!("\"0x{version:X}\"")),
        ("x-ms-version-id", format!("2026-11-22T10:00:{version:02}.0000000Z")),
        ("content-type", "application/octet-stream".to_owned()),
    ];
    (headers, content).into_response()
}

/// A path as it is meant.
fn percent_encoding(path: &str) -> String {
    let escaped = format!("x={}", path.replace('+', "%2B"));
    url::form_urlencoded::parse(escaped.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}
