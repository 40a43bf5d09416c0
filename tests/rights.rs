//! What a whole run of the tests asked API servers is what the manifests grant, both ways: nothing was asked for that is not
//! granted, and nothing is granted that was not used.
//!
//! The last step of `make test`, which has kept the audit log of each API server in the folder that `RELEASECLOSURE_AUDIT` names.
//! In which namespaces something is granted is compared by `tests/cluster/permissions.rs`, on an API server of its own.

#[path = "cluster/audit.rs"]
mod audit;
#[path = "cluster/grants.rs"]
#[allow(dead_code, reason = "a toolbox")]
mod grants;
mod support;

use grants::Grant;
use serde_json::Value;
use std::path::PathBuf;
use support::controlplane::{kustomized, repository};

/// The installation with all that it may have: an overlay with every component that gives rights.
const OVERLAY: &str = "tests/install/rights";
/// Whose rights, as the API server names them.
const ACCOUNTS: [&str; 2] = ["releaseclosure-operator", "releaseclosure-pruner"];

/// Every right that the manifests give to an account.
fn granted(account: &str) -> Vec<Grant> {
    let all: Vec<Value> = serde_saphyr::from_multiple(&kustomized(&repository(OVERLAY))).expect("YAML");
    let rights = grants::of(account, &all);
    assert!(!rights.is_empty(), "{OVERLAY} gives {account} no right");
    // The names of Secrets are for an admin to put in.
    let by_any_name = |grant: Grant| if grant.what() == "secrets." { grant.of_every_name() } else { grant };
    rights.into_iter().map(Grant::everywhere).map(by_any_name).collect()
}

#[test]
fn a_whole_run_uses_every_right_that_is_granted_and_no_other() {
    let folder = std::env::var_os("RELEASECLOSURE_AUDIT").expect("RELEASECLOSURE_AUDIT, which hack/test sets");
    let logs: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of audit logs")
        .map(|file| file.expect("readable").path())
        .collect();
    for account in ACCOUNTS {
        let account = format!("system:serviceaccount:releaseclosure-system:{account}");
        let mut used: Vec<_> = logs.iter().flat_map(|log| audit::read(log, &account)).collect();
        let requests = used.len();
        // The version of the API server is for everybody.
        used.retain(|asked| asked.what != ".");
        used.sort();
        used.dedup();
        let granted = granted(&account);
        println!("{account}: {requests} requests to {} API servers, {} rights", logs.len(), granted.len());
        assert_eq!(grants::unequal(&granted, &used), Vec::<String>::new());
    }
}
