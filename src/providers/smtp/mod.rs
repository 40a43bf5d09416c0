//! Mail, as intake: the handoff is one mail, submitted to one server. Likewise as a channel for follow-ups: a halt is one mail.
//!
//! **What a repeated mail is:** another mail, with the same Message-ID. Some programs show only one of them; nothing promises that,
//! and no server can be asked what it has delivered. So where the answer to a mail was lost, a person is asked.
//!
//! **What is known of its fate:** before the text goes out nothing was sent; the server's answer to the end of the text says
//! whether it has taken the mail (RFC 5321, 4.2.5). Only in between nobody knows.
//!
//! **What may be said to a server** is in [`allow_list`].

mod session;

use super::guard::{Allowed, Endpoint, Lookup};
use super::limits::{Lesson, Limits};
use super::meter::{Class, Verb};
use super::{Product, Refused, Settings, Surroundings};
use crate::closure::decide::{Change, Delivery, HandoffBody, Verified};
use crate::closure::ids::System;
use crate::closure::snapshot::{Trouble, Unreachable};
use crate::products::Smtp;
use crate::products::smtp::Encryption;
use crate::roles::{Abilities, AnnounceReply, Connected, FollowUp, Gate, HaltNotice, Intake, Permit, Probe, Prober};
use crate::spans::{Protocol, Request};
use async_trait::async_trait;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use lettre::{Address, address::Envelope};
use secrecy::ExposeSecret as _;
use session::{Ended, Session, Stage};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::sync::Arc;
use tokio::time::Instant;

/// Every command that is ever said, and what for. A probe says all of them but DATA.
const COMMANDS: &[(&str, &str)] = &[
    ("EHLO", "say who is there"),
    ("STARTTLS", "go on encrypted"),
    ("AUTH", "log in"),
    ("MAIL FROM:<sender>", "begin a mail"),
    ("RCPT TO:<recipient>", "say to whom it goes"),
    ("DATA", "announce the handoff, or tell of a halt: one text"),
    ("RSET", "forget what was begun"),
    ("QUIT", "end the conversation"),
];

/// The whole table, for people to read what the operator is able to say.
#[must_use]
pub fn allow_list() -> &'static [(&'static str, &'static str)] {
    COMMANDS
}

/// Makes the connection's role. Sends nothing.
///
/// # Errors
/// The host is refused, a setting is none, or a Secret does not hold what it should.
pub(super) fn connect(settings: &Settings, surroundings: Surroundings) -> Result<Connected, Refused> {
    let Product::Smtp(smtp) = &settings.product else { return Err(Refused::NotSupported) };
    let Surroundings { limits, lookup } = surroundings;
    if smtp.encryption == Encryption::None && !settings.allow_plaintext {
        let setting = "smtp.encryption";
        return Err(Refused::Setting { setting, rule: "Tls or StartTls, or allowPlaintext must be true" });
    }
    // The guard knows URLs; what it refuses of one is its host.
    let allowed = Allowed { plaintext: settings.allow_plaintext, loopback: settings.allow_loopback };
    Endpoint::parse(&format!("https://{}:{}/", smtp.host, smtp.port()), allowed)?;
    let credentials = match (&smtp.user, &settings.token) {
        (Some(user), Some(password)) => {
            let password = password.expose_secret().trim_ascii().to_owned();
            Some(Credentials::new(user.clone(), password))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let setting = "smtp.passwordSecretRef";
            return Err(Refused::Setting { setting, rule: "given together with smtp.user, or neither" });
        }
    };
    let mut addresses = Vec::with_capacity(smtp.to.len());
    for address in &smtp.to {
        let rule = "a list of mail addresses without display names";
        addresses.push(address.parse::<Address>().map_err(|_| Refused::Setting { setting: "smtp.to", rule })?);
    }
    let rule = "a mail address without a display name";
    let from: Address = smtp.from.parse().map_err(|_| Refused::Setting { setting: "smtp.from", rule })?;
    let tls = match smtp.encryption {
        Encryption::None => None,
        Encryption::Tls | Encryption::StartTls => Some(tls(settings, &smtp.host)?),
    };
    let envelope = Envelope::new(Some(from), addresses)
        .map_err(|_| Refused::Setting { setting: "smtp.to", rule: "at least one address" })?;
    let mail = Arc::new(Mail {
        smtp: (**smtp).clone(),
        envelope,
        credentials,
        tls,
        lookup,
        loopback: settings.allow_loopback,
        limits: limits.clone(),
    });
    Ok(Connected {
        intake: Some(mail.clone()),
        follow_up: Some(mail.clone()),
        ..Connected::without_roles(limits, mail)
    })
}

