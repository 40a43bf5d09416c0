use super::*;
use crate::closure::snapshot::{Observation, Trouble};
use crate::providers::http::tests::{server::Server, server::page, settings};
use crate::providers::{Product, connect, connect_with};
use crate::roles::Subject;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Spellings of addresses that are refused whatever a connection allows, but loopback; `:PORT` is added to each.
const REFUSED: &[&str] = &[
    // this machine
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "%31%32%37.0.0.1",
    "１２７.０.０.１",
    "127。0。0。1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "x.localhost",
    "localhost.localdomain",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    // metadata and link-local
    "169.254.169.254",
    "169.254.0.1",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "[fe80::1]",
    "[febf::1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    // nobody in particular
    "0.0.0.0",
    "0",
    "0.1.2.3",
    "[::]",
    "[::ffff:0.0.0.0]",
    "255.255.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "[ff02::1]",
];

/// Addresses that a name may resolve to, to its owner's profit.
const BAD: &[&str] = &[
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "fe80::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
];

fn strict(text: &str) -> Result<Endpoint, Refusal> {
    Endpoint::parse(text, Allowed::default())
}

/// Answers from a list, one after the other, then the last for ever.
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Lookup for Scripted {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        Ok(self.answers[at].clone())
    }
}

fn scripted(answers: &[&[&str]]) -> Arc<Scripted> {
    let answers = answers.iter().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect()).collect();
    Arc::new(Scripted { answers, asked: AtomicUsize::new(0) })
}

#[test]
fn refused_addresses_are_seen_through_every_spelling() {
    assert!(REFUSED.len() >= 30);
    for host in REFUSED {
        for url in [format!("https://{host}/x"), format!("https://{host}:8443"), format!("HTTPS://{host}")] {
            let refusal = strict(&url).expect_err(&url);
            let known = matches!(refusal, Refusal::Loopback | Refusal::LinkLocal | Refusal::NotAHost);
            assert!(known, "{url}: {refusal:?}");
        }
        assert!(Endpoint::parse(&format!("http://{host}"), Allowed { plaintext: true, loopback: false }).is_err());
    }
    // Only this machine can be allowed, in any of its spellings.
    let both = Allowed { plaintext: true, loopback: true };
    for (host, allowed) in [
        ("127.0.0.1", true),
        ("[::ffff:127.0.0.1]", true),
        ("localhost", true),
        ("[::1]", true),
        ("169.254.169.254", false),
        ("0.0.0.0", false),
    ] {
        assert_eq!(Endpoint::parse(&format!("http://{host}:1"), both).is_ok(), allowed, "{host}");
    }
}

#[test]
fn endpoints_are_https_without_user_query_or_fragment() {
    for (text, expected) in [
        ("http://tracker.example.com", Refusal::Plaintext),
        ("ftp://tracker.example.com", Refusal::Scheme),
        ("file:///etc/passwd", Refusal::Scheme),
        ("gopher://x/", Refusal::Scheme),
        ("unix:///run/x.sock", Refusal::Scheme),
        ("tracker.example.com", Refusal::NotAUrl),
        ("", Refusal::NotAUrl),
        ("https://", Refusal::NotAUrl),
        ("https:tracker.example.com", Refusal::NotAUrl),
        ("https:/tracker.example.com", Refusal::NotAUrl),
        ("https:\\\\tracker.example.com", Refusal::NotAUrl),
        ("https://good.example\\@169.254.169.254/", Refusal::NotAUrl),
        ("https://tra\tcker.example.com", Refusal::NotAUrl),
        (" https://tracker.example.com", Refusal::NotAUrl),
        ("https://[fe80::1%25eth0]/", Refusal::NotAUrl),
        ("https://user@tracker.example.com", Refusal::UserInfo),
        ("https://user:pass@tracker.example.com", Refusal::UserInfo),
        ("https://:pass@tracker.example.com", Refusal::UserInfo),
        ("https://@tracker.example.com", Refusal::UserInfo),
        ("https://169.254.169.254@tracker.example.com", Refusal::UserInfo),
        ("https://tracker.example.com/?a=b", Refusal::Query),
        ("https://tracker.example.com/?", Refusal::Query),
        ("https://tracker.example.com/#", Refusal::Query),
    ] {
        assert_eq!(strict(text), Err(expected), "{text:?}");
    }
    assert_eq!(strict(&format!("https://x.example/{}", "a".repeat(1024))), Err(Refusal::NotAUrl));
    for (text, base) in [
        ("https://tracker.example.com", "https://tracker.example.com"),
        ("https://tracker.example.com/", "https://tracker.example.com"),
        ("https://tracker.example.com:8443/closure/v1//", "https://tracker.example.com:8443/closure/v1"),
        ("https://10.0.0.7/v1", "https://10.0.0.7/v1"),
        ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
        ("https://tracker.tools.svc/a%2Fb", "https://tracker.tools.svc/a%2Fb"),
    ] {
        assert_eq!(strict(text).unwrap().base(), base);
    }
}

