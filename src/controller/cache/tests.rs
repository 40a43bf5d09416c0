use super::*;
use serde_json::json;

#[test]
fn of_the_metadata_what_a_pass_needs_is_kept_and_nothing_else() {
    let object: Unfinished = serde_json::from_value(json!({
        "metadata": {
            "name": "c", "namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "17",
            "creationTimestamp": "2026-11-20T10:00:00Z", "deletionTimestamp": "2026-11-20T11:00:00Z",
            "annotations": {"releaseclosure.io/requestedAt": "now", "releaseclosure.io/traceparent": "00-", "other": "x".repeat(1000)},
            "labels": {"a": "b"}, "finalizers": ["f"], "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {}, "status": {},
    }))
    .unwrap();
    let time = |text: &str| Some(Time(text.parse().unwrap()));
    let kept = ObjectMeta {
        name: Some("c".to_owned()),
        namespace: Some("n".to_owned()),
        uid: Some("u".to_owned()),
        generation: Some(3),
        resource_version: Some("17".to_owned()),
        creation_timestamp: time("2026-11-20T10:00:00Z"),
        deletion_timestamp: time("2026-11-20T11:00:00Z"),
        annotations: Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into()),
        ..ObjectMeta::default()
    };
    assert_eq!(object.metadata, kept);
    let bare: Unfinished = serde_json::from_value(json!({"metadata": {"name": "c"}})).unwrap();
    assert_eq!(bare.metadata, ObjectMeta { name: Some("c".to_owned()), ..ObjectMeta::default() });
}
