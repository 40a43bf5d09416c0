//! What is filled in where nothing is said, and what is not let in.

use crate::cluster::{Objects, closure, cluster, connection, namespace, playbook, small_closure};
use kube::api::{Api, ListParams};
use releaseclosure::api::{ClosurePlaybook, ReleaseClosure, SystemConnection, parse};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_left_out_is_filled_in() {
    let namespace = namespace("defaults");
    let closures = Objects::of("ReleaseClosure", namespace).await;
    let made = closures.create(&small_closure("small")).await.unwrap();
    assert_eq!(made["spec"]["mode"], "Close");
    assert_eq!(made["spec"]["suspend"], false);
    assert_eq!(made["spec"]["playbookRef"]["kind"], "ClosurePlaybook");
    assert_eq!(made["status"], json!({"observedGeneration": -1, "episode": 0}), "on the status");
    let written = closures.write_status("small", json!({"progress": "0/5"})).await.unwrap();
    assert_eq!(written["status"]["observedGeneration"], -1, "on the field");

    let playbooks = Objects::of("ClosurePlaybook", namespace).await;
    let made = playbooks.create(&playbook("p")).await.unwrap();
    assert_eq!(made["spec"]["checklist"]["openItems"], "Halt");
    assert_eq!(made["spec"]["queue"]["connectionRef"]["kind"], "SystemConnection");
    let policy = json!({"recheck": "EveryWrite", "missingGracePeriod": "0s", "retry": {"initial": "1s", "max": "5m"}});
    assert_eq!(made["spec"]["policy"], policy);
    assert_eq!(made["status"], json!({"observedGeneration": -1}));
    let mut half = playbook("half");
    half["spec"]["policy"] = json!({"retry": {"max": "1m"}});
    let made = playbooks.create(&half).await.unwrap();
    assert_eq!(made["spec"]["policy"]["retry"], json!({"initial": "1s", "max": "1m"}));

    let connections = Objects::of("SystemConnection", namespace).await;
    let made = connections.create(&connection("c")).await.unwrap();
    assert_eq!(made["spec"]["limits"], json!({"requestsPerSecond": 20, "concurrency": 8, "timeout": "10s"}));
    assert_eq!(made["spec"]["http"]["delivery"], "IdempotencyKey");
    assert_eq!(made["spec"]["allowPlaintext"], false);
    assert_eq!(made["status"], json!({"observedGeneration": -1}));
}

/// Objects that must not be let in: a place, what is put there, and a part of the answer.
struct Hostile {
    kind: &'static str,
    example: fn(&str) -> Value,
    cases: Vec<(&'static str, Value, &'static str)>,
}

fn hostile() -> [Hostile; 3] {
    let id = "should match";
    let long = "x".repeat(1_000_000);
    let mut closures: Vec<(&str, Value, &str)> = Vec::new();
    for pointer in [
        "/spec/release/id",
        "/spec/release/service",
        "/spec/release/version",
        "/spec/review/id",
        "/spec/review/version",
        "/spec/review/acceptedEvent/id",
        "/spec/milestone/id",
        "/spec/records/tracker",
        "/spec/records/checklist",
        "/spec/records/queueEntry",
    ] {
        for bad in [".", "..", "a/b", "../../admin", "a b", "a\r\nHost: evil", "a\0", "a@b", "é", "a\u{202e}b", "a\n"]
        {
            closures.push((pointer, json!(bad), id));
        }
        closures.push((pointer, json!(""), "at least 1 chars"));
        closures.push((pointer, json!("x".repeat(129)), "may not be more than 128"));
        closures.push((pointer, json!(12), "must be of type string"));
    }
    for bad in ["/a", "a/", "a//b", "a/../b", "a/./b", "..", "a b", "a\nb", "a@b"] {
        closures.push(("/spec/evidence/bundle", json!(bad), id));
    }
    closures.extend([
        ("/spec/release/id", json!(long), "may not be more than 128"),
        ("/spec/evidence/bundle", json!("x".repeat(513)), "may not be more than 512"),
        ("/spec/evidence/digest", json!(format!("sha256:{}", "A".repeat(64))), id),
        ("/spec/evidence/digest", json!("sha256:00"), "at least 71 chars"),
        ("/spec/milestone/title", json!("a\u{0}"), id),
        ("/spec/milestone/title", json!("a\nb"), id),
        ("/spec/milestone/title", json!("a\u{9b}31m"), id),
        ("/spec/milestone/title", json!("x".repeat(257)), "may not be more than 256"),
        ("/spec/coordinator", json!("https://evil.example.com/hook"), "not a URL"),
        ("/spec/coordinator", json!("a b"), id),
        ("/spec/coordinator", json!(long), "may not be more than 128"),
        ("/spec/mode", json!("Deploy"), "Unsupported value"),
        ("/spec/playbookRef/kind", json!("Secret"), "Unsupported value"),
        ("/spec/playbookRef/name", json!("../secrets/x"), id),
        ("/spec/review/acceptedEvent/source", json!("a\r\nb"), id),
        ("/spec/review/acceptedEvent/time", json!("yesterday"), id),
        ("/spec/review/acceptedEvent/time", json!("9999-12-31T23:59:59Z"), id),
        ("/spec/review/acceptedEvent/time", json!("2026-11-20T10:00:00.0123456789Z"), id),
        ("/spec/review/acceptedEvent/time", json!("2026-11-20T10:00:00+99:00"), id),
        ("/spec/review/acceptedEvent/time", json!("2026-02-30T10:00:00Z"), "must be of type date-time"),
    ]);
    Hostile { kind: "ReleaseClosure", example: closure, cases: closures }.with([
        Hostile { kind: "ClosurePlaybook", example: full_playbook, cases: hostile_playbooks(&long) },
        Hostile { kind: "SystemConnection", example: full_connection, cases: hostile_connections(&long) },
    ])
}

