//! SMTP: what was acknowledged is there, with its Message-ID; the same id twice is two mails.

use crate::systems::smtp::{Asks, PASSWORD, Smtp, USER};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

type Transport = AsyncSmtpTransport<Tokio1Executor>;

fn mail(to: &str) -> Message {
    let address = |text: &str| text.parse::<Mailbox>().expect("an address");
    Message::builder()
        .from(address("closure@example.test"))
        .to(address(to))
        .subject("shop 1.4 is closed")
        .message_id(Some("<handoff-1@releaseclosure>".to_owned()))
        .body("The links.".to_owned())
        .expect("a mail")
}

fn plain(smtp: &Smtp) -> Transport {
    Transport::builder_dangerous("127.0.0.1").port(smtp.port()).build()
}

fn over_tls(smtp: &Smtp, password: &str) -> Transport {
    let certificate = std::fs::read(&smtp.certificate).expect("a certificate");
    let tls = TlsParameters::builder("localhost".to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(Certificate::from_pem(&certificate).expect("PEM"))
        .build_rustls()
        .expect("TLS");
    Transport::builder_dangerous("127.0.0.1")
        .port(smtp.port())
        .tls(Tls::Required(tls))
        .credentials(Credentials::new(USER.to_owned(), password.to_owned()))
        .build()
}

#[tokio::test]
async fn a_mail_is_kept_with_its_message_id_and_twice_is_two() {
    let Some(smtp) = Smtp::start(Asks::Nothing).await else { return };
    let transport = plain(&smtp);
    for _ in 0..2 {
        transport.send(mail("coordinator@example.test")).await.expect("taken");
    }
    let mails = smtp.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].header("message-id").as_deref(), Some("<handoff-1@releaseclosure>"));
    assert_eq!((mails[0].to.clone(), mails[0].tls), (vec!["coordinator@example.test".to_owned()], false));
    smtp.server.tell();
}

#[tokio::test]
async fn a_login_is_asked_for_behind_tls() {
    let Some(smtp) = Smtp::start(Asks::TlsAndLogin).await else { return };
    let bare = plain(&smtp).send(mail("coordinator@example.test")).await.expect_err("no TLS");
    assert!(bare.is_permanent(), "{bare}");
    let wrong = over_tls(&smtp, "wrong").send(mail("coordinator@example.test")).await.expect_err("a wrong password");
    assert_eq!(wrong.status().map(|code| code.to_string()), Some("535".to_owned()), "{wrong}");
    assert_eq!(smtp.mails().len(), 0);
    over_tls(&smtp, PASSWORD).send(mail("coordinator@example.test")).await.expect("taken");
    let mails = smtp.mails();
    assert_eq!((mails.len(), mails[0].tls, mails[0].user.as_deref()), (1, true, Some(USER)));
}

#[tokio::test]
async fn refusals_can_be_asked_for_and_a_reply_can_be_lost() {
    let Some(smtp) = Smtp::start(Asks::Nothing).await else { return };
    let transport = plain(&smtp);
    let later = transport.send(mail("reject-451@example.test")).await.expect_err("not now");
    assert!(later.is_transient(), "{later}");
    let never = transport.send(mail("data-554@example.test")).await.expect_err("not at all");
    assert!(never.is_permanent(), "{never}");
    assert_eq!(smtp.mails().len(), 0);
    let lost = transport.send(mail("drop@example.test")).await.expect_err("no reply");
    assert!(!lost.is_permanent() && !lost.is_transient(), "{lost}");
    assert_eq!(smtp.mails().len(), 1, "it was taken nevertheless");
}
