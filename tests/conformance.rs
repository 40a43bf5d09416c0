//! One suite that every adapter passes, role by role: each against the real product, with a fault proxy in front of it.
//!
//! An adapter is a file of `tests/conformance/` that says how its server is started and what people do there
//! ([`subject::Adapter`](conformance::subject::Adapter)), and one line in the list below. `docs/conformance.md` is the table of
//! what came of it; `UPDATE_CONFORMANCE=1` writes it. `CONFORMANCE_CASE=TEXT` plays the cases alone whose names hold it.
//!
//! A server that is not built is skipped by name; see `tests/systems/README.md`.

#[path = "support/fault_proxy/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod fault_proxy;
#[path = "support/ports.rs"]
mod ports;
#[path = "support/systems/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod systems;

#[allow(unreachable_pub, reason = "the parts of one suite")]
mod conformance {
    pub mod blind;
    pub mod bodies;
    pub mod cases;
    pub mod cell;
    pub mod faults;
    pub mod front;
    #[cfg(feature = "nats")]
    pub mod nats_front;
    pub mod orders;
    pub mod people;
    #[cfg(feature = "smtp")]
    pub mod smtp_front;
    pub mod subject;
    pub mod table;
}

/// The adapters: each a test of its own, by the product's name. The first takes longest, and is begun first: tests are begun in
/// the order of their names.
macro_rules! adapters {
    (
        first $slow:ident: $slowest:ident,
        $($(#[$when:meta])* $product:ident: $adapter:ident $(with $more:ident)*,)*
    ) => {
        #[path = "conformance"]
        mod adapters {
            pub mod $slow;
            $($(#[$when])* pub mod $product;)*
            $($(pub mod $more;)*)*
        }
        mod a_while {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $slow() {
                super::conformance::table::conforms(&super::adapters::$slow::$slowest).await;
            }
        }
        $(
            $(#[$when])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $product() {
                conformance::table::conforms(&adapters::$product::$adapter).await;
            }
        )*

        /// The adapters of this build.
        fn adapters() -> Vec<Box<dyn conformance::subject::Adapter>> {
            vec![Box::new(adapters::$slow::$slowest), $($(#[$when])* Box::new(adapters::$product::$adapter)),*]
        }
    };
}

#[path = "conformance/follow_ups.rs"]
mod follow_ups;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_intake_is_able_to_tell_people_of_a_halt() {
    let intakes: Vec<_> = adapters()
        .into_iter()
        .filter(|adapter| {
            adapter.parts().iter().any(|part| part.system == releaseclosure::closure::ids::System::Intake)
        })
        .collect();
    for adapter in &intakes {
        if !follow_ups::tells(&**adapter).await {
            println!("skipped: {}", adapter.product());
        }
    }
    assert!(intakes.len() >= 3, "http, slack and cloudEvents are in every build");
}

#[path = "conformance/jira_settings.rs"]
mod jira_settings;
#[path = "conformance/redmine_settings.rs"]
mod redmine_settings;

#[test]
fn no_adapter_is_able_to_deploy_to_approve_or_to_delete() {
    for adapter in adapters() {
        assert!(!adapter.sends().is_empty());
        assert_eq!(conformance::table::sends_nothing_forbidden(&*adapter), Vec::<String>::new());
    }
}

/// Every product that a connection may name is in the suite, and in the table.
#[test]
fn no_adapter_is_left_out() {
    let played: Vec<&str> = adapters().iter().map(|adapter| adapter.product()).collect();
    let sections = conformance::table::sections();
    for product in releaseclosure::providers::products() {
        assert!(played.contains(&product), "{product} is not in the suite");
        let told = std::env::var_os("UPDATE_CONFORMANCE").is_some() || sections.contains_key(product);
        assert!(told, "{product} has no section in docs/conformance.md");
    }
}

adapters! {
    first redmine: Project,
    cloud_events: Events,
    cloud_events_binary: Binary,
    gitea: Issues with gitea_forms,
    github: Hub,
    http: Contract,
    jira: Work,
    jira_data_center: Center,
    slack: Channels,
    #[cfg(feature = "smtp")]
    smtp: Mails,
    #[cfg(feature = "nats")]
    nats: Streams,
    sqs: Queues,
    object_store: Buckets,
    oci: Registries,
    oci_without_referrers: Tags,
}
