//! Installation, and what kubectl makes of the kinds.

use crate::cluster::{HALT, INSTALLING, Objects, closure, cluster, examples, namespace, packet, small_closure};
use crate::support::controlplane::repository;
use serde_json::{Value, json};

const KINDS: [(&str, &str); 7] = [
    ("ReleaseClosure", "releaseclosure"),
    ("ClosurePlaybook", "closureplaybook"),
    ("SystemConnection", "systemconnection"),
    ("FollowUpPacket", "followuppacket"),
    ("AcceptanceFeed", "acceptancefeed"),
    ("ClusterClosurePlaybook", "clusterclosureplaybook"),
    ("ClusterSystemConnection", "clustersystemconnection"),
];

#[test]
fn the_kinds_are_served_under_their_names() {
    let resources =
        cluster().kubectl(&["api-resources", "--api-group=releaseclosure.io", "--no-headers", "-o", "wide"]);
    for (plural, short, category) in [
        ("releaseclosures", "rclo,relclose", "closures"),
        ("closureplaybooks", "cpb", ""),
        ("systemconnections", "sysconn", ""),
        ("followuppackets", "fup", "closures"),
        ("acceptancefeeds", "afeed", ""),
        ("clusterclosureplaybooks", "ccpb", ""),
        ("clustersystemconnections", "csysconn", ""),
    ] {
        let line = resources.lines().find(|line| line.starts_with(plural)).unwrap_or_else(|| panic!("no {plural}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words[1..4],
            [short, "releaseclosure.io/v1alpha1", if plural.starts_with("cluster") { "false" } else { "true" }],
            "{line}"
        );
        assert_eq!(words.get(6).copied().unwrap_or_default(), category, "{line}");
    }
}

#[test]
fn everything_is_installed_by_one_command_and_again() {
    let _alone = INSTALLING.blocking_lock();
    let again = cluster().kubectl(&["apply", "--server-side", "-k", &repository(".").display().to_string()]);
    assert!(
        again.contains("customresourcedefinition.apiextensions.k8s.io/releaseclosures.releaseclosure.io"),
        "{again}"
    );
    assert!(again.contains("deployment.apps/releaseclosure-operator"), "{again}");
    let established = cluster().kubectl(&["get", "crd", "-o", ESTABLISHED]);
    for (_, singular) in KINDS {
        let plural = format!("{singular}s");
        assert!(established.contains(&format!("{plural}.releaseclosure.io=True")), "{established}");
    }
}

const ESTABLISHED: &str =
    r#"jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Established")].status}{"\n"}{end}"#;

#[test]
fn every_field_is_explained() {
    let api = cluster().kubectl(&["get", "--raw", "/openapi/v3/apis/releaseclosure.io/v1alpha1"]);
    let api: Value = serde_json::from_str(&api).unwrap();
    for (kind, singular) in KINDS {
        let schema = &api["components"]["schemas"][format!("io.releaseclosure.v1alpha1.{kind}")];
        assert!(schema.is_object(), "{kind} is not in the server's own description");
        let mut fields = 0;
        described(kind, schema, &mut fields);
        assert!(fields > 10, "{kind}: only {fields} fields");
        let text = cluster().kubectl(&["explain", singular, "--recursive"]);
        assert!(!text.contains("<empty>") && text.contains("observedGeneration") || kind == "FollowUpPacket", "{text}");
        let text = cluster().kubectl(&["explain", &format!("{singular}.spec")]);
        assert!(!text.contains("<empty>"), "{text}");
    }
}

fn described(path: &str, schema: &Value, fields: &mut usize) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        *fields += 1;
        let path = format!("{path}.{name}");
        let description = property["description"].as_str().or_else(|| property["allOf"][0]["$ref"].as_str());
        assert!(description.is_some_and(|text| !text.is_empty()), "{path} is not explained");
        described(&path, property, fields);
        described(&path, &property["items"], fields);
    }
}