#[test]
fn what_translates_to_a_good_address_is_good() {
    for good in ["::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1", "fd00::1", "10.1.2.3", "100.64.0.1"] {
        assert_eq!(check(good.parse().unwrap(), false), Ok(()), "{good}");
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    for text in ["http://a.example", "https://a@b.example", "https://127.0.0.1", "https://a.example?b", "x"] {
        let refused = strict(text).unwrap_err().to_string();
        assert!(refused.contains(": ") && refused.starts_with("the endpoint"), "{refused}");
    }
}

async fn read(settings: &crate::providers::Settings, lookup: Arc<dyn Lookup>) -> Trouble {
    let connected = connect_with(settings, lookup).unwrap();
    let subject = Subject { record: Some("RR-1"), release: "r", review_version: "1" };
    match connected.governance.unwrap().review(subject, None).await {
        Observation::Unreachable(why) => why.trouble,
        other => panic!("{other:?}"),
    }
}

/// The canary listens on this machine; whoever reaches it by any way but the allowed one has passed the guard.
#[tokio::test]
async fn the_canary_is_never_reached() {
    let canary = Server::always(page(500)).await;
    let port = canary.address.port();
    let mut settings = settings(String::new());
    settings.limits.timeout = Duration::from_millis(300);
    let endpoint = |host: &str| Product::Http {
        endpoint: format!("http://{host}:{port}/v1"),
        delivery: crate::closure::decide::Delivery::None,
    };
    let by_name = endpoint("system.example.com");

    // Control: where it is allowed, it is reached, by address and by name.
    settings.product = endpoint("127.0.0.1");
    assert_eq!(read(&settings, Arc::new(SystemLookup)).await, Trouble::Unavailable);
    settings.product = by_name.clone();
    read(&settings, scripted(&[&["127.0.0.1"]])).await;
    assert_eq!(canary.count(), 2);
    let before = canary.sockets();

    settings.allow_loopback = false;
    for host in REFUSED {
        settings.product = endpoint(host);
        let refused = connect(&settings).err().unwrap_or_else(|| panic!("{host}"));
        assert_eq!(refused.reason(), crate::closure::reason::Reason::EndpointRefused);
    }
    settings.product = by_name;
    for bad in BAD {
        assert_eq!(read(&settings, scripted(&[&[bad]])).await, Trouble::Unavailable, "{bad}");
    }
    // Rebinding: good when first asked, this machine from then on.
    let rebinding = scripted(&[&["192.0.2.1"], &["127.0.0.1"]]);
    let connected = connect_with(&settings, rebinding.clone()).unwrap();
    for _ in 0..3 {
        let subject = Subject { record: Some("RR-1"), release: "r", review_version: "1" };
        let found = connected.governance.as_ref().unwrap().review(subject, None).await;
        assert!(matches!(found, Observation::Unreachable(_)));
    }
    assert!(rebinding.asked.load(Ordering::SeqCst) >= 3, "each attempt asks anew");
    assert_eq!(canary.sockets(), before);
}

#[tokio::test]
async fn refused_addresses_are_left_out_of_what_is_dialled() {
    let mixed = scripted(&[&["169.254.169.254", "192.0.2.1", "::1"]]);
    assert_eq!(resolve(mixed.as_ref(), "x", false).await.unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    let bad = scripted(&[&["169.254.169.254"]]);
    let error = resolve(bad.as_ref(), "x", true).await.unwrap_err();
    let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
    assert_eq!(refusal, Some(&Refusal::LinkLocal));
    let none = scripted(&[&[]]);
    assert_eq!(resolve(none.as_ref(), "x", true).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}
