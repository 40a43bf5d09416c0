//! `network-policy`: what the operator must be able to reach, as a NetworkPolicy.
//!
//! A NetworkPolicy knows addresses and labels, and no names. So a system in the cluster is let through by its namespace, one
//! that is named by an address by that address, and any other by its port alone, or by the addresses that its name has now.

use super::cluster::{Place, ask};
use super::error::{Error, Tried, VIEWER};
use super::{Ending, show};
use crate::api::{ClusterSystemConnection, SystemConnection};
use crate::settings::{NetworkPolicy, Output, Resolver, Whose};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// Where the operator is, as the manifests have it.
const NAMESPACE: &str = "releaseclosure-system";

/// One allowed destination: to whom, and at which port; none where a Service may turn it into another.
type Way = (Peer, Option<u16>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    /// One address.
    Address(IpAddr),
    /// Every Pod of a namespace.
    Namespace(String),
    /// Whoever, but for addresses of the local link, where cloud machines keep their credentials.
    Anybody,
}

/// Prints the policy on stdout.
///
/// # Errors
/// The connections cannot be read, or one of them cannot be understood.
pub async fn network_policy(settings: &NetworkPolicy) -> Result<Ending, Error> {
    let place = Place::find(&settings.cluster).await?;
    let tried = |what| Tried { verb: "list", what, name: "", namespace: "", role: VIEWER };
    let (all, own) = (ListParams::default(), Api::<SystemConnection>::all(place.client()));
    let own = ask(&tried("systemconnections"), own.list(&all)).await?.items;
    let shared = Api::<ClusterSystemConnection>::all(place.client());
    let shared = ask(&tried("clustersystemconnections"), shared.list(&all)).await?.items;
    let own = own.into_iter().map(|connection| (connection.name_any(), connection.spec));
    let shared = shared.into_iter().map(|connection| (connection.name_any(), connection.spec.connection));
    let mut ways = BTreeSet::new();
    for (name, spec) in own.chain(shared) {
        let invalid = |why: String| Error::Connection { name: name.clone(), why };
        let endpoints = spec.endpoints();
        if endpoints.is_empty() {
            return Err(invalid("it names no system".to_owned()));
        }
        for endpoint in endpoints {
            let (peer, port) = way(&endpoint).ok_or_else(|| invalid("its endpoint is no URL".to_owned()))?;
            match (peer, host(&endpoint)) {
                (Peer::Anybody, Some(host)) if settings.resolve => {
                    let found = tokio::net::lookup_host((host.as_str(), 0)).await;
                    let found = found.map_err(|error| invalid(format!("{host} has no address: {error}")))?;
                    ways.extend(found.map(|address| (Peer::Address(address.ip()), port)));
                }
                (peer, _) => ways.extend([(peer, port)]),
            }
        }
    }
    let servers = if settings.api_server.is_empty() { api_server(&place).await? } else { settings.api_server.clone() };
    ways.extend(servers.into_iter().map(|server| (Peer::Address(server.ip()), Some(server.port()))));
    let policy = policy(settings.cluster.namespace.name().unwrap_or(NAMESPACE), &settings.dns, &ways);
    let text = match settings.output {
        Output::Json => serde_json::to_string_pretty(&policy).map_err(|error| error.to_string()),
        Output::Yaml => serde_saphyr::to_string(&policy).map_err(|error| error.to_string()),
    };
    let text = text.map_err(|why| Error::Invalid { name: "the policy".to_owned(), why })?;
    show(&format!("{}\n", text.trim_end()));
    Ok(Ending::Done)
}

/// Where the API server is: what the cluster's own Service stands for, and its address, since some networks look at a packet
/// before and some after that is replaced.
async fn api_server(place: &Place) -> Result<Vec<SocketAddr>, Error> {
    let tried =
        |verb, what| Tried { verb, what, name: "kubernetes", namespace: "default", role: "name it with --api-server" };
    let services: Api<Service> = Api::namespaced(place.client(), "default");
    let service = ask(&tried("get", "service"), services.get("kubernetes")).await?.spec.unwrap_or_default();
    let ports: Vec<u16> = service.ports.into_iter().flatten().filter_map(|port| port.port.try_into().ok()).collect();
    let slices: Api<EndpointSlice> = Api::namespaced(place.client(), "default");
    let of_service = ListParams::default().labels("kubernetes.io/service-name=kubernetes");
    let slices = ask(&tried("list", "endpointslices"), slices.list(&of_service)).await?.items;
    let mut servers = all(service.cluster_ips.into_iter().flatten(), &ports);
    for slice in slices {
        let ports = slice.ports.into_iter().flatten().filter_map(|port| port.port?.try_into().ok());
        let ports: Vec<u16> = ports.collect();
        servers.extend(all(slice.endpoints.into_iter().flatten().flat_map(|endpoint| endpoint.addresses), &ports));
    }
    Ok(servers)
}

