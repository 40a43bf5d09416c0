//! The transport over the network: one HTTP client per connection, made once.
//!
//! **Guarantees:** no redirect is followed, nothing is sent twice, no proxy is taken from the environment. Each name is
//! resolved through the endpoint guard whenever a socket is opened.
//!
//! **Architecture invariant:** no other module names the HTTP client.

use super::transport::{Body, Incoming, NoReply, Outgoing, Transport};
use crate::closure::snapshot::Trouble;
use crate::providers::guard::{self, Endpoint, Lookup};
use crate::providers::meter::Verb;
use crate::providers::{Refused, Settings};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Identity, Method, Response};
use secrecy::ExposeSecret;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long an unused connection is kept. Shorter than servers commonly wait (five seconds and more): a request on a
/// connection that the other side is just closing is one of which nothing can be known.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Sends over HTTP/1.1, with TLS where the endpoint says so.
pub(super) struct Network(Client);

impl Network {
    /// Makes the client. Sends nothing.
    ///
    /// # Errors
    /// The authorities or the client certificate cannot be used.
    pub(super) fn new(settings: &Settings, lookup: Arc<dyn Lookup>, endpoint: &Endpoint) -> Result<Network, Refused> {
        let mut client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .https_only(endpoint.is_encrypted())
            .dns_resolver(Guarded { lookup, loopback: settings.allow_loopback })
            // A connection that is not made in half the time is known not to have carried the request.
            .connect_timeout(settings.limits.timeout / 2)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(settings.limits.concurrency)
            .tcp_nodelay(true);
        if let Some(pem) = &settings.ca_pem {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|_| Refused::Authorities)?;
            if authorities.is_empty() {
                return Err(Refused::Authorities);
            }
            client = client.tls_certs_only(authorities);
        } else if !endpoint.is_encrypted() {
            // Spares reading the system's authorities, which nothing would be checked against.
            client = client.tls_certs_only([]);
        }
        if let Some(pem) = &settings.client_certificate_pem {
            let identity =
                Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| Refused::ClientCertificate)?;
            client = client.identity(identity);
        }
        client.build().map(Network).map_err(|_| Refused::Tls)
    }
}

/// The resolver of the client: every look-up goes past the guard.
struct Guarded {
    lookup: Arc<dyn Lookup>,
    loopback: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, loopback) = (self.lookup.clone(), self.loopback);
        Box::pin(async move {
            let addresses = guard::resolve(lookup.as_ref(), name.as_str(), loopback).await?;
            // The port is filled in by the client.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: Outgoing) -> Result<Incoming, NoReply> {
        let (verb, address, headers, body) = request.into_parts();
        let method = match verb {
            Verb::Get => Method::GET,
            Verb::Head => Method::HEAD,
            Verb::Patch => Method::PATCH,
            Verb::Post => Method::POST,
        };
        let mut prepared = reqwest::Request::new(method, address);
        *prepared.headers_mut() = headers;
        if !matches!(verb, Verb::Get | Verb::Head) {
            *prepared.body_mut() = Some(body.into());
        }
        let mut reply = match self.0.execute(prepared).await {
            Ok(reply) => reply,
            // Resolving, the guard, the socket and the handshake come before the first byte of the request.
            Err(error) if error.is_connect() => return Err(NoReply::NotSent),
            Err(_) => return Err(NoReply::Unknown),
        };
        let (status, headers) = (reply.status().as_u16(), std::mem::take(reply.headers_mut()));
        Ok(Incoming { status, headers, length: reply.content_length(), body: Box::new(Pieces(reply)) })
    }
}

struct Pieces(Response);

#[async_trait]
impl Body for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        self.0.chunk().await.map_err(|error| cut_off(&error))
    }
}

/// A reset is the network's doing; a body that ends before its length, or is no body, the system's.
fn cut_off(error: &reqwest::Error) -> Trouble {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    Trouble::NotUnderstood
                }
                _ => Trouble::Unavailable,
            };
        }
        source = inner.source();
    }
    Trouble::NotUnderstood
}
