//! The files below `crds/` are what the types say.

#[path = "crds/compatible.rs"]
mod compatible;

use releaseclosure::api::crds::{crds, file_name, to_yaml};
use std::path::Path;

#[test]
fn the_files_below_crds_are_what_the_types_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    if std::env::var_os("UPDATE_CRDS").is_some() {
        releaseclosure::api::write_crds(&directory).expect("crds/ can be written");
    }
    for definition in crds() {
        let file = directory.join(file_name(&definition));
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        let generated = to_yaml(&definition).expect("a definition is YAML");
        assert!(
            stored == generated,
            "{} is not what src/api says; regenerate with: UPDATE_CRDS=1 cargo test --test crds",
            file.display()
        );
    }
    let files = std::fs::read_dir(&directory).expect("crds/ exists").count();
    assert_eq!(files, crds().len(), "crds/ holds a file that no kind belongs to");
}