impl Hostile {
    fn with(self, others: [Hostile; 2]) -> [Hostile; 3] {
        let [second, third] = others;
        [self, second, third]
    }
}

fn full_playbook(name: &str) -> Value {
    let mut playbook = playbook(name);
    playbook["spec"]["services"] = json!(["billing"]);
    playbook["spec"]["policy"] = json!({"missingGracePeriod": "30s", "retry": {"initial": "1s", "max": "5m"}});
    playbook
}

fn hostile_playbooks(long: &str) -> Vec<(&'static str, Value, &'static str)> {
    let many = |count: usize| json!((0..count).map(|n| format!("s{n}")).collect::<Vec<_>>());
    let mut cases = vec![
        ("/spec/governance/connectionRef/kind", json!("Secret"), "Unsupported value"),
        ("/spec/governance/connectionRef/name", json!("a/b"), "should match"),
        ("/spec/checklist/openItems", json!("Ignore"), "Unsupported value"),
        ("/spec/tracker/approvedState", json!(""), "at least 1 chars"),
        ("/spec/tracker/approvedState", json!(" Approved"), "should match"),
        ("/spec/tracker/approvedState", json!("Approved\r\n"), "should match"),
        ("/spec/services", json!([]), "at least 1 items"),
        ("/spec/services", many(257), "must have at most 256 items"),
        ("/spec/services", json!(["a", "a"]), "Duplicate value"),
        ("/spec/services", json!(["a/b"]), "should match"),
        ("/spec/policy/recheck", json!("Never"), "Unsupported value"),
        ("/spec/policy/missingGracePeriod", json!("25h"), "must be between 0s and 24h"),
        ("/spec/policy/retry/initial", json!("99ms"), "must be between 100ms and 1h"),
        ("/spec/policy/retry/initial", json!("6m"), "initial must not be longer than max"),
        ("/spec/policy/retry/max", json!("61m"), "must be between 100ms and 1h"),
        ("/spec/policy/retry/max", json!("9999999999999h"), "policy.retry.max"),
    ];
    for list in ["/spec/governance/acceptedStates", "/spec/tracker/approvableStates", "/spec/archive/requiredArtifacts"]
    {
        cases.push((list, json!([]), "at least 1 items"));
        cases.push((list, many(33), "items"));
        cases.push((list, json!([long]), "may not be more than 128"));
        cases.push((list, json!([""]), "at least 1 chars"));
    }
    for duration in ["1d", "-1s", "1", "", "1 s", "1us", "1s1s1s1s1s1s1s1s1s", "soon"] {
        cases.push(("/spec/policy/retry/max", json!(duration), "policy.retry.max"));
    }
    cases
}

fn full_connection(name: &str) -> Value {
    let mut connection = connection(name);
    connection["spec"]["tls"] = json!({
        "caSecretRef": {"name": "ca", "key": "ca.crt"}, "clientCertificateSecretRef": {"name": "client"}
    });
    connection["spec"]["links"] = json!({"record": "https://tracker.example.com/browse/{id}"});
    connection["spec"]["limits"] = json!({"timeout": "5s"});
    connection["spec"]["limits"]["concurrency"] = 1.into();
    connection["spec"]["limits"]["requestsPerSecond"] = 1.into();
    connection
}