fn all(addresses: impl Iterator<Item = String>, ports: &[u16]) -> Vec<SocketAddr> {
    let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
    addresses.flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port))).collect()
}

fn host(endpoint: &str) -> Option<String> {
    Some(Url::parse(endpoint).ok()?.host_str()?.to_owned())
}

/// The way to an endpoint, by its text alone.
fn way(endpoint: &str) -> Option<Way> {
    let url = Url::parse(endpoint).ok()?;
    let port = url.port_or_known_default().or_else(|| ["nats", "tls"].contains(&url.scheme()).then_some(4222))?;
    // Of a scheme that it does not know, a URL tells no address from a name.
    let host = Host::parse(url.host_str()?).ok()?;
    Some(match host {
        Host::Ipv4(address) => (Peer::Address(address.into()), Some(port)),
        Host::Ipv6(address) => (Peer::Address(address.into()), Some(port)),
        Host::Domain(name) => match in_cluster(&name) {
            // A Service's port need not be that of its Pods.
            Some(namespace) => (Peer::Namespace(namespace), None),
            None => (Peer::Anybody, Some(port)),
        },
    })
}

/// The namespace of `SERVICE.NAMESPACE.svc`, with or without the cluster's domain.
fn in_cluster(name: &str) -> Option<String> {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    match labels[..] {
        [_, namespace, "svc", ..] => Some(namespace.to_owned()),
        _ => None,
    }
}

/// The egress alone: who may come in stands in policies of its own, and it is for others to narrow them.
fn policy(namespace: &str, resolvers: &[Resolver], ways: &BTreeSet<Way>) -> Value {
    let own = json!({"matchLabels": {"app.kubernetes.io/name": "releaseclosure"}});
    let in_namespace =
        |name: &str| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let port = |protocol: &str, port: u16| json!({"protocol": protocol, "port": port});
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    let mut egress: Vec<Value> = Vec::new();
    for Resolver { whose, port: number } in resolvers {
        let to = match whose {
            Whose::Block(cidr) => block(cidr),
            Whose::Namespace(name) => in_namespace(name),
        };
        egress.push(json!({"to": [to], "ports": [port("UDP", *number), port("TCP", *number)]}));
    }
    let mut by_port: BTreeMap<Option<u16>, Vec<Value>> = BTreeMap::new();
    for (peer, port) in ways {
        let peers = match peer {
            Peer::Address(IpAddr::V4(address)) => vec![block(&format!("{address}/32"))],
            Peer::Address(IpAddr::V6(address)) => vec![block(&format!("{address}/128"))],
            Peer::Namespace(name) => vec![in_namespace(name)],
            Peer::Anybody => vec![
                json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}),
                json!({"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}),
            ],
        };
        by_port.entry(*port).or_default().extend(peers);
    }
    egress.extend(by_port.into_iter().map(|(number, to)| match number {
        Some(number) => json!({"to": to, "ports": [port("TCP", number)]}),
        None => json!({"to": to}),
    }));
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "releaseclosure-operator", "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "releaseclosure"}},
        "spec": {
            "podSelector": own,
            "policyTypes": ["Egress"],
            "egress": egress,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_one_way() {
        let at = |text: &str| Peer::Address(text.parse().unwrap());
        let namespace = |name: &str| Peer::Namespace(name.to_owned());
        for (endpoint, expected) in [
            ("https://tracker.example.com/api", Some((Peer::Anybody, Some(443)))),
            ("http://tracker.example.com:8080", Some((Peer::Anybody, Some(8080)))),
            ("https://10.1.2.3:8443/x", Some((at("10.1.2.3"), Some(8443)))),
            ("https://[fd00::1]", Some((at("fd00::1"), Some(443)))),
            ("https://tracker.tools.svc.cluster.local", Some((namespace("tools"), None))),
            ("nats://nats.tools.svc", Some((namespace("tools"), None))),
            ("tls://nats.example.com", Some((Peer::Anybody, Some(4222)))),
            ("nats://10.0.0.9", Some((at("10.0.0.9"), Some(4222)))),
            ("smtp://mail.example.com:587", Some((Peer::Anybody, Some(587)))),
            // A name that only looks like one of the cluster.
            ("https://svc.example.com", Some((Peer::Anybody, Some(443)))),
            ("no url", None),
        ] {
            assert_eq!(way(endpoint), expected, "{endpoint}");
        }
    }
}
