//! What the adapters that speak HTTP have in common: how a request is made, sent, and what its reply says.
//!
//! In reading order: [`table`] holds the shape of an allow-list, from whose rows alone requests are made; [`client`] sends
//! them through a [`transport`], of which `network` is the real one; [`reply`] says what a status, a media type and a
//! `Retry-After` mean; [`json`] takes a body apart. What differs between products is their [`Dialect`], and what few have,
//! their [`particulars`].
//!
//! **Architecture invariant:** no module but `network` names the HTTP client.

pub(super) mod client;
pub(super) mod json;
mod network;
pub(super) mod particulars;
pub(super) mod reply;
pub(super) mod table;
pub mod transport;

pub use table::Row;

use super::Settings;
use super::guard::{Allowed, Endpoint};
use super::limits::Limits;
use super::{Refused, Surroundings};
use client::{Reader, Writer};
use network::Network;
use particulars::Particulars;
use reply::Media;
use std::sync::Arc;
use transport::Seal;
use transport::Transport;

/// How the token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// `Authorization: Bearer TOKEN`
    Bearer,
    /// `Authorization: Basic TOKEN`, where the token is a user's name and password in Base64.
    Basic,
    /// A header of the product's own, in lower case, that holds the token alone.
    Header(&'static str),
}

/// How a product speaks, where products differ.
pub(super) struct Dialect {
    /// What it is asked to answer in.
    pub(super) accept: &'static str,
    /// The media type of a PATCH.
    pub(super) patch: &'static str,
    /// The media type of a POST.
    pub(super) post: &'static str,
    /// The media type of its own errors.
    pub(super) errors: Media,
    /// Whether a body of that type is an error of its own, and not of something on the way.
    pub(super) is_own: fn(&[u8]) -> bool,
    /// How it wants to be shown the token.
    pub(super) token: Shown,
    /// Whether a reply's status says all there is to say: its body is then not read, whatever it is.
    pub(super) says_all_in_status: bool,
    /// Whether a refusal's body says more than its status, of whatever type it is.
    pub(super) refuses_in_words: bool,
    /// The status that a reply with this body stands for: of a product that says in the body what went wrong.
    pub(super) really: fn(u16, &[u8]) -> u16,
}

impl Dialect {
    /// JSON in both directions, and a status that means what it says.
    pub(super) const PLAIN: Dialect = Dialect {
        accept: "application/json",
        patch: "application/json",
        post: "application/json",
        errors: Media::Json,
        is_own: json::is_object,
        token: Shown::Bearer,
        says_all_in_status: false,
        refuses_in_words: false,
        really: |status, _| status,
    };
}

/// What reads and what writes, over the network. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(
    settings: &Settings,
    endpoint: &str,
    dialect: &'static Dialect,
    surroundings: Surroundings,
) -> Result<(Reader, Writer, Arc<Limits>), Refused> {
    connect_as(settings, endpoint, dialect, Particulars::default(), surroundings)
}

/// Likewise, with particulars.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect_as(
    settings: &Settings,
    endpoint: &str,
    dialect: &'static Dialect,
    particulars: Particulars,
    surroundings: Surroundings,
) -> Result<(Reader, Writer, Arc<Limits>), Refused> {
    let Surroundings { limits, lookup } = surroundings;
    let endpoint = checked(settings, endpoint)?;
    let headers = client::headers(settings, dialect)?;
    let network = Arc::new(Network::new(settings, lookup, &endpoint)?);
    let (reader, writer) = client::build(network, endpoint, headers, (dialect, particulars), limits.clone());
    Ok((reader, writer, limits))
}

/// What only reads, where each request is sealed. `base` is the checked endpoint, with what stands before every path.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect_sealed(
    settings: &Settings,
    endpoint: &str,
    dialect: &'static Dialect,
    seal: Arc<dyn Seal>,
    surroundings: Surroundings,
) -> Result<(Reader, Arc<Limits>), Refused> {
    let Surroundings { limits, lookup } = surroundings;
    let endpoint = checked(settings, endpoint)?;
    let mut headers = client::headers(settings, dialect)?;
    headers.remove(http::header::AUTHORIZATION);
    let network = Arc::new(Network::new(settings, lookup, &endpoint)?);
    let particulars = Particulars { seal: Some(seal), ..Particulars::default() };
    let (reader, _) = client::build(network, endpoint, headers, (dialect, particulars), limits.clone());
    Ok((reader, limits))
}

/// As [`connect`], over somebody else's transport.
///
/// # Errors
/// The endpoint is refused, the token is none, or a limit is none.
pub(super) fn connect_over(
    settings: &Settings,
    endpoint: &str,
    dialect: &'static Dialect,
    transport: Arc<dyn Transport>,
) -> Result<(Reader, Writer, Arc<Limits>), Refused> {
    settings.limits.check()?;
    let limits = Arc::new(Limits::new(settings.limits, settings.meter.clone()));
    let endpoint = checked(settings, endpoint)?;
    let headers = client::headers(settings, dialect)?;
    let (reader, writer) =
        client::build(transport, endpoint, headers, (dialect, Particulars::default()), limits.clone());
    Ok((reader, writer, limits))
}

fn checked(settings: &Settings, endpoint: &str) -> Result<Endpoint, Refused> {
    let allowed = Allowed { plaintext: settings.allow_plaintext, loopback: settings.allow_loopback };
    Ok(Endpoint::parse(endpoint, allowed)?)
}
