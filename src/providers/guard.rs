//! Which endpoints are refused, as text and at the moment of connecting.
//!
//! An admin writes endpoints, but a name may later point elsewhere. So the same rule is asked twice: of the text, when
//! the connection is made, and of every address a name resolves to, each time a socket is opened. An HTTP client does
//! not ask its resolver about addresses written as such; these are seen to by the first check.

use async_trait::async_trait;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// Longest endpoint, in bytes.
pub const ENDPOINT_MAX: usize = 1024;

/// Why an endpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Not an absolute `https` URL at all.
    #[error("the endpoint is not a URL: write https://host[:port][/path], at most 1024 characters, without spaces")]
    NotAUrl,
    /// Another scheme.
    #[error("the endpoint must begin with https://")]
    Scheme,
    /// `http://` where the connection does not allow it.
    #[error("the endpoint is plain http: use https, or set allowPlaintext on the connection")]
    Plaintext,
    /// A user name or password.
    #[error("the endpoint holds a user name or password: put the token into a Secret and name it in tokenSecretRef")]
    UserInfo,
    /// A query or a fragment.
    #[error("the endpoint holds a query or fragment: write it without")]
    Query,
    /// An address on the local link, where cloud machines find their credentials.
    #[error("the endpoint is a link-local or metadata address: name the system itself")]
    LinkLocal,
    /// This machine.
    #[error("the endpoint is the operator's own machine: name the system itself")]
    Loopback,
    /// No address of one machine.
    #[error("the endpoint is an unspecified, broadcast or multicast address: name the system itself")]
    NotAHost,
}

/// What a connection may do that others may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `http://`.
    pub plaintext: bool,
    /// The operator's own machine.
    pub loopback: bool,
}

/// An endpoint that passed. Holds no user information, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    encrypted: bool,
}

impl Endpoint {
    /// Checks an endpoint as it is written.
    ///
    /// Spellings of addresses (decimal, octal, hexadecimal, full-width) are seen through: the URL standard turns them
    /// all into one.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(text: &str, allowed: Allowed) -> Result<Endpoint, Refusal> {
        // The URL standard drops control characters and takes backslashes for slashes: what a person reads and what
        // is dialled could differ.
        if text.len() > ENDPOINT_MAX || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(Refusal::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| Refusal::NotAUrl)?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" if allowed.plaintext => false,
            "http" => return Err(Refusal::Plaintext),
            _ => return Err(Refusal::Scheme),
        };
        if !text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://")) {
            return Err(Refusal::NotAUrl);
        }
        // An empty user name leaves no trace in the parsed URL, hence the text.
        let authority = text.split('/').nth(2).unwrap_or_default();
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Refusal::Query);
        }
        match url.host().ok_or(Refusal::NotAUrl)? {
            Host::Ipv4(address) => check(address.into(), allowed.loopback)?,
            Host::Ipv6(address) => check(address.into(), allowed.loopback)?,
            Host::Domain(name) => check_name(name, allowed.loopback)?,
        }
        Ok(Endpoint { base: url.as_str().trim_end_matches('/').to_owned(), encrypted })
    }

    /// The endpoint without a slash at its end: a path of the contract may follow.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

/// Names that stand for this machine or for a metadata service wherever they are resolved; refused before any look-up
/// so that the admin reads a reason rather than a failure.
fn check_name(name: &str, loopback: bool) -> Result<(), Refusal> {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or_default();
    if last == "localhost" || name == "localhost.localdomain" {
        return if loopback { Ok(()) } else { Err(Refusal::Loopback) };
    }
    if matches!(name, "metadata.google.internal" | "metadata.goog" | "instance-data" | "instance-data.ec2.internal") {
        return Err(Refusal::LinkLocal);
    }
    if name.is_empty() { Err(Refusal::NotAUrl) } else { Ok(()) }
}

/// The rule for one address.
///
/// # Errors
/// It is one the operator has no business with.
pub fn check(address: IpAddr, loopback: bool) -> Result<(), Refusal> {
    match address {
        IpAddr::V4(address) => check_v4(address, loopback),
        IpAddr::V6(address) => check_v6(address, loopback),
    }
}

fn check_v4(address: Ipv4Addr, loopback: bool) -> Result<(), Refusal> {
    match address.octets() {
        [127, ..] if loopback => Ok(()),
        [127, ..] => Err(Refusal::Loopback),
        // The whole of 0/8 means "this network"; many systems connect to themselves.
        [0, ..] | [255, 255, 255, 255] | [224..=239, ..] => Err(Refusal::NotAHost),
        // Link-local; then the metadata services that are elsewhere: Alibaba, Oracle's old one, Azure's wire server.
        [169, 254, ..] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Err(Refusal::LinkLocal),
        _ => Ok(()),
    }
}

fn check_v6(address: Ipv6Addr, loopback: bool) -> Result<(), Refusal> {
    /// Metadata services: Amazon, Google.
    const METADATA: [Ipv6Addr; 2] =
        [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
    let low = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err(Refusal::NotAHost),
        [0, 0, 0, 0, 0, 0, 0, 1] if loopback => Ok(()),
        [0, 0, 0, 0, 0, 0, 0, 1] => Err(Refusal::Loopback),
        // Version 4 in disguise: mapped, compatible and translated (`::ffff:a.b.c.d`, `::a.b.c.d`, `::ffff:0:a.b.c.d`).
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low_] | [0, 0, 0, 0, 0, 0xffff, high, low_] => {
            check_v4(low(high, low_), loopback)
        }
        // NAT64, by the well-known prefix and by the local one; both may carry any version 4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low_] | [0x64, 0xff9b, 1, _, _, _, high, low_] => {
            check_v4(low(high, low_), loopback)
        }
        // 6to4 has the address in front, Teredo at the end with its bits turned over.
        [0x2002, high, low_, ..] => check_v4(low(high, low_), loopback),
        [0x2001, 0, .., high, low_] => check_v4(low(!high, !low_), loopback),
        [0xfe80..=0xfebf, ..] => Err(Refusal::LinkLocal),
        [0xff00..=0xffff, ..] => Err(Refusal::NotAHost),
        _ if METADATA.contains(&address) => Err(Refusal::LinkLocal),
        _ => Ok(()),
    }
}

/// Turns a name into addresses.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// All addresses of a name.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The addresses of a name that may be dialled. Refused ones are left out: a name that has good ones too works, and
/// one that has none does not.
///
/// # Errors
/// The name has no address, or only refused ones; the error's inner value is then a [`Refusal`].
pub async fn resolve(lookup: &dyn Lookup, name: &str, loopback: bool) -> io::Result<Vec<IpAddr>> {
    let found = lookup.lookup(name).await?;
    let mut refusal = None;
    let good: Vec<IpAddr> = found
        .into_iter()
        .filter(|address| match check(*address, loopback) {
            Ok(()) => true,
            Err(why) => {
                refusal = Some(why);
                false
            }
        })
        .collect();
    match (good.is_empty(), refusal) {
        (false, _) => Ok(good),
        (true, Some(why)) => {
            tracing::warn!(name, %why, "a name resolves to refused addresses only; not connecting");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
        (true, None) => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests;