fn hostile_connections(long: &str) -> Vec<(&'static str, Value, &'static str)> {
    let mut cases = vec![
        ("/spec/allowedRoles", json!([]), "at least 1 items"),
        ("/spec/allowedRoles", json!(["Deployer"]), "Unsupported value"),
        ("/spec/allowedRoles", json!(["Tracker", "Tracker"]), "Duplicate value"),
        ("/spec/http/endpoint", json!("http://tracker.example.com"), "set allowPlaintext: true"),
        ("/spec/http/endpoint", json!(format!("https://a/{long}")), "may not be more than 1024"),
        ("/spec/http/tokenSecretRef/name", json!("../x"), "should match"),
        ("/spec/http/tokenSecretRef/key", json!("../x"), "should match"),
        ("/spec/http/delivery", json!("Maybe"), "Unsupported value"),
        ("/spec/tls/caSecretRef/name", json!("A"), "should match"),
        ("/spec/limits/timeout", json!("999ms"), "must be between 1s and 12s"),
        ("/spec/limits/timeout", json!("12001ms"), "must be between 1s and 12s"),
        ("/spec/limits/concurrency", json!(0), "greater than or equal to 1"),
        ("/spec/limits/concurrency", json!(65), "less than or equal to 64"),
        ("/spec/limits/requestsPerSecond", json!(1001), "less than or equal to 1000"),
        ("/spec/limits/requestsPerSecond", json!(1.5), "must be of type integer"),
        ("/spec/links/record", json!("https://tracker.example.com/browse/"), "must contain {id}"),
        ("/spec/links/record", json!("http://tracker.example.com/{id}"), "must be https"),
        ("/spec/links/record", json!("https://{id}/"), "should match"),
        ("/spec/links/record", json!("javascript:alert({id})"), "should match"),
    ];
    for endpoint in [
        "ftp://a",
        "tracker.example.com",
        "https://",
        "https://user:pw@a/",
        "https://a/?token=x",
        "https://a/#x",
        "https://a/ b",
        "https://a\r\nHost: b",
        "https://a/é",
        r"https://a\@b/",
        "file:///etc/passwd",
        "HTTPS://a",
    ] {
        cases.push(("/spec/http/endpoint", json!(endpoint), "should match"));
    }
    cases
}

#[tokio::test]
async fn hostile_objects_are_not_let_in() {
    let namespace = namespace("hostile");
    for Hostile { kind, example, cases } in hostile() {
        let objects = Objects::of(kind, namespace).await;
        objects.create(&example("good")).await.expect("the example without the change is let in");
        for (pointer, value, expected) in cases {
            let mut object = example("bad");
            let (path, field) = pointer.rsplit_once('/').expect("a pointer");
            object.pointer_mut(path).unwrap_or_else(|| panic!("{path} is in the example"))[field] = value.clone();
            let shown: String = value.to_string().chars().take(60).collect();
            let refusal = objects.create(&object).await;
            let refusal: String = refusal.expect_err(&format!("{pointer} = {shown}")).chars().take(2000).collect();
            assert!(refusal.contains(expected), "{pointer} = {shown}: {refusal}");
        }
    }
}

#[tokio::test]
async fn exactly_one_known_product_is_given() {
    let namespace = namespace("products");
    let connections = Objects::of("SystemConnection", namespace).await;
    let mut none = connection("none");
    none["spec"].as_object_mut().unwrap().remove("http");
    let refusal = connections.create(&none).await.expect_err("no product");
    assert!(refusal.contains("exactly one product must be given; this release knows http"), "{refusal}");

    let mut unknown = none.clone();
    unknown["spec"]["gopher"] = json!({"endpoint": "gopher://a"});
    let refusal = connections.create(&unknown).await.expect_err("an unknown product");
    assert!(refusal.contains("this release knows http"), "{refusal}");
    let mut two = connection("two");
    two["spec"]["gopher"] = json!({"endpoint": "gopher://a"});
    for object in [&unknown, &two] {
        let refusal =
            cluster().try_kubectl_with(&["-n", namespace, "create", "-f", "-"], &object.to_string()).refusal();
        assert!(refusal.contains("unknown field \"spec.gopher\""), "{refusal}");
    }
    let pruned = connections.create(&two).await.expect("a writer that asks for no validation has it dropped");
    assert!(pruned["spec"]["gopher"].is_null(), "{pruned}");
}

