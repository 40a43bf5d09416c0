//! A bucket as evidence archive: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.
//!
//! A bundle is a folder. Its object `manifest.json` names the release, the review version, the artifacts and the place that
//! people are shown, and **the SHA-256 of its bytes is the evidence's digest**: it is worked out here, whatever the store
//! says, and since the manifest holds each artifact's digest, it stands for all of them. Each artifact is asked for by
//! itself: one that is not there, has another size or another checksum takes its kind out of the bundle.
//!
//! **What a look costs:** one request, and one for each artifact, of which there are at most 32; all of them within one
//! timeout and in one place of the connection's limits. A bucket's listing would cost one, and tells neither checksums nor
//! whether objects may be read.
//!
//! **Architecture invariant:** nothing here can write: there is a [`Reader`] and no writer.

#[cfg(test)]
mod fuzz_tests;
mod rows;
mod seal;
mod unfit;
mod wire;

pub use rows::allow_list;

use super::limits::{Entered, Limits};
use super::rest::client::{Raw, Reader};
use super::rest::reply::{Came, Failure, Fate, Media};
use super::rest::table::{Fill, Row};
use super::rest::transport::Seal;
use super::rest::{self, Dialect};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::ids::{System, is_bundle};
use crate::closure::snapshot::{Artifact, BundleRecord, Observation, Revision, Trouble, Unreachable};
use crate::products::ObjectStore;
use crate::products::object_store::{ACCESS_KEY, SAS, SECRET_KEY, SESSION_TOKEN};
use crate::roles::{Abilities, Archive, Connected, Permit, Probe, Prober, Subject};
use async_trait::async_trait;
use seal::{SharedAccess, Signature};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use unfit::Kind;
use wire::Part;

/// A bundle's manifest, below the bundle.
const MANIFEST: &str = "manifest.json";
/// The name of a bundle that no closure has, for probes.
const PROBE: &str = "releaseclosure-probe";

/// Objects are of any type, and are asked for as they are.
static DIALECT: Dialect =
    Dialect { accept: "*/*", errors: Media::Other, is_own: |body| wire::words(body).is_some(), ..Dialect::PLAIN };

/// Makes the connection's one role. Sends nothing.
///
/// # Errors
/// The endpoint is refused, a Secret does not hold what it should, or not exactly one store is given.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::ObjectStore(store) = &settings.product else { return Err(Refused::NotSupported) };
    let Place { kind, base, prefix, seal, require_lock } = place(store, settings)?;
    let (reader, gate) = rest::connect_sealed(settings, &base, &DIALECT, seal, surroundings)?;
    Ok(roles(Bucket { reader, kind, prefix, require_lock, plaintext_allowed: settings.allow_plaintext }, gate))
}

fn roles(bucket: Bucket, gate: Arc<Limits>) -> Connected {
    let bucket = Arc::new(bucket);
    Connected { archive: Some(bucket.clone()), ..Connected::without_roles(gate, bucket) }
}

/// Where the bucket is, and how it is told who asks.
struct Place {
    kind: Kind,
    /// What stands before each path: the store and the bucket.
    base: String,
    prefix: String,
    seal: Arc<dyn Seal>,
    require_lock: bool,
}

fn place(store: &ObjectStore, settings: &Settings) -> Result<Place, Refused> {
    let no_name = Refused::Setting { setting: "objectStore.s3.pathStyle", rule: "true where the endpoint is no name" };
    let base = || store.base().ok_or(no_name);
    let secret = |what| settings.secrets.get(what);
    let signature = |region: &str, checksums| -> Result<Arc<dyn Seal>, Refused> {
        let session_token = settings.secrets.get_if_given(SESSION_TOKEN)?;
        let (access_key, secret_key) = (secret(ACCESS_KEY)?, secret(SECRET_KEY)?);
        Ok(Arc::new(Signature { access_key, secret_key, session_token, region: region.to_owned(), checksums }))
    };
    match store {
        ObjectStore { s3: Some(s3), gcs: None, azure: None } => {
            let (prefix, require_lock) = (s3.prefix.clone(), s3.require_object_lock);
            Ok(Place { kind: Kind::S3, base: base()?, prefix, seal: signature(&s3.region, true)?, require_lock })
        }
        ObjectStore { s3: None, gcs: Some(gcs), azure: None } => {
            let prefix = gcs.prefix.clone();
            // Its signatures name no region.
            Ok(Place { kind: Kind::Gcs, base: base()?, prefix, seal: signature("auto", false)?, require_lock: false })
        }
        ObjectStore { s3: None, gcs: None, azure: Some(azure) } => {
            let prefix = azure.prefix.clone();
            let seal = Arc::new(SharedAccess::new(&secret(SAS)?));
            Ok(Place { kind: Kind::Azure, base: base()?, prefix, seal, require_lock: false })
        }
        ObjectStore { .. } => Err(Refused::Setting { setting: "objectStore", rule: "one of s3, gcs and azure" }),
    }
}

/// The bucket, of which nothing is ever changed.
struct Bucket {
    reader: Reader,
    kind: Kind,
    prefix: String,
    require_lock: bool,
    plaintext_allowed: bool,
}

/// What a store says of an artifact.
enum Presence {
    AsPromised,
    Otherwise,
}

