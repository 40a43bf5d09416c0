//! What is optional, on a real API server: the Pod that prunes, the Ingress before the feeds, and the job by which Prometheus finds
//! the replicas.

use crate::rendered::with_all;
use crate::support::controlplane::{ControlPlane, eventually, repository};
use crate::systems;
use crate::workload::{SYSTEM, tokens};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::OnceLock;

/// An API server where everything was applied. A warning of the server fails it.
fn installed() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let plane = ControlPlane::start();
        plane.kubectl_with(&["apply", "--server-side", "--warnings-as-errors", "-f", "-"], &with_all());
        eventually("two Pods", || plane.kubectl(&["-n", SYSTEM, "get", "pods", "-o", "name"]).lines().count() == 2);
        plane
    })
}

fn json_of(args: &[&str]) -> Value {
    serde_json::from_str(&installed().kubectl(&[&["-n", SYSTEM, "get", "-o", "json"], args].concat())).unwrap()
}

/// A Pod as the CronJob's Jobs make it.
fn pod_that_prunes(name: &str) -> Value {
    let template = json_of(&["cronjob", "releaseclosure-pruner"])["spec"]["jobTemplate"]["spec"]["template"].take();
    eventually("the account", || {
        installed().try_kubectl(&["-n", SYSTEM, "get", "serviceaccount", "releaseclosure-pruner"]).ok
    });
    json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": name, "namespace": SYSTEM, "labels": template["metadata"]["labels"]}})
}

#[test]
fn a_pod_that_prunes_is_let_in_where_pods_are_restricted() {
    let ask = |pod: &Value| {
        let args = ["create", "--dry-run=server", "--warnings-as-errors", "-o", "json", "-f", "-"];
        installed().try_kubectl_with(&args, &pod.to_string())
    };
    let pod = pod_that_prunes("asked");
    let made: Value = serde_json::from_str(&ask(&pod).out()).unwrap();
    assert_eq!(tokens(&made), 1);
    for path in ["/securityContext/runAsNonRoot", "/containers/0/securityContext/capabilities"] {
        let mut lax = pod.clone();
        *lax["spec"].pointer_mut(path).expect("it is set") = Value::Null;
        let refusal = ask(&lax).refusal();
        assert!(refusal.contains("violates PodSecurity \"restricted"), "{path}: {refusal}");
    }
}

#[test]
fn the_ingress_before_the_feeds_leads_to_their_service_and_tries_the_next_replica() {
    let file = repository("manifests/feeds/ingress.yaml").display().to_string();
    let args = ["create", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-o", "json", "-f", &file];
    let ingress: Value = serde_json::from_str(&installed().kubectl(&args)).unwrap();
    let path = &ingress["spec"]["rules"][0]["http"]["paths"][0];
    let service = json_of(&["service", path["backend"]["service"]["name"].as_str().unwrap()]);
    assert_eq!(path["backend"]["service"]["port"]["name"], service["spec"]["ports"][0]["name"]);
    // Nothing but deliveries is let through.
    assert_eq!((&path["path"], &path["pathType"]), (&json!("/feeds/"), &json!("Prefix")));
    let annotations = &ingress["metadata"]["annotations"];
    let next = annotations["nginx.ingress.kubernetes.io/proxy-next-upstream"].as_str().unwrap();
    for case in ["error", "http_503", "non_idempotent"] {
        assert!(next.split(' ').any(|word| word == case), "{case}: {next}");
    }
}

#[test]
fn prometheus_finds_every_replica_by_the_shipped_job_and_nothing_else() {
    let Some(prometheus) = systems::require("prometheus") else { return };
    let plane = installed();
    let promtool = |args: &[&str]| {
        let ran = Command::new(prometheus.join("bin/promtool")).args(args).output().expect("promtool can be run");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&ran.stdout));
        String::from_utf8(ran.stdout).unwrap()
    };
    let shipped = std::fs::read_to_string(repository("manifests/monitoring/scrape.yaml")).unwrap();
    let near = |name: &str| plane.kubeconfig().with_file_name(name).display().to_string();
    // As a prometheus.yml names it.
    std::fs::write(near("scrape.yaml"), &shipped).unwrap();
    std::fs::write(near("prometheus.yml"), json!({"scrape_config_files": [near("scrape.yaml")]}).to_string()).unwrap();
    assert!(promtool(&["check", "config", "--lint=all", "--lint-fatal", &near("prometheus.yml")]).contains("SUCCESS"));

    // A replica has an address when a node has taken it. The Pod that prunes has one, too.
    plane.kubectl_with(&["apply", "-f", "-"], &pod_that_prunes("prune").to_string());
    let pods = json_of(&["pods"])["items"].as_array().unwrap().clone();
    let names: Vec<&str> = pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for (number, name) in names.iter().enumerate() {
        let address = format!("10.0.0.{number}");
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}).to_string();
        plane.kubectl(&["-n", SYSTEM, "patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status]);
    }
    // From outside of the cluster the API server is named.
    let mut job: Value = serde_saphyr::from_str(&shipped).unwrap();
    job["scrape_configs"][0]["kubernetes_sd_configs"][0]["kubeconfig_file"] = json!(plane.kubeconfig());
    std::fs::write(near("found.yml"), job.to_string()).unwrap();
    let found = promtool(&["check", "service-discovery", "--timeout=5s", &near("found.yml"), "releaseclosure"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let kept = found.as_array().unwrap().iter().filter(|target| target["labels"]["__address__"].is_string());
    let mut kept: Vec<_> = kept.map(|target| target["labels"].clone()).collect();
    kept.sort_by_key(|labels| labels["pod"].to_string());
    let of: Vec<&str> = kept.iter().map(|labels| labels["pod"].as_str().unwrap()).collect();
    let replicas: Vec<&str> = names.iter().copied().filter(|name| *name != "prune").collect();
    assert_eq!(of, replicas, "{found:#}");
    for labels in &kept {
        assert!(labels["__address__"].as_str().unwrap().ends_with(":8080"), "{labels}");
        assert!(labels["namespace"].is_null(), "it would take the place of the metrics' own: {labels}");
    }
}