fn tls(settings: &Settings, host: &str) -> Result<TlsParameters, Refused> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(pem) = &settings.ca_pem {
        tls = tls.certificate_store(CertificateStore::None);
        tls = tls.add_root_certificate(Certificate::from_pem(pem).map_err(|_| Refused::Authorities)?);
    }
    tls.build_rustls().map_err(|_| Refused::Tls)
}

struct Mail {
    smtp: Smtp,
    envelope: Envelope,
    credentials: Option<Credentials>,
    tls: Option<TlsParameters>,
    lookup: Arc<dyn Lookup>,
    loopback: bool,
    limits: Arc<Limits>,
}

impl Mail {
    /// Opens a session and says everything that comes before a mail's text.
    async fn opened(&self, stage: &mut Stage) -> Result<Session, Ended> {
        let host = (self.smtp.host.as_str(), self.smtp.port());
        let mut session =
            Session::open(host, self.lookup.as_ref(), self.loopback, self.smtp.encryption, self.tls.as_ref()).await?;
        if let Some(credentials) = &self.credentials {
            *stage = Stage::Login;
            session.log_in(credentials).await?;
        }
        *stage = Stage::Envelope;
        session.envelope(&self.envelope).await?;
        Ok(session)
    }

    /// A conversation begins.
    fn tell(&self, operation: &'static str) -> Request {
        self.limits.request(System::Intake, Protocol::Smtp { operation })
    }

    fn learn(&self, (verb, span): (Verb, Request), ended: Result<(), &Ended>, probe: bool, began: Instant) {
        let (class, lesson) = match ended.map_err(|ended| ended.why.trouble) {
            Ok(()) => (Class::Success, Lesson::Answers),
            Err(Trouble::Unauthorized) => (Class::Unauthorized, Lesson::LockedOut),
            Err(Trouble::Forbidden) => (Class::Forbidden, Lesson::Answers),
            Err(Trouble::NotUnderstood) => (Class::NotUnderstood, Lesson::Fails),
            Err(_) => (Class::Unavailable, Lesson::Fails),
        };
        span.ended(class.as_str(), class == Class::Success, None);
        self.limits.meter().count(verb, class, began.elapsed());
        // There is one record: the mailbox of the recipients.
        self.limits.settle(0, lesson, None, probe && ended.is_ok());
    }

    fn message(&self, body: &HandoffBody) -> Option<Message> {
        let HandoffBody { release_id, review_version, service, closure_key, coordinator, links } = body;
        let mut text = format!(
            "Release {release_id} of {service} is closed: review version {review_version}; checklist, tracker and queue agree.\n"
        );
        if let Some(coordinator) = coordinator {
            text.push_str(&format!("\nFor: {coordinator}\n"));
        }
        for link in links {
            text.push_str(&format!("\n{}: {}\n", link.rel, link.url));
        }
        text.push_str(&format!("\nClosure: {closure_key}\n"));
        self.mail(closure_key, &format!("Release {release_id} of {service} is closed"), text)
    }

    fn halt_message(&self, notice: &HaltNotice) -> Option<Message> {
        let HaltNotice { halt_id, closure_key, packet, namespace, coordinator, cause, link } = notice;
        let mut text = format!("The closure of {closure_key} is halted: {}\n", cause.sentence());
        text.push_str(&format!("\nPacket {packet} in namespace {namespace} says what to do.\n"));
        if let Some(coordinator) = coordinator {
            text.push_str(&format!("\nFor: {coordinator}\n"));
        }
        if let Some(link) = link {
            text.push_str(&format!("\nrecord: {link}\n"));
        }
        text.push_str(&format!("\nHalt: {halt_id} {cause}\n"));
        self.mail(halt_id, &format!("The closure of {closure_key} is halted"), text)
    }