#[tokio::test]
async fn plaintext_is_used_only_where_it_is_meant() {
    let connections = Objects::of("SystemConnection", namespace("plaintext")).await;
    let mut plain = full_connection("plain");
    plain["spec"]["http"]["endpoint"] = "http://127.0.0.1:8085/closure/v1".into();
    plain["spec"]["links"]["record"] = "http://127.0.0.1:8085/{id}".into();
    let refusal = connections.create(&plain).await.expect_err("not said");
    assert!(refusal.contains("http:// sends the token in the clear"), "{refusal}");
    plain["spec"]["allowPlaintext"] = true.into();
    connections.create(&plain).await.expect("said");
    let refusal = connections.change("plain", |object| object["spec"]["allowPlaintext"] = false.into()).await;
    assert!(refusal.expect_err("taken back").contains("http:// sends the token in the clear"));
    for endpoint in ["https://[2001:db8::1]:8443/v1", "https://a-b.example.com:8443", "https://a/x%2Fy/~z/@me;v=1"] {
        let mut good = connection(&format!("good-{}", endpoint.len()));
        good["spec"]["http"]["endpoint"] = endpoint.into();
        connections.create(&good).await.unwrap_or_else(|refusal| panic!("{endpoint}: {refusal}"));
    }
}

/// Whatever is let in can be read: one object that cannot be would stop the watch of all the others.
#[tokio::test]
async fn whatever_is_let_in_can_be_read() {
    let namespace = namespace("readable");
    let closures = Objects::of("ReleaseClosure", namespace).await;
    let times = [
        "1900-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999999Z",
        "2026-11-20T10:00:00+23:59",
        "2026-11-20T10:00:00-23:59",
        "2024-02-29T00:00:00.1Z",
    ];
    for (number, time) in times.into_iter().enumerate() {
        let mut object = closure(&format!("time-{number}"));
        object["spec"]["review"]["acceptedEvent"]["time"] = time.into();
        closures.create(&object).await.unwrap_or_else(|refusal| panic!("{time}: {refusal}"));
    }
    for (name, pointer, value) in [
        ("odd-id", "/spec/release/id", json!("!\"#$%&'()*+,-.0:;<=>?A[\\]^_`a{|}~")),
        ("dots", "/spec/release/id", json!("...")),
        ("long-id", "/spec/release/id", json!("x".repeat(128))),
        ("odd-title", "/spec/milestone/title", json!("Größe 📦 \u{202e}")),
        ("long-bundle", "/spec/evidence/bundle", json!("x/".repeat(255) + "x")),
        ("no-records", "/spec/records", json!({})),
    ] {
        let mut object = closure(name);
        *object.pointer_mut(pointer).unwrap() = value;
        closures.create(&object).await.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    }
    let mut biggest = closure("biggest-status");
    biggest["metadata"]["annotations"] = json!({"releaseclosure.io/requestedAt": "x".repeat(100_000)});
    closures.create(&biggest).await.unwrap();
    let numbers = json!({"observedGeneration": i64::MAX, "episode": u32::MAX});
    closures.write_status("biggest-status", numbers).await.expect("the widest numbers");
    let wider = json!({"episode": u64::from(u32::MAX) + 1});
    closures.write_status("biggest-status", wider).await.expect_err("wider ones could not be read");
    Objects::of("ClosurePlaybook", namespace).await.create(&full_playbook("full")).await.unwrap();
    Objects::of("SystemConnection", namespace).await.create(&full_connection("full")).await.unwrap();

    let all: Vec<ReleaseClosure> = read_all(namespace).await;
    assert_eq!(all.len(), 12);
    for closure in &all {
        parse::accepted(&closure.spec).unwrap_or_else(|invalid| panic!("{:?}: {invalid}", closure.metadata.name));
    }
    for playbook in read_all::<ClosurePlaybook>(namespace).await {
        parse::playbook(&playbook.spec).expect("what the schema lets in is a playbook");
    }
    for connection in read_all::<SystemConnection>(namespace).await {
        parse::limits(&connection.spec.limits).expect("what the schema lets in are limits");
    }
}

async fn read_all<K>(namespace: &str) -> Vec<K>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(crate::cluster::client(None).await, namespace);
    api.list(&ListParams::default()).await.expect("what was let in can be read").items
}
