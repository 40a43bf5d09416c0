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
#[path = "support/systems/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a toolbox")]
mod systems;

#[allow(unreachable_pub, reason = "the parts of one suite")]
mod conformance {
    pub mod cases;
    pub mod cell;
    pub mod faults;
    pub mod front;
    pub mod orders;
    pub mod people;
    pub mod subject;
    pub mod table;
}

/// The adapters: each a test of its own, by the product's name.
macro_rules! adapters {
    ($($product:ident: $adapter:ident,)*) => {
        #[path = "conformance"]
        mod adapters {
            $(pub mod $product;)*
        }
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $product() {
                conformance::table::conforms(&adapters::$product::$adapter).await;
            }
        )*

        /// Every product that a connection may name is in the suite, and in the table.
        #[test]
        fn no_adapter_is_left_out() {
            let played = [$(stringify!($product)),*];
            let sections = conformance::table::sections();
            for product in releaseclosure::providers::products() {
                assert!(played.contains(&product), "{product} is not in the suite");
            }
            let told: Vec<&str> = sections.keys().map(String::as_str).collect();
            let mut played = played.to_vec();
            played.sort_unstable();
            if std::env::var_os("UPDATE_CONFORMANCE").is_none() {
                assert_eq!(told, played, "the sections of docs/conformance.md");
            }
        }
    };
}

#[path = "conformance/redmine_settings.rs"]
mod redmine_settings;

adapters! {
    gitea: Issues,
    http: Contract,
    redmine: Project,
}
