//! NATS JetStream as intake and as review queue.
//!
//! **Intake:** a handoff is the one message of a subject of its own, the prefix and the SHA-256 of the closure key. It is
//! published on the condition that the subject has no message yet, so that a second announcement is refused by the stream for as
//! long as it keeps the first; the window in which the server knows message ids does not matter.
//!
//! **Queue:** an entry is the last message of a subject, as in a key-value bucket. It is cleared by publishing it anew with its
//! state and our marker changed, on the condition that the subject's last message is still the one that was verified.
//!
//! **Events:** for feeds, the messages of a durable consumer, one at a time, each handed out again until it is settled (`events`).
//!
//! **What it costs:** a connection for each request (see `line`). Clearing reads the entry once more, for what else it holds;
//! an announcement that finds one there reads that one, to see whether it is the same.

mod events;
#[cfg(test)]
mod fuzz_tests;
mod line;
mod login;
mod probe;
mod rows;
mod wire;

pub use rows::allow_list;

use super::guard::{Allowed, Endpoint};
use super::limits::{Entered, Limits};
use super::rest::reply::{Came, Failure, Fate};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Verified};
use crate::closure::ids::System;
use crate::closure::ids::is_id;
use crate::closure::snapshot::{Marking, Observation, Progress, QueueRecord, Revision, Trouble};
use crate::products::Nats;
use crate::roles::{
    AnnounceReply, Connected, Events, FollowUp, HaltNotice, HandoffSighting, Intake, Permit, Probe, Prober,
    ReviewQueue, Subject, WriteReply,
};
use async_trait::async_trait;
use line::{Reply, Server, Silence};
use login::Login;
use rows::{Request, Row};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::Url;
use wire::{Fault, Message, Stored};

/// The port of NATS.
const PORT: u16 = 4222;

/// Makes the connection's roles. Sends nothing.
///
/// # Errors
/// The endpoint is refused, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Nats(nats) = &settings.product else { return Err(Refused::NotSupported) };
    let Surroundings { limits, lookup } = surroundings;
    let kept_for = match nats.intake.as_ref().map(crate::products::nats::Announcements::kept_for) {
        Some(Ok(kept_for)) => kept_for,
        Some(Err(_)) => return Err(Refused::Setting { setting: "nats.intake.keptFor", rule: "a duration, as 720h" }),
        None => None,
    };
    let (host, port, encrypted) = endpoint(&nats.endpoint, settings)?;
    let tls = if encrypted { Some(tls(settings, &host)?) } else { None };
    let (login, loopback) = (Login::new(&settings.secrets)?, settings.allow_loopback);
    // As for HTTP: a connection that is not made in half the time is known not to have carried the request.
    let patience = settings.limits.timeout / 2;
    let server = Server { host, port, tls, login, lookup, loopback, patience };
    let system = Arc::new(JetStream { server, limits: limits.clone(), nats: (**nats).clone(), kept_for });
    Ok(Connected {
        queue: nats.queue.is_some().then(|| system.clone() as Arc<dyn ReviewQueue>),
        intake: nats.intake.is_some().then(|| system.clone() as Arc<dyn Intake>),
        events: nats.events.is_some().then(|| system.clone() as Arc<dyn Events>),
        follow_up: nats.intake.is_some().then(|| system.clone() as Arc<dyn FollowUp>),
        ..Connected::without_roles(limits, system)
    })
}

/// Host, port, and whether it is encrypted. What the guard says of an endpoint by HTTP holds here, too.
fn endpoint(text: &str, settings: &Settings) -> Result<(String, u16, bool), Refused> {
    let (encrypted, rest) = match text.split_once("://") {
        Some(("tls", rest)) => (true, rest),
        Some(("nats", rest)) => (false, rest),
        _ => return Err(Refused::Setting { setting: "nats.endpoint", rule: "tls://host or tls://host:port" }),
    };
    let allowed = Allowed { plaintext: settings.allow_plaintext, loopback: settings.allow_loopback };
    let spelled = Endpoint::parse(&format!("{}://{rest}", if encrypted { "https" } else { "http" }), allowed)?;
    let refused = || Refused::Endpoint(super::guard::Refusal::NotAUrl);
    let url = Url::parse(spelled.base()).map_err(|_| refused())?;
    if url.path() != "/" {
        return Err(refused());
    }
    // The usual ports of HTTP leave no trace in the parsed URL.
    let bare = rest.trim_end_matches('/');
    let port = match bare.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !bare.ends_with(']')) {
        Some((_, port)) => port.parse().map_err(|_| refused())?,
        None => PORT,
    };
    Ok((url.host_str().ok_or_else(refused)?.to_owned(), port, encrypted))
}

