//! A guard before a registry that lets everybody in: it knows users and what they may read, takes passwords itself or hands out
//! tokens for them as the registries of the big houses do, and can list referrers in pages.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How users show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With name and password.
    Basic,
    /// With a token, which is fetched with these.
    Tokens,
}

/// The guard. It ends when it is dropped.
pub struct Guard {
    gate: Gate,
    url: String,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Gate {
    upstream: String,
    client: Client,
    rules: Arc<Mutex<Rules>>,
}

struct Rules {
    how: How,
    users: BTreeMap<String, String>,
    denied: BTreeSet<String>,
    /// Each token that holds, with whose it is.
    tokens: BTreeMap<String, String>,
    fetched: usize,
    realm: Option<String>,
    page: Option<usize>,
}

impl Guard {
    /// One before the registry at this URL, that knows nobody yet.
    pub async fn before(upstream: &str, how: How) -> Guard {
        let rules = Rules {
            how,
            users: BTreeMap::new(),
            denied: BTreeSet::new(),
            tokens: BTreeMap::new(),
            fetched: 0,
            realm: None,
            page: None,
        };
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let gate = Gate { upstream: upstream.to_owned(), client, rules: Arc::new(Mutex::new(rules)) };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = axum::Router::new().fallback(pass).with_state(gate.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Guard { gate, url, task }
    }

    /// Its base URL; tokens are at `/token` of it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.gate.rules.lock().expect("no panic")
    }

    /// Lets a user in.
    pub fn admit(&self, user: &str, password: &str) {
        self.rules().users.insert(user.to_owned(), password.to_owned());
    }

    /// Knows a user no more, nor their tokens.
    pub fn dismiss(&self, user: &str) {
        let mut rules = self.rules();
        rules.users.remove(user);
        rules.tokens.retain(|_, whose| whose != user);
    }

    /// Lets a user read nothing any more.
    pub fn deny(&self, user: &str) {
        self.rules().denied.insert(user.to_owned());
    }

    /// No token that was handed out holds any more.
    pub fn forget_tokens(&self) {
        self.rules().tokens.clear();
    }

    /// How many tokens were handed out.
    pub fn fetched(&self) -> usize {
        self.rules().fetched
    }

    /// Names this place as the one where tokens are.
    pub fn name_realm(&self, realm: &str) {
        self.rules().realm = Some(realm.to_owned());
    }

    /// Lists so many referrers on a page.
    pub fn page_by(&self, size: usize) {
        self.rules().page = Some(size);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who shows a name and a password that are known.
fn known(rules: &Rules, headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(shown) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let pair = shown.to_str().ok().and_then(|shown| STANDARD.decode(shown.strip_prefix("Basic ")?).ok());
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok()).ok_or(())?;
    let (user, password) = pair.split_once(':').ok_or(())?;
    if rules.users.get(user).map(String::as_str) == Some(password) { Ok(Some(user.to_owned())) } else { Err(()) }
}

fn refusal(status: u16, code: &str, challenge: Option<&str>) -> Response<Body> {
    let mut refusal = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if let Some(challenge) = challenge {
        refusal = refusal.header(header::WWW_AUTHENTICATE, challenge);
    }
    refusal.body(json!({"errors": [{"code": code, "message": "no"}]}).to_string().into()).expect("a reply")
}

async fn pass(State(gate): State<Gate>, request: Request) -> Response<Body> {
    let (head, _) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let page = {
        let mut rules = gate.rules.lock().expect("no panic");
        if path == "/token" {
            return token(&mut rules, &head.headers, &query);
        }
        if let Err(refused) = may_pass(&rules, &head.headers) {
            return *refused;
        }
        rules.page.filter(|_| path.contains("/referrers/"))
    };
    gate.fetch(head.method, &path, &query, &head.headers, page).await
}

/// Hands out a token that holds five minutes.
fn token(rules: &mut Rules, headers: &HeaderMap, query: &str) -> Response<Body> {
    let asked: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let right = asked.get("service").is_some_and(|service| service == "registry of tests")
        && asked.get("scope").is_some_and(|scope| scope.starts_with("repository:") && scope.ends_with(":pull"));
    match known(rules, headers) {
        Ok(user) if right => {
            rules.fetched += 1;
            let token = format!("token-{}", rules.fetched);
            rules.tokens.insert(token.clone(), user.unwrap_or_default());
            let body = json!({"token": token, "expires_in": 300}).to_string();
            Response::builder().header(header::CONTENT_TYPE, "application/json").body(body.into()).expect("a reply")
        }
        _ => refusal(401, "UNAUTHORIZED", None),
    }
}

fn may_pass(rules: &Rules, headers: &HeaderMap) -> Result<(), Box<Response<Body>>> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = format!("http://{host}/token");
    let realm = rules.realm.as_deref().unwrap_or(&own);
    let bearer = |error: &str| format!("Bearer realm=\"{realm}\",service=\"registry of tests\"{error}");
    let refused = |status, code, challenge: Option<&str>| Err(Box::new(refusal(status, code, challenge)));
    match rules.how {
        How::Basic => match known(rules, headers) {
            Ok(Some(user)) if rules.denied.contains(&user) => refused(403, "DENIED", None),
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(()) => refused(401, "UNAUTHORIZED", Some("Basic realm=\"registry of tests\"")),
        },
        How::Tokens => {
            let shown =
                headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok()?.strip_prefix("Bearer "));
            match shown.map(|shown| rules.tokens.get(shown)) {
                None => refused(401, "UNAUTHORIZED", Some(&bearer(""))),
                Some(None) => refused(401, "UNAUTHORIZED", Some(&bearer(",error=\"invalid_token\""))),
                Some(Some(user)) if rules.denied.contains(user) => {
                    refused(401, "DENIED", Some(&bearer(",scope=\"repository:x:pull\",error=\"insufficient_scope\"")))
                }
                Some(Some(_)) => Ok(()),
            }
        }
    }
}

impl Gate {
    async fn fetch(
        &self,
        method: Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        page: Option<usize>,
    ) -> Response<Body> {
        // A page's number is its whole query.
        let number: Option<usize> = page.and_then(|_| query.parse().ok());
        let query = if query.is_empty() || number.is_some() { String::new() } else { format!("?{query}") };
        let mut request = self.client.request(method, format!("{}{path}{query}", self.upstream));
        if let Some(accept) = headers.get(header::ACCEPT) {
            request = request.header(header::ACCEPT, accept);
        }
        let reply = request.send().await.expect("it answers");
        let (status, told) = (reply.status(), reply.headers().clone());
        let body = reply.bytes().await.expect("to its end");
        let mut answer = Response::builder().status(status);
        for name in [header::CONTENT_TYPE.as_str(), "docker-content-digest", "oci-filters-applied"] {
            if let Some(value) = told.get(name) {
                answer = answer.header(name, value);
            }
        }
        match page {
            Some(size) if status == StatusCode::OK => {
                let mut listed: Value = serde_json::from_slice(&body).expect("JSON");
                let all = listed["manifests"].as_array().cloned().unwrap_or_default();
                let number = number.unwrap_or(0);
                listed["manifests"] = all.iter().skip(number * size).take(size).cloned().collect();
                if all.len() > (number + 1) * size {
                    answer = answer.header(header::LINK, format!("<{path}?{}>; rel=\"next\"", number + 1));
                }
                answer.body(listed.to_string().into()).expect("a reply")
            }
            _ => {
                if let Some(length) = told.get(header::CONTENT_LENGTH) {
                    answer = answer.header(header::CONTENT_LENGTH, length);
                }
                answer.body(body.into()).expect("a reply")
            }
        }
    }
}
