//! The parts of a bundle: layers of its manifest, and what refers to it.

use super::rest::client::Raw;
use super::rest::table::{Fill, Request};
use super::unfit;
use super::wire::{self, Annotated, EMPTY, Layer, MANIFEST, Manifest, Referrer, hex_of};
use super::{Came, Entered, Failure, Registry, not_understood, rows};
use crate::closure::snapshot::{Artifact, Trouble, Unreachable};
use crate::products::oci::Parts;
use std::collections::BTreeMap;

/// Most contents of one bundle, and most referrers that are looked at: each costs a request per look.
const CONTENTS_MAX: usize = 32;
/// Most pages of a list of referrers.
const PAGES_MAX: usize = 8;
/// Longest name of a kind, in bytes: the longest that a playbook can ask for.
const KIND_MAX: usize = 128;

/// A part, and the contents that it is made of: each digest with its size.
struct Part {
    artifact: Artifact,
    contents: Vec<(String, u64)>,
}

/// Referrers, and where their list goes on.
type Page = (Vec<Referrer>, Option<String>);

impl Registry {
    /// The parts that are there, whole.
    pub(super) async fn artifacts(
        &self,
        entered: &mut Entered<'_>,
        manifest: &Manifest,
    ) -> Result<Vec<Artifact>, Unreachable> {
        let mut parts = Vec::new();
        if self.oci.parts.contains(&Parts::Layers) {
            parts.extend(manifest.layers.iter().filter_map(|layer| self.layer(layer)));
        }
        if self.oci.parts.contains(&Parts::Referrers) {
            parts.extend(self.referring(entered, &manifest.digest).await?);
        }
        let mut contents: BTreeMap<(String, u64), bool> = BTreeMap::new();
        for part in &parts {
            contents.extend(part.contents.iter().map(|content| (content.clone(), true)));
        }
        if contents.len() > CONTENTS_MAX {
            return Err(not_understood());
        }
        for ((digest, size), there) in &mut contents {
            *there = self.is_there(entered, digest, *size).await?;
        }
        parts.retain(|part| part.contents.iter().all(|content| contents.get(content).copied().unwrap_or_default()));
        Ok(parts.into_iter().map(|part| part.artifact).collect())
    }

    /// Which kind a part is of; none where it is no part.
    fn kind(&self, media_type: &str, annotations: &Annotated) -> Option<String> {
        let kind = if self.oci.kinds.is_empty() {
            annotations.get(&self.oci.annotations.kind)
        } else {
            self.oci.kinds.iter().find(|known| known.media_type == media_type).map(|known| &known.kind)
        };
        kind.filter(|kind| (1..=KIND_MAX).contains(&kind.len())).cloned()
    }

    fn layer(&self, layer: &Layer) -> Option<Part> {
        let kind = self.kind(&layer.media_type, &layer.annotations)?;
        let artifact = Artifact { kind, digest: Some(layer.digest.clone()) };
        Some(Part { artifact, contents: vec![(layer.digest.clone(), layer.size)] })
    }

    /// What refers to the bundle with this digest and is a part of it.
    async fn referring(&self, entered: &mut Entered<'_>, digest: &str) -> Result<Vec<Part>, Unreachable> {
        let mut listed = self.listed(entered, digest).await?;
        listed.retain(|referrer| referrer.media_type == MANIFEST && self.may_be_a_part(referrer));
        if listed.len() > CONTENTS_MAX {
            return Err(not_understood());
        }
        // A registry may list them in any order.
        listed.sort_by(|one, other| one.digest.cmp(&other.digest));
        listed.dedup_by(|one, other| one.digest == other.digest);
        let mut parts = Vec::new();
        for referrer in &listed {
            let hex = hex_of(&referrer.digest).ok_or_else(not_understood)?;
            let record = ("manifest", Fill::Text(hex));
            let request = self.request(&rows::MANIFEST, record, record)?;
            let promised = |raw: &Raw| {
                let manifest = wire::manifest(raw)?;
                (manifest.digest == referrer.digest && raw.body.len() as u64 == referrer.size).then_some(manifest)
            };
            // One that is listed and not there is no part.
            let Some(manifest) = self.read(entered, request, promised).await? else { continue };
            // A list can hold anything: what a manifest refers to, it says itself.
            if manifest.subject.as_deref() != Some(digest) {
                continue;
            }
            let Some(kind) = self.kind(&manifest.artifact_type, &manifest.annotations) else { continue };
            let artifact = Artifact { kind, digest: Some(manifest.digest) };
            let contents = manifest.layers.into_iter().map(|layer| (layer.digest, layer.size)).collect();
            parts.push(Part { artifact, contents });
        }
        Ok(parts)
    }

