//! The connections that the documentation shows are such as the adapters take.

use releaseclosure::api::SystemConnection;
use releaseclosure::providers::{self, Product};

#[test]
fn what_the_documentation_shows_can_be_taken_as_it_is() {
    for (text, shown) in [
        (include_str!("../../../docs/adapters/object-store.md"), ["objectStore"; 3].as_slice()),
        (include_str!("../../../docs/adapters/oci.md"), &["oci"; 2]),
        (include_str!("../../../docs/adapters/sqs.md"), &["sqs"]),
        (include_str!("../../../docs/adapters/jira.md"), &["jira"; 3]),
        #[cfg(feature = "nats")]
        (include_str!("../../../docs/adapters/nats.md"), &["nats"; 2]),
    ] {
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let products: Vec<&str> = blocks
            .map(|block| {
                let connection: SystemConnection = serde_saphyr::from_str(block).expect("a connection");
                let spec = serde_json::to_value(&connection.spec).expect("JSON");
                Product::of_spec(&spec).expect("settings of a product").name()
            })
            .collect();
        assert_eq!(products, shown);
    }
    #[cfg(feature = "nats")]
    assert!(providers::products().any(|product| product == "nats"));
    assert!(providers::products().any(|product| product == "objectStore"));
}
