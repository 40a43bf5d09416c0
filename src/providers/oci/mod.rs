//! A repository of an OCI registry as evidence archive: each bundle is an artifact with a tag.
//!
//! **The digest of the bundle's manifest is the evidence's digest**: it is worked out here from the manifest's bytes, whatever the
//! registry says. Annotations of the manifest name the release, the review version and the place that people are shown.
//! Its parts are layers of it, which its digest stands for; or referrers, artifacts of their own whose subject it is, which can be
//! added later. Each manifest that is read is compared with the digest by which it was asked for; of each part's content it is asked
//! whether it is there.
//!
//! **What a look costs:** one request for the manifest; one for each content, of which there are at most 32; where parts are referrers,
//! one for each page of their list and one for each of their manifests. A registry without referrers has them in a tag, and is asked
//! two times more. All of them within one timeout and in one place of the connection's limits.
//!
//! **Architecture invariant:** nothing here can write: there is a [`Reader`] and no writer.

#[cfg(test)]
mod fuzz_tests;
mod parts;
mod rows;
mod tokens;
mod unfit;
mod wire;

pub use rows::allow_list;

use super::limits::{Entered, Limits};
use super::rest::client::{self, Raw, Reader};
use super::rest::particulars::Particulars;
use super::rest::reply::{Came, Failure, Media};
use super::rest::table::{Fill, Request};
use super::rest::{self, Dialect, Shown};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::ids::{System, is_bundle, is_id};
use crate::closure::snapshot::{BundleRecord, Observation, Revision, Trouble, Unreachable};
use crate::products::Oci;
use crate::products::oci::{PASSWORD, USERNAME};
use crate::roles::{Abilities, Archive, Connected, Permit, Probe, Prober, Subject};
use async_trait::async_trait;
use std::sync::Arc;
use tokens::Tokens;
use unfit::Asks;
use wire::Manifest;

/// The tag of a bundle that no closure has, for probes.
const PROBE: &str = "releaseclosure-probe";
/// Longest address that people are shown, in bytes.
const URL_MAX: usize = 2048;

