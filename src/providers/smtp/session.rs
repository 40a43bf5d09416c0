//! One conversation with a mail server, step by step, so that it is known how far it came.

use crate::closure::snapshot::{Trouble, Unreachable};
use crate::products::smtp::Encryption;
use crate::providers::guard::{self, Lookup};
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Severity;
use lettre::transport::smtp::{Error, response::Response};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

/// How far a conversation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connect,
    Login,
    Envelope,
    Data,
    /// The text is on its way: only here its fate can be unknown.
    Text,
}

/// Why a conversation ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) why: Unreachable,
    /// The server's own word for it.
    pub(super) said: Option<u16>,
    /// The setting that does not fit, and what would be right.
    pub(super) unfit: Option<(&'static str, &'static str)>,
}

type Unfit = Option<(&'static str, &'static str)>;

impl Ended {
    /// An answer of class 5 is for good, and names the setting; one of class 4 is not (RFC 5321, 4.2.1).
    fn by(code: u16, unfit: Unfit) -> Ended {
        let trouble = match code {
            // RFC 4954, 6.
            530 | 534 | 535 | 538 => Trouble::Unauthorized,
            500..600 => Trouble::Forbidden,
            400..500 => Trouble::Unavailable,
            _ => Trouble::NotUnderstood,
        };
        let unfit = unfit.filter(|_| trouble == Trouble::Forbidden);
        Ended { why: trouble.into(), said: Some(code), unfit }
    }

    fn of(error: &Error, unfit: Unfit) -> Ended {
        match error.status() {
            Some(code) => Ended::by(code.into(), unfit),
            None => {
                let garbage = error.is_response() || error.is_client();
                let trouble = if garbage { Trouble::NotUnderstood } else { Trouble::Unavailable };
                Ended { why: trouble.into(), said: None, unfit: None }
            }
        }
    }
}

pub(super) struct Session(AsyncSmtpConnection);

impl Session {
    /// Connects to an address that the guard lets pass, protected as wanted.
    pub(super) async fn open(
        (host, port): (&str, u16),
        lookup: &dyn Lookup,
        loopback: bool,
        encryption: Encryption,
        tls: Option<&TlsParameters>,
    ) -> Result<Session, Ended> {
        let away = || Ended { why: Trouble::Unavailable.into(), said: None, unfit: None };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match bare.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => guard::resolve(lookup, host, loopback).await.map_err(|_| away())?,
        };
        let addresses: Vec<SocketAddr> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let hello = ClientId::default();
        let at_once = tls.filter(|_| encryption == Encryption::Tls).cloned();
        let connected = AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), None, &hello, at_once, None).await;
        let mut connection = connected.map_err(|error| {
            if error.is_tls() {
                let what = "does not fit the server: its certificate is of another name or authority (set tls.caBundle), or it \
                            wants StartTls";
                return Ended { unfit: Some(("smtp.encryption", what)), ..away() };
            }
            Ended::of(&error, None)
        })?;
        if let (Encryption::StartTls, Some(tls)) = (encryption, tls) {
            if !connection.can_starttls() {
                let what = "is StartTls, which the server does not offer: set Tls, or another port";
                return Err(Ended { unfit: Some(("smtp.encryption", what)), ..away() });
            }
            connection.starttls(tls.clone(), &hello).await.map_err(|error| Ended::of(&error, None))?;
        }
        Ok(Session(connection))
    }

    pub(super) async fn log_in(&mut self, credentials: &Credentials) -> Result<(), Ended> {
        if self.0.server_info().get_auth_mechanism(&[Mechanism::Plain, Mechanism::Login]).is_none() {
            let what = "is given, and the server offers no login by password: leave it out, or set encryption";
            let why = Trouble::Unavailable.into();
            return Err(Ended { why, said: None, unfit: Some(("smtp.user", what)) });
        }
        let done = self.0.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await;
        done.map(drop).map_err(|error| Ended::of(&error, None))
    }

    pub(super) async fn envelope(&mut self, envelope: &Envelope) -> Result<(), Ended> {
        let what = "is a sender that the server refuses: set one that the user may send as";
        self.say(Mail::new(envelope.from().cloned(), Vec::new()), Some(("smtp.from", what))).await?;
        for to in envelope.to() {
            let what = "holds a recipient that the server refuses: correct the address";
            self.say(Rcpt::new(to.clone(), Vec::new()), Some(("smtp.to", what))).await?;
        }
        Ok(())
    }

    pub(super) async fn begin_text(&mut self) -> Result<(), Ended> {
        let answer = self.0.command(Data).await.map_err(|error| Ended::of(&error, None))?;
        if answer.code().severity == Severity::PositiveIntermediate {
            Ok(())
        } else {
            Err(Ended::by(answer.code().into(), None))
        }
    }

    pub(super) async fn text(&mut self, text: &[u8]) -> Result<(), Ended> {
        let answer = self.0.message(text).await;
        positive(answer, None)
    }

    pub(super) async fn reset(&mut self) -> Result<(), Ended> {
        self.say(Rset, None).await
    }

    pub(super) async fn quit(mut self) {
        // Nobody waits for it, and the server closes the connection by itself, sooner or later.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.0.quit()).await;
    }

    async fn say(&mut self, command: impl Display, unfit: Unfit) -> Result<(), Ended> {
        let answer = self.0.command(command).await;
        positive(answer, unfit)
    }
}

fn positive(answer: Result<Response, Error>, unfit: Unfit) -> Result<(), Ended> {
    let answer = answer.map_err(|error| Ended::of(&error, unfit))?;
    if answer.is_positive() { Ok(()) } else { Err(Ended::by(answer.code().into(), unfit)) }
}