    /// A mail that is known by its key.
    fn mail(&self, key: &str, subject: &str, text: String) -> Option<Message> {
        let from = self.envelope.from()?;
        let id = hex::encode(&Sha256::digest(key.as_bytes())[..16]);
        let mut message = Message::builder()
            .from(Mailbox::new(None, from.clone()))
            .subject(one_line(subject))
            .message_id(Some(format!("<{id}@{}>", from.domain())))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for to in self.envelope.to() {
            message = message.to(Mailbox::new(None, to.clone()));
        }
        message.body(text).ok()
    }
}

/// Without anything that ends a line.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Nobody's holiday notice answers it (RFC 3834, 5).
#[derive(Clone, Copy)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }
    fn parse(_: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }
    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[async_trait]
impl Intake for Mail {
    async fn announce(&self, order: Verified, permit: Permit) -> AnnounceReply {
        let Change::Announce(body) = order.change() else { return AnnounceReply::Refused };
        let Some(message) = self.message(body) else { return AnnounceReply::Refused };
        self.submit(&message, permit).await
    }
}

#[async_trait]
impl FollowUp for Mail {
    async fn tell(&self, notice: &HaltNotice, permit: Permit) -> AnnounceReply {
        let Some(message) = self.halt_message(notice) else { return AnnounceReply::Refused };
        self.submit(&message, permit).await
    }

    async fn probe(&self) -> Probe {
        Prober::probe(self, System::Intake).await
    }
}

impl Mail {
    /// Hands one mail over.
    async fn submit(&self, message: &Message, permit: Permit) -> AnnounceReply {
        let mut entered = match self.limits.enter_with(permit) {
            Ok(entered) => entered,
            Err(held_back) => return AnnounceReply::NotSent(held_back),
        };
        if let Err(held_back) = entered.may_send() {
            return AnnounceReply::NotSent(held_back);
        }
        let (mut stage, began) = (Stage::Connect, Instant::now());
        let span = self.tell("submit");
        let text = message.formatted();
        let sending = async {
            let mut session = self.opened(&mut stage).await?;
            stage = Stage::Data;
            session.begin_text().await?;
            stage = Stage::Text;
            session.text(&text).await?;
            Ok(session)
        };
        let sent = match tokio::time::timeout_at(entered.deadline(), sending).await {
            Ok(sent) => sent,
            Err(_) => Err(Ended::at(Trouble::Unavailable)),
        };
        self.learn((Verb::Post, span), sent.as_ref().map(drop), false, began);
        match sent {
            Ok(session) => {
                // It has the mail. How the conversation ends changes nothing.
                tokio::spawn(session.quit());
                AnnounceReply::Accepted
            }
            Err(Ended { said: Some(code), .. }) if (500..600).contains(&code) && stage != Stage::Login => {
                AnnounceReply::Refused
            }
            Err(Ended { said: None, why, unfit: _ }) if stage == Stage::Text => AnnounceReply::Unknown(why),
            Err(Ended { why, .. }) => AnnounceReply::NotSent(why),
        }
    }
}

#[async_trait]
impl Prober for Mail {
    /// Says everything that a mail begins with, and no mail.
    async fn probe(&self, _: System) -> Probe {
        if let Err(held_back) = self.limits.may_probe() {
            return Probe::Failed(held_back);
        }
        let (mut stage, began) = (Stage::Connect, Instant::now());
        let span = self.tell("probe");
        let asking = async {
            let mut session = self.opened(&mut stage).await?;
            session.reset().await?;
            Ok(session)
        };
        let asked = match tokio::time::timeout_at(Instant::now() + self.limits.timeout(), asking).await {
            Ok(asked) => asked,
            Err(_) => Err(Ended::at(Trouble::Unavailable)),
        };
        self.learn((Verb::Get, span), asked.as_ref().map(drop), true, began);
        match asked {
            Ok(session) => {
                tokio::spawn(session.quit());
                Probe::Ready
            }
            Err(Ended { unfit: Some((setting, what)), .. }) => Probe::Unfit { setting, what },
            Err(Ended { why, .. }) => Probe::Failed(why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        (system == System::Intake).then_some(Abilities { delivery: Some(Delivery::None), ..Abilities::NONE })
    }
}

impl Ended {
    fn at(trouble: Trouble) -> Ended {
        Ended { why: Unreachable::from(trouble), said: None, unfit: None }
    }
}