/// What is believed, and what is shown.
fn tls(settings: &Settings, host: &str) -> Result<(tokio_rustls::TlsConnector, ServerName<'static>), Refused> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Refused::Tls)?;
    let builder = match &settings.ca_pem {
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let added = certificate.map(|certificate| roots.add(certificate));
                added.map_err(|_| Refused::Authorities)?.map_err(|_| Refused::Authorities)?;
            }
            if roots.is_empty() {
                return Err(Refused::Authorities);
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier().map_err(|_| Refused::Tls)?,
    };
    let config = match &settings.client_certificate_pem {
        Some(pem) => {
            let pem = pem.expose_secret().as_bytes();
            let refused = || Refused::ClientCertificate;
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| refused())?;
            builder.with_client_auth_cert(chain.map_err(|_| refused())?, key).map_err(|_| refused())?
        }
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| Refused::Tls)?;
    Ok((Arc::new(config).into(), name))
}

/// A server with JetStream, and the streams of the roles.
struct JetStream {
    server: Server,
    limits: Arc<Limits>,
    nats: Nats,
    kept_for: Option<Duration>,
}

/// The part of an entry's subject that is its id: release and review version, so spelled that neither has a dot.
fn entry_id(release: &str, review_version: &str) -> Option<String> {
    let spelled = |id: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        id.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("={byte:02X}") }).collect()
    };
    let id = format!("{}.{}", spelled(release), spelled(review_version));
    (is_id(release) && is_id(review_version) && is_id(&id)).then_some(id)
}

/// An id that can stand in a subject.
fn is_entry_id(id: &str) -> bool {
    let token = |token: &str| {
        !token.is_empty()
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
    };
    is_id(id) && id.split('.').all(token)
}

fn failure(fate: Fate, trouble: Trouble) -> Failure {
    Failure { fate, why: trouble.into() }
}

fn not_the_contract<T>() -> Came<T> {
    Came::Failure(failure(Fate::Unknown, Trouble::NotUnderstood))
}

impl JetStream {
    /// Publishes one request, understands what came, and lets limits and meter learn from it.
    async fn exchange<T>(
        &self,
        request: Request,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(&Reply) -> Came<T>,
    ) -> (Came<T>, Option<Silence>) {
        // A status in place of a message is an answer of consumers alone.
        let message = |reply: &Reply| if reply.status.is_none() { understand(reply) } else { not_the_contract() };
        self.converse(request, deadline, probe, message).await
    }

    /// The same, with the statuses that a server says in place of a message.
    async fn converse<T>(
        &self,
        request: Request,
        deadline: Instant,
        probe: bool,
        understand: impl FnOnce(&Reply) -> Came<T>,
    ) -> (Came<T>, Option<Silence>) {
        let (about, began) = ((request.verb(), request.record()), Instant::now());
        let span = self.limits.request(request.system(), request.protocol());
        let conversation = self.server.converse(move |inbox| request.into_bytes(inbox));
        let mut silence = None;
        let came = match tokio::time::timeout_at(deadline, conversation).await {
            // Nobody listens to the subject: it reached no one.
            Ok(Ok(Reply { status: Some(503), .. })) => Came::Failure(failure(Fate::NotSent, Trouble::Unavailable)),
            Ok(Ok(reply)) => understand(&reply),
            Ok(Err(why)) => {
                silence = Some(why);
                Came::Failure(match why {
                    Silence::NotSent(trouble) => failure(Fate::NotSent, trouble),
                    Silence::TlsOnly => failure(Fate::NotSent, Trouble::NotUnderstood),
                    Silence::Denied => failure(Fate::Said(403, true), Trouble::Forbidden),
                    Silence::Lost(trouble) => failure(Fate::Unknown, trouble),
                })
            }
            Err(_) => Came::Failure(failure(Fate::Unknown, Trouble::Unavailable)),
        };
        came.tell(span);
        self.limits.learn(about, probe, began, &came);
        (came, silence)
    }