#[async_trait]
impl Archive for Bucket {
    async fn bundle(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<BundleRecord> {
        let not_understood = || Observation::Unreachable(Trouble::NotUnderstood.into());
        let Some(name) = subject.record.filter(|name| is_bundle(name)) else { return not_understood() };
        let mut entered = match self.reader.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return Observation::Unreachable(held_back),
        };
        let Some(request) = self.request(&rows::MANIFEST, "manifest", name, MANIFEST) else { return not_understood() };
        let understand = |raw: Raw| match raw.status {
            200 => wire::manifest(&raw.body)
                .map_or(Came::Failure(Failure::unknown(Trouble::NotUnderstood)), |manifest| {
                    Came::Success((manifest, digest(&raw.body), wire::revision(&raw)))
                }),
            _ => unfit::refusal(&raw),
        };
        let (manifest, digest, revision) = match self.reader.ask(&mut entered, request, understand).await {
            Came::Success(found) => found,
            Came::Problem(_) => return Observation::Missing,
            Came::Failure(failure) => return Observation::Unreachable(failure.why),
        };
        let mut damaged = BTreeSet::new();
        for part in &manifest.artifacts {
            match self.presence(&mut entered, name, part).await {
                Ok(Presence::AsPromised) => {}
                Ok(Presence::Otherwise) => {
                    damaged.insert(part.kind.clone());
                }
                Err(why) => return Observation::Unreachable(why),
            }
        }
        let whole = manifest.artifacts.into_iter().filter(|part| !damaged.contains(&part.kind));
        let record = BundleRecord {
            bundle: manifest.bundle,
            digest,
            release_id: manifest.release_id,
            review_version: manifest.review_version,
            artifacts: whole.map(|Part { kind, digest, .. }| Artifact { kind, digest: Some(digest) }).collect(),
            url: manifest.url,
            plaintext_allowed: self.plaintext_allowed,
        };
        Observation::Found(record, Revision(revision))
    }
}

impl Bucket {
    /// A request for an object of a bundle.
    fn request(&self, row: &Row, hole: &str, bundle: &str, name: &str) -> Option<rest::table::Request> {
        row.request(&[(hole, Fill::Path(&format!("{}{bundle}/{name}", self.prefix)))])
    }

    /// Sees whether an artifact is there, and is the one that the manifest promises.
    async fn presence(&self, entered: &mut Entered<'_>, bundle: &str, part: &Part) -> Result<Presence, Unreachable> {
        let not_understood = || Unreachable::from(Trouble::NotUnderstood);
        let look = self.request(&rows::ARTIFACT, "artifact", bundle, &part.name).ok_or_else(not_understood)?;
        let understand = |raw: Raw| match raw.status {
            200 if wire::is_as_promised(&raw, part) => Came::Success(Presence::AsPromised),
            200 => Came::Success(Presence::Otherwise),
            404 => Came::Problem(404),
            _ => unfit::refusal(&raw),
        };
        match self.reader.ask(entered, look, understand).await {
            Came::Success(presence) => return Ok(presence),
            Came::Problem(_) => {}
            Came::Failure(failure) => return Err(failure.why),
        }
        // Such a reply has no body, so that anything on the way could have made it: it is asked for the store's own words.
        let why = self.request(&rows::MANIFEST, "manifest", bundle, &part.name).ok_or_else(not_understood)?;
        match self.reader.ask::<()>(entered, why, |raw| unfit::refusal(&raw)).await {
            Came::Problem(_) => Ok(Presence::Otherwise),
            Came::Success(()) => Err(not_understood()),
            Came::Failure(failure) => Err(failure.why),
        }
    }

    /// One request of a probe: what it shows of the settings, else whether it was answered as expected.
    async fn look(&self, request: Option<rest::table::Request>, expected: fn(&Raw) -> bool) -> Result<(), Probe> {
        let Some(request) = request else { return Err(Probe::Failed(Trouble::NotUnderstood.into())) };
        let mut found = None;
        let understand = |raw: Raw| {
            if expected(&raw) {
                return Came::Success(());
            }
            found = unfit::unfit(self.kind, &raw);
            unfit::refusal(&raw)
        };
        let came = self.reader.ask_as_probe(request, understand).await;
        match (found, came) {
            (Some(found), _) => Err(found),
            (None, Came::Success(())) => Ok(()),
            (None, Came::Problem(_)) => Err(Probe::Failed(Trouble::NotUnderstood.into())),
            (None, Came::Failure(Failure { fate: Fate::NotSent | Fate::Said(..) | Fate::Unknown, why })) => {
                Err(Probe::Failed(why))
            }
        }
    }
}

fn digest(body: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}

#[async_trait]
impl Prober for Bucket {
    async fn probe(&self, _system: System) -> Probe {
        // Whoever may not list a bucket is told of every object that is not there that it is forbidden. Then nobody could
        // tell that a bundle is missing.
        let absent = |raw: &Raw| raw.status == 200 || matches!(unfit::refusal::<()>(raw), Came::Problem(404));
        if let Err(found) = self.look(self.request(&rows::MANIFEST, "manifest", PROBE, MANIFEST), absent).await {
            return found;
        }
        if self.require_lock {
            let locked = |raw: &Raw| raw.status == 200 && wire::is_locked(&raw.body);
            if let Err(found) = self.look(rows::OBJECT_LOCK.request(&[]), locked).await {
                return found;
            }
        }
        Probe::Ready
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        (system == System::Archive).then_some(Abilities { carries: Abilities::all_fields(system), ..Abilities::NONE })
    }
}