#[test]
fn the_examples_are_let_in() {
    let applied = examples();
    let count = |kind: &str| applied.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!(count("systemconnection.releaseclosure.io/"), 6, "{applied}");
    assert_eq!(count("closureplaybook.releaseclosure.io/engineering-release"), 1, "{applied}");
    assert_eq!(count("acceptancefeed.releaseclosure.io/governance"), 1, "{applied}");
    assert_eq!(count("releaseclosure.releaseclosure.io/"), 5, "{applied}");
    // Nothing in them is unknown to the schema: a strict server says so.
    let directory = repository("manifests/examples");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path().display().to_string();
        if path.contains("closure-")
            || ["connections.yaml", "playbook.yaml", "feed.yaml"].iter().any(|file| path.ends_with(file))
        {
            cluster().kubectl(&["apply", "--validate=strict", "--dry-run=server", "-f", &path]);
        }
    }
}

#[tokio::test]
async fn the_singular_means_this_kind_alone() {
    let namespace = namespace("singular");
    let closures = Objects::of("ReleaseClosure", namespace).await;
    let packets = Objects::of("FollowUpPacket", namespace).await;
    for name in ["one", "two"] {
        closures.create(&closure(name)).await.unwrap();
        packets.create(&packet(name, "MilestoneRenamed")).await.unwrap();
    }
    let kubectl = |args: &[&str]| cluster().kubectl(&[&["-n", namespace], args].concat());
    assert_eq!(kubectl(&["get", "releaseclosure", "one", "-o", "name"]).trim(), "releaseclosure.releaseclosure.io/one");
    assert_eq!(kubectl(&["get", "releaseclosure", "-o", "name"]).lines().count(), 2);
    assert_eq!(kubectl(&["get", "closures", "-o", "name"]).lines().count(), 4, "the category has both kinds");
    let described = kubectl(&["describe", "releaseclosure", "one"]);
    assert!(described.contains("Kind:         ReleaseClosure") && !described.contains("FollowUpPacket"), "{described}");
    kubectl(&["delete", "releaseclosure", "one"]);
    let left = kubectl(&["get", "closures", "-o", "name"]);
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    let packets = ["followuppacket.releaseclosure.io/one", "followuppacket.releaseclosure.io/two"];
    assert_eq!(left, [packets[0], packets[1], "releaseclosure.releaseclosure.io/two"]);
    kubectl(&["delete", "followuppacket", "two"]);
    assert_eq!(kubectl(&["get", "fup", "-o", "name"]).trim(), "followuppacket.releaseclosure.io/one");
    assert_eq!(kubectl(&["get", "rclo", "-o", "name"]), kubectl(&["get", "relclose", "-o", "name"]));
}

#[tokio::test]
async fn closures_and_packets_are_selected_by_field() {
    let namespace = namespace("selected");
    let closures = Objects::of("ReleaseClosure", namespace).await;
    closures.create(&closure("full")).await.unwrap();
    let mut other = small_closure("other");
    other["spec"]["release"]["id"] = "ledger-1".into();
    other["spec"]["review"]["id"] = "RR-1".into();
    closures.create(&other).await.unwrap();
    let finished = json!({"observedGeneration": 1, "completionTime": "2026-11-20T12:00:00Z"});
    closures.write_status("other", finished).await.unwrap();
    let packets = Objects::of("FollowUpPacket", namespace).await;
    packets.create(&packet("unresolved", "MilestoneRenamed")).await.unwrap();
    let names = |plural: &str, selector: &str| {
        let selector = format!("--field-selector={selector}");
        let names =
            cluster().kubectl(&["-n", namespace, "get", plural, &selector, "-o", "jsonpath={.items[*].metadata.name}"]);
        names.trim().to_owned()
    };
    for (selector, expected) in [
        ("spec.release.id=billing-7.2", "full"),
        ("spec.review.id=RR-1", "other"),
        ("status.completionTime=", "full"),
        ("status.completionTime!=", "other"),
    ] {
        assert_eq!(names("releaseclosures", selector), expected, "{selector}");
    }
    for (selector, expected) in [
        ("spec.closureKey=billing-7.2@RR-9@3", "unresolved"),
        ("spec.cause=MilestoneRenamed", "unresolved"),
        ("spec.cause=EvidenceMissing", ""),
        ("spec.coordinator=release-coordinators", "unresolved"),
        ("spec.resolution.decision=", "unresolved"),
        ("spec.resolution.decision=Resume", ""),
    ] {
        assert_eq!(names("followuppackets", selector), expected, "{selector}");
    }
    let unknown = cluster().try_kubectl(&["-n", namespace, "get", "rclo", "--field-selector=spec.mode=Plan"]).refusal();
    assert!(unknown.contains("field label not supported"), "{unknown}");
}