    /// The last message of a subject. A problem is always 404: there is none.
    async fn last(&self, row: &Row, stream: &str, subject: &str, entered: &mut Entered<'_>) -> Came<Message> {
        let body = json!({ "last_by_subj": subject }).to_string().into_bytes();
        let Some(request) = row.request(subject, &[("stream", stream)], body) else { return not_the_contract() };
        if let Err(why) = entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why });
        }
        let understand = |reply: &Reply| match wire::message(&reply.body, subject) {
            Ok(Ok(message)) => Came::Success(message),
            Ok(Err(Fault { err_code: Fault::NO_MESSAGE, .. })) => Came::Problem(404),
            Ok(Err(Fault { code, .. })) => Came::Failure(failure(Fate::Said(code, true), of_code(code))),
            Err(_) => not_the_contract(),
        };
        self.exchange(request, entered.deadline(), false, understand).await.0
    }

    /// Publishes, and waits for the stream's word.
    async fn publish(&self, request: Request, stream: &str, entered: &mut Entered<'_>) -> Came<Stored> {
        if let Err(why) = entered.may_send() {
            return Came::Failure(Failure { fate: Fate::NotSent, why });
        }
        let understand = |reply: &Reply| match wire::stored(&reply.body, stream) {
            // The stream may have begun to store it.
            Ok(Stored::Refused(Fault { code: code @ 500.., .. })) => {
                Came::Failure(failure(Fate::Unknown, of_code(code)))
            }
            Ok(stored) => Came::Success(stored),
            Err(_) => not_the_contract(),
        };
        self.exchange(request, entered.deadline(), false, understand).await.0
    }

    /// Reads an entry, with the message that it stands in.
    async fn read(
        &self,
        id: &str,
        entered: &mut Entered<'_>,
    ) -> Result<(QueueRecord, Message), Observation<QueueRecord>> {
        let not_understood = || Observation::Unreachable(Trouble::NotUnderstood.into());
        let Some(queue) = self.nats.queue.as_ref().filter(|_| is_entry_id(id)) else { return Err(not_understood()) };
        let subject = format!("{}.{id}", queue.subject_prefix);
        match self.last(&rows::ENTRY, &queue.stream, &subject, entered).await {
            Came::Success(message) if message.deleted => Err(Observation::Missing),
            Came::Success(message) => match wire::entry(&message.body, id) {
                Ok(record) => Ok((record, message)),
                Err(_) => Err(not_understood()),
            },
            Came::Problem(_) => Err(Observation::Missing),
            Came::Failure(failure) => Err(Observation::Unreachable(failure.why)),
        }
    }
}

/// JetStream's codes are those of HTTP.
fn of_code(code: u16) -> Trouble {
    if code >= 500 || code == 408 { Trouble::Unavailable } else { Trouble::NotUnderstood }
}

#[async_trait]
impl ReviewQueue for JetStream {
    async fn entry(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<QueueRecord> {
        let spelled = || entry_id(subject.release, subject.review_version);
        let Some(id) = subject.record.map(str::to_owned).or_else(spelled) else {
            return Observation::Unreachable(Trouble::NotUnderstood.into());
        };
        let mut entered = match self.limits.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return Observation::Unreachable(held_back),
        };
        match self.read(&id, &mut entered).await {
            Ok((record, message)) => Observation::Found(record, Revision(message.sequence.to_string())),
            Err(observation) => observation,
        }
    }

    async fn clear(&self, order: Verified, permit: Permit) -> WriteReply<QueueRecord> {
        let (Some(queue), Change::Clear) = (&self.nats.queue, order.change()) else { return WriteReply::Refused };
        let mut entered = match self.limits.enter_with(permit) {
            Ok(entered) => entered,
            Err(held_back) => return WriteReply::NotApplied(held_back),
        };
        let (mut record, message) = match self.read(order.record(), &mut entered).await {
            Ok(read) => read,
            Err(Observation::Missing) => return WriteReply::Gone,
            Err(Observation::Unreachable(why)) => return WriteReply::NotApplied(why),
            Err(_) => return WriteReply::NotApplied(Trouble::NotUnderstood.into()),
        };
        let sequence = message.sequence.to_string();
        if order.revision() != Some(&Revision(sequence.clone())) {
            return WriteReply::Conflict;
        }
        let marker = order.marker();
        let Ok(body) = wire::cleared(&message.body, &marker) else { return WriteReply::Refused };
        let fills = [
            ("prefix", queue.subject_prefix.as_str()),
            ("entry", order.record()),
            ("stream", queue.stream.as_str()),
            ("sequence", sequence.as_str()),
        ];
        let Some(request) = rows::CLEAR.request(order.record(), &fills, body) else { return WriteReply::Refused };
        match self.publish(request, &queue.stream, &mut entered).await {
            Came::Success(Stored::Under(sequence)) => {
                record.state = Progress::Done(wire::CLEARED.to_owned());
                record.marking = Marking::By(marker);
                WriteReply::Answered(record, Revision(sequence.to_string()))
            }
            Came::Success(Stored::Refused(fault)) if fault.is_conflict() => WriteReply::Conflict,
            Came::Success(Stored::Refused(_)) | Came::Problem(_) => WriteReply::Refused,
            Came::Success(Stored::Duplicate) => WriteReply::Unknown(Trouble::NotUnderstood.into()),
            Came::Failure(failure) if failure.nothing_applied() => WriteReply::NotApplied(failure.why),
            Came::Failure(failure) => WriteReply::Unknown(failure.why),
        }
    }
}

