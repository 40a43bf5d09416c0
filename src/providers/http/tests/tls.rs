//! The same over TLS, with certificates made for these tests (their authority's key was thrown away).

use super::*;
use crate::closure::snapshot::Observation;
use crate::providers::Refused;
use crate::roles::WriteReply;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::SocketAddr;

const AUTHORITY: &str = include_str!("tls/ca.pem");
const SERVER: &str = include_str!("tls/server.pem");
const CLIENT: &str = include_str!("tls/client.pem");

/// Answers every request with a checklist, one connection at a time, to clients with a certificate only.
fn start() -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let chain = CertificateDer::pem_slice_iter(SERVER.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                let length = CHECKLIST.len();
                let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\netag: \"7\"";
                let _ = write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{CHECKLIST}");
            }
        }
    });
    address
}

fn over_tls(address: SocketAddr, authority: Option<&str>, client: Option<&str>) -> Settings {
    let mut settings = settings(format!("https://{address}"));
    settings.allow_plaintext = false;
    settings.ca_pem = authority.map(|pem| pem.as_bytes().to_vec());
    settings.client_certificate_pem = client.map(SecretString::from);
    settings
}

#[tokio::test]
async fn the_named_authority_is_trusted_and_the_client_shows_its_certificate() {
    let connected = connect(&over_tls(start(), Some(AUTHORITY), Some(CLIENT))).unwrap();
    let checklist = connected.checklist.as_ref().unwrap();
    assert!(matches!(checklist.checklist(subject(Some("CHK-1")), None).await, Observation::Found(..)));
    assert!(matches!(checklist.close(close(), permit(&connected).await).await, WriteReply::Answered(..)));
}

#[tokio::test]
async fn a_stranger_s_certificate_ends_it_before_anything_is_sent() {
    // Trusted is what the machine trusts, or another authority: not this one.
    for authority in [None, Some(CLIENT)] {
        let connected = connect(&over_tls(start(), authority, Some(CLIENT))).unwrap();
        let reply = connected.checklist.as_ref().unwrap().close(close(), permit(&connected).await).await;
        assert_eq!(reply, WriteReply::NotApplied(trouble(Trouble::Unavailable)));
    }
}

#[tokio::test]
async fn without_a_client_certificate_there_is_no_answer() {
    let connected = connect(&over_tls(start(), Some(AUTHORITY), None)).unwrap();
    let found = connected.checklist.as_ref().unwrap().checklist(subject(Some("CHK-1")), None).await;
    assert_eq!(found, Observation::Unreachable(trouble(Trouble::Unavailable)));
}

#[test]
fn what_is_no_certificate_is_refused() {
    let refused = |authority, client| {
        connect(&over_tls("127.0.0.1:1".parse().unwrap(), Some(authority), Some(client))).err().unwrap()
    };
    for bad in ["", "rubbish", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
        assert_eq!(refused(bad, CLIENT), Refused::Authorities, "{bad}");
        assert_eq!(refused(AUTHORITY, bad), Refused::ClientCertificate, "{bad}");
    }
    // A certificate without its key, and a well-formed block that holds no certificate.
    assert_eq!(refused(AUTHORITY, AUTHORITY), Refused::ClientCertificate);
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(hollow, CLIENT), Refused::Tls);
}