#[tokio::test]
async fn columns_show_what_people_look_for() {
    let namespace = namespace("columns");
    let closures = Objects::of("ReleaseClosure", namespace).await;
    closures.create(&closure("billing-7.2-rv3")).await.unwrap();
    let at = "2026-11-20T12:00:00Z";
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "MilestoneRenamed", "message": "Resolve it.",
        "lastTransitionTime": at, "observedGeneration": 1
    });
    let halt = json!({
        "id": "h-0123456789abcdef0123", "cause": "MilestoneRenamed", "at": at, "findings": [],
        "packetRef": {"name": "h-0123456789abcdef0123"}
    });
    let status = json!({"observedGeneration": 1, "progress": "2/5", "conditions": [ready], "halt": halt});
    closures.write_status("billing-7.2-rv3", status).await.unwrap();
    let packets = Objects::of("FollowUpPacket", namespace).await;
    packets.create(&packet(HALT, "MilestoneRenamed")).await.unwrap();

    let table = |args: &[&str]| {
        let text = cluster().kubectl(&[&["-n", namespace, "get"], args].concat());
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect::<Vec<Vec<String>>>()
    };
    let closures = table(&["rclo"]);
    assert_eq!(closures[0], ["NAME", "RELEASE", "REVIEW", "READY", "REASON", "PROGRESS", "AGE"]);
    assert_eq!(closures[1][..6], ["billing-7.2-rv3", "billing-7.2", "RR-9", "False", "MilestoneRenamed", "2/5"]);
    let wide = table(&["rclo", "-o", "wide"]);
    assert_eq!(wide[0][7..], ["MESSAGE", "EVENT", "HALT"]);
    assert_eq!(wide[1][7..], ["Resolve", "it.", "evt-1", "h-0123456789abcdef0123"]);
    let packets = table(&["fup"]);
    assert_eq!(packets[0], ["NAME", "CLOSURE", "CAUSE", "COORDINATOR", "DECISION", "BY", "AGE"]);
    assert_eq!(packets[1][1..4], ["billing-7.2-rv3", "MilestoneRenamed", "release-coordinators"]);
    let header = |kind| table(&[kind, "-A"])[0].join(" ");
    Objects::of("ClosurePlaybook", namespace).await.create(&crate::cluster::playbook("p")).await.unwrap();
    Objects::of("SystemConnection", namespace).await.create(&crate::cluster::connection("c")).await.unwrap();
    assert_eq!(header("cpb"), "NAMESPACE NAME READY REASON AGE");
    assert_eq!(header("sysconn"), "NAMESPACE NAME PROVIDER READY REASON AGE");
    Objects::of("AcceptanceFeed", namespace).await.create(&crate::cluster::feed("f")).await.unwrap();
    assert_eq!(header("afeed"), "NAMESPACE NAME READY REASON LAST CLOSURE AGE");
}

#[test]
fn the_operator_runs_where_pods_are_restricted() {
    let template = ["-n", "releaseclosure-system", "get", "deployment", "releaseclosure-operator", "-o"];
    let deployment = cluster().kubectl(&[&template[..], &["json"]].concat());
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "as-the-deployment-has-it", "namespace": "releaseclosure-system"},
        "spec": deployment["spec"]["template"]["spec"]
    });
    let create = ["create", "--dry-run=server", "-f", "-"];
    crate::support::controlplane::eventually("the operator's account", || {
        cluster().try_kubectl(&["-n", "releaseclosure-system", "get", "serviceaccount", "releaseclosure-operator"]).ok
    });
    cluster().kubectl_with(&create, &pod.to_string());
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refusal = cluster().try_kubectl_with(&create, &pod.to_string()).refusal();
    assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
}