#[async_trait]
impl Intake for JetStream {
    async fn handoff(&self, key: &str, held: Option<&Permit>) -> HandoffSighting {
        let Some(intake) = &self.nats.intake else {
            return HandoffSighting::Unreachable(Trouble::NotUnderstood.into());
        };
        let mut entered = match self.limits.enter(held).await {
            Ok(entered) => entered,
            Err(held_back) => return HandoffSighting::Unreachable(held_back),
        };
        let subject = format!("{}.{}", intake.subject_prefix, digest(key));
        match self.last(&rows::HANDOFF, &intake.stream, &subject, &mut entered).await {
            // A subject of a key holds what was announced under that key, and nothing else.
            Came::Success(_) => HandoffSighting::There,
            Came::Problem(_) => HandoffSighting::NotThere,
            Came::Failure(failure) => HandoffSighting::Unreachable(failure.why),
        }
    }

    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let Change::Announce(body) = order.change() else { return AnnounceReply::Refused };
        self.publish_once(&rows::ANNOUNCE, order.key().as_str(), body, permit).await
    }
}

#[async_trait]
impl FollowUp for JetStream {
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply {
        self.publish_once(&rows::HALT, &notice.halt_id, notice, permit).await
    }

    async fn probe(&self) -> Probe {
        Prober::probe(self, System::Intake).await
    }
}

impl JetStream {
    /// Publishes the one message of the subject of a key.
    async fn publish_once(
        &self,
        row: &Row,
        key: &str,
        body: &(impl Serialize + Sync),
        permit: Permit,
    ) -> AnnounceReply {
        let (Some(intake), Ok(text)) = (&self.nats.intake, serde_json::to_vec(body)) else {
            return AnnounceReply::Refused;
        };
        let mut entered = match self.limits.enter_with(permit) {
            Ok(entered) => entered,
            Err(held_back) => return AnnounceReply::NotSent(held_back),
        };
        let digest = digest(key);
        let fills = [
            ("prefix", intake.subject_prefix.as_str()),
            ("digest", digest.as_str()),
            ("stream", intake.stream.as_str()),
            ("key", key),
        ];
        let Some(request) = row.request(key, &fills, text) else { return AnnounceReply::Refused };
        match self.publish(request, &intake.stream, &mut entered).await {
            Came::Success(Stored::Under(_)) => return AnnounceReply::Accepted,
            Came::Success(Stored::Duplicate) => {}
            Came::Success(Stored::Refused(fault)) if fault.is_conflict() => {}
            Came::Success(Stored::Refused(_)) | Came::Problem(_) => return AnnounceReply::Refused,
            Came::Failure(failure) if failure.not_announced() => return AnnounceReply::NotSent(failure.why),
            Came::Failure(failure) => return AnnounceReply::Unknown(failure.why),
        }
        let subject = format!("{}.{digest}", intake.subject_prefix);
        match self.last(&rows::HANDOFF, &intake.stream, &subject, &mut entered).await {
            Came::Success(message) if is_the_same(&message.body, body) => AnnounceReply::AlreadyThere,
            Came::Success(_) => AnnounceReply::Conflict,
            // The stream knows its id, and it was deleted since.
            Came::Problem(_) => AnnounceReply::Unknown(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => AnnounceReply::Unknown(failure.why),
        }
    }
}

fn digest(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

/// Whether what is there is, as JSON, what would be announced.
fn is_the_same(there: &[u8], ours: &impl Serialize) -> bool {
    let there: Option<serde_json::Value> = serde_json::from_slice(there).ok();
    there.is_some() && there == serde_json::to_value(ours).ok()
}