    /// Whether something listed is worth a look. A registry that knows no artifact types lists the configuration's.
    fn may_be_a_part(&self, referrer: &Referrer) -> bool {
        let kinds = &self.oci.kinds;
        let listed = referrer.artifact_type.as_deref().filter(|listed| !matches!(*listed, "" | EMPTY));
        kinds.is_empty() || listed.is_none_or(|listed| kinds.iter().any(|known| known.media_type == listed))
    }

    /// Everything that is said to refer to the bundle.
    async fn listed(&self, entered: &mut Entered<'_>, digest: &str) -> Result<Vec<Referrer>, Unreachable> {
        let hex = hex_of(digest).ok_or_else(not_understood)?;
        if let Some(listed) = self.referrers(entered, hex).await? {
            return Ok(listed);
        }
        // A registry without referrers says 404, and has no words of its own for that. One 404 may be anybody's.
        if let Some(listed) = self.referrers(entered, hex).await? {
            return Ok(listed);
        }
        let listed = self.tagged(entered, &format!("sha256-{hex}"), wire::referrers).await?;
        Ok(listed.unwrap_or_default())
    }

    /// What the registry's list says, all pages of it; none where it has no such list.
    async fn referrers(&self, entered: &mut Entered<'_>, hex: &str) -> Result<Option<Vec<Referrer>>, Unreachable> {
        let path = format!("/v2/{}/referrers/sha256:{hex}", self.oci.repository);
        let record = ("manifest", Fill::Text(hex));
        let mut request = match &*self.oci.kinds {
            // Whether the registry takes the hint is its own matter: what it lists is looked at all the same.
            [only] => self.request(&rows::REFERRERS_OF, record, ("type", Fill::Text(&only.media_type)))?,
            _ => self.request(&rows::REFERRERS, record, record)?,
        };
        let mut all = Vec::new();
        for page in 0..PAGES_MAX {
            let Some((listed, next)) = self.page(entered, request, &path).await? else {
                return if page == 0 { Ok(None) } else { Err(not_understood()) };
            };
            all.extend(listed);
            let Some(next) = next else { return Ok(Some(all)) };
            request = self.request(&rows::REFERRERS_PAGE, record, ("page", Fill::Query(&next)))?;
        }
        Err(not_understood())
    }

    async fn page(&self, entered: &mut Entered<'_>, request: Request, path: &str) -> Result<Option<Page>, Unreachable> {
        let understand = |raw: Raw| match raw.status {
            200 => match (wire::referrers(&raw), wire::next_page(&raw, path)) {
                (Some(listed), Ok(next)) => Came::Success((listed, next)),
                _ => Came::Failure(Failure::unknown(Trouble::NotUnderstood)),
            },
            404 => Came::Problem(404),
            _ => unfit::refusal(&raw),
        };
        match self.reader.ask(entered, request, understand).await {
            Came::Success(page) => Ok(Some(page)),
            Came::Problem(_) => Ok(None),
            Came::Failure(failure) => Err(failure.why),
        }
    }

    /// Whether a content is there. A registry keeps contents under their digests, so that one of another size is no answer.
    async fn is_there(&self, entered: &mut Entered<'_>, digest: &str, size: u64) -> Result<bool, Unreachable> {
        let hex = hex_of(digest).ok_or_else(not_understood)?;
        let record = ("blob", Fill::Text(hex));
        let understand = |raw: Raw| match raw.status {
            200 if wire::is_as_promised(&raw, digest, size) => Came::Success(()),
            // It has found the content, and sends whoever wants it to its store. Nobody goes there.
            307 if wire::leads_to_a_store(&raw) => Came::Success(()),
            404 => Came::Problem(404),
            _ => unfit::refusal(&raw),
        };
        match self.reader.ask(entered, self.request(&rows::BLOB, record, record)?, understand).await {
            Came::Success(()) => return Ok(true),
            Came::Problem(_) => {}
            Came::Failure(failure) => return Err(failure.why),
        }
        // Such a reply has no body, so that anything on the way could have made it: it is asked for the registry's own words.
        let why = self.request(&rows::NO_BLOB, record, record)?;
        match self.read(entered, why, |_| None::<()>).await? {
            None => Ok(false),
            Some(()) => Err(not_understood()),
        }
    }
}