/// Manifests and indexes of every kind are asked for, so that one of a wrong kind is seen instead of being told to be missing.
static DIALECT: Dialect = Dialect {
    accept: "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
             application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json, application/json, */*;q=0.1",
    errors: Media::Other,
    is_own: |body| wire::code(body).is_some(),
    token: Shown::Basic,
    ..Dialect::PLAIN
};

/// Makes the connection's one role. Sends nothing.
///
/// # Errors
/// An endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Oci(oci) = &settings.product else { return Err(Refused::NotSupported) };
    let user = settings.secrets.get_if_given(USERNAME)?.zip(settings.secrets.get_if_given(PASSWORD)?);
    let asks = if user.is_some() { Asks::User } else { Asks::Nobody };
    let basic = user.map(|(username, password)| tokens::basic(&username, &password)).transpose()?;
    let Surroundings { limits, lookup } = surroundings;
    let on_the_way = || Surroundings { limits: limits.clone(), lookup: lookup.clone() };
    let shown = |token| Settings { token, ..settings.clone() };
    let (settings, tokens) = match &oci.token_endpoint {
        None => (shown(basic), None),
        Some(realm) => {
            let basic = basic.map(|basic| client::basic(&basic)).transpose()?;
            let (way, ..) = rest::connect(&shown(None), realm, &Dialect::PLAIN, on_the_way())
                .map_err(|refused| in_token_endpoint(&refused).unwrap_or(refused))?;
            (shown(None), Some(Arc::new(Tokens::new(way, realm, &oci.repository, basic))))
        }
    };
    let credentials = tokens.clone().map(|tokens| tokens as Arc<dyn rest::particulars::Credentials>);
    let particulars = Particulars { credentials, ..Particulars::default() };
    let (reader, _, gate) = rest::connect_as(&settings, &oci.endpoint, &DIALECT, particulars, on_the_way())?;
    let plaintext_allowed = settings.allow_plaintext;
    Ok(roles(Registry { reader, oci: (**oci).clone(), asks, tokens, plaintext_allowed }, gate))
}

/// What is wrong with the token endpoint: the message of a refusal speaks of "the endpoint", of which there are two.
fn in_token_endpoint(refused: &Refused) -> Option<Refused> {
    let rule = "https://, a host that is neither this machine nor on the local link, and a path without query";
    matches!(refused, Refused::Endpoint(_)).then_some(Refused::Setting { setting: "oci.tokenEndpoint", rule })
}

fn roles(registry: Registry, gate: Arc<Limits>) -> Connected {
    let registry = Arc::new(registry);
    Connected { archive: Some(registry.clone()), ..Connected::without_roles(gate, registry) }
}

/// The repository, of which nothing is ever changed.
struct Registry {
    reader: Reader,
    oci: Oci,
    asks: Asks,
    tokens: Option<Arc<Tokens>>,
    plaintext_allowed: bool,
}

/// Nothing that can be used.
fn not_understood() -> Unreachable {
    Trouble::NotUnderstood.into()
}

#[async_trait]
impl Archive for Registry {
    async fn bundle(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<BundleRecord> {
        let Some(name) = subject.record.filter(|name| is_bundle(name)) else {
            return Observation::Unreachable(not_understood());
        };
        // What has no tag cannot be there.
        let Some(tag) = self.oci.tag(name) else { return Observation::Missing };
        let looked = async {
            let mut entered = self.reader.enter(held).await?;
            let Some(manifest) = self.tagged(&mut entered, &tag, wire::manifest).await? else { return Ok(None) };
            let artifacts = self.artifacts(&mut entered, &manifest).await?;
            let digest = manifest.digest.clone();
            let record = self.record(manifest).ok_or_else(not_understood)?;
            Ok(Some((BundleRecord { artifacts, ..record }, Revision(digest))))
        };
        match looked.await {
            Ok(Some((record, revision))) => Observation::Found(record, revision),
            Ok(None) => Observation::Missing,
            Err(why) => Observation::Unreachable(why),
        }
    }
}

impl Registry {
    /// A request of a row, whose first hole is the repository's name.
    fn request(
        &self,
        row: &rest::Row,
        record: (&str, Fill<'_>),
        more: (&str, Fill<'_>),
    ) -> Result<Request, Unreachable> {
        let fills = [record, ("repository", Fill::Path(&self.oci.repository)), more];
        row.request(&fills).ok_or_else(not_understood)
    }

    /// What stands under a tag; none where the registry says that nothing does.
    async fn tagged<T>(
        &self,
        entered: &mut Entered<'_>,
        tag: &str,
        understand: fn(&Raw) -> Option<T>,
    ) -> Result<Option<T>, Unreachable> {
        let record = ("tag", Fill::Text(tag));
        self.read(entered, self.request(&rows::TAG, record, record)?, understand).await
    }

    /// What a request brings; none where the registry says that there is no such thing.
    async fn read<T>(
        &self,
        entered: &mut Entered<'_>,
        request: Request,
        understand: impl FnOnce(&Raw) -> Option<T>,
    ) -> Result<Option<T>, Unreachable> {
        let understand = |raw: Raw| match raw.status {
            200 => understand(&raw).map_or(Came::Failure(Failure::unknown(Trouble::NotUnderstood)), Came::Success),
            _ => unfit::refusal(&raw),
        };
        match self.reader.ask(entered, request, understand).await {
            Came::Success(found) => Ok(Some(found)),
            Came::Problem(_) => Ok(None),
            Came::Failure(failure) => Err(failure.why),
        }
    }

    /// What the annotations of a manifest say of its bundle.
    fn record(&self, manifest: Manifest) -> Option<BundleRecord> {
        let Manifest { digest, mut annotations, .. } = manifest;
        let keys = &self.oci.annotations;
        let mut take = |key: &str| annotations.remove(key);
        let (bundle, release_id) = (take(&keys.bundle)?, take(&keys.release)?);
        let (review_version, url) = (take(&keys.review_version)?, take(&keys.url)?);
        let fits = is_bundle(&bundle) && is_id(&release_id) && is_id(&review_version) && url.len() <= URL_MAX;
        let plaintext_allowed = self.plaintext_allowed;
        let artifacts = Vec::new();
        fits.then_some(BundleRecord { bundle, digest, release_id, review_version, artifacts, url, plaintext_allowed })
    }

    /// One request of a probe: what it shows of the settings, else whether it was answered as expected.
    async fn look(&self, request: Option<Request>, expected: fn(&Raw) -> bool) -> Result<(), Probe> {
        let Some(request) = request else { return Err(Probe::Failed(not_understood())) };
        let mut found = None;
        let understand = |raw: Raw| {
            if expected(&raw) {
                return Came::Success(());
            }
            found = unfit::unfit(self.asks, self.tokens.is_some(), &raw);
            unfit::refusal(&raw)
        };
        let came = self.reader.ask_as_probe(request, understand).await;
        let of_tokens = || self.tokens.as_ref().and_then(|tokens| tokens.unfit());
        match (came, found) {
            (Came::Success(()), _) => Ok(()),
            (_, Some(found)) => Err(found),
            (Came::Problem(_), None) => Err(Probe::Failed(not_understood())),
            (Came::Failure(failure), None) => Err(of_tokens().unwrap_or(Probe::Failed(failure.why))),
        }
    }
}

#[async_trait]
impl Prober for Registry {
    async fn probe(&self, _system: System) -> Probe {
        let repository = ("repository", Fill::Path(&self.oci.repository));
        let tags = rows::TAGS.request(&[repository]);
        if let Err(found) = self.look(tags, |raw| raw.status == 200).await {
            return found;
        }
        // Not every registry that lists tags lets everybody read what is behind them.
        let absent = |raw: &Raw| raw.status == 200 || matches!(unfit::refusal::<()>(raw), Came::Problem(404));
        let manifest = rows::TAG.request(&[("tag", Fill::Text(PROBE)), repository]);
        match self.look(manifest, absent).await {
            Err(found) => found,
            Ok(()) => Probe::Ready,
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        (system == System::Archive).then_some(Abilities { carries: Abilities::all_fields(system), ..Abilities::NONE })
    }
}
