//! Whatever Jira, or what stands in its place, replies.

use super::wire;
use crate::closure::snapshot::Revision;
use crate::fuzz::fuzz;

fn reply(bytes: &[u8]) -> bool {
    let told = format!("{:?}", wire::issue(bytes));
    assert_eq!(told, format!("{:?}", wire::issue(bytes)), "the same every time");
    let page = wire::issues(bytes).map(|(page, _)| page).unwrap_or_default();
    let issues: Vec<_> = page.into_iter().chain(wire::issue(bytes)).collect();
    for issue in &issues {
        for setting in ["customfield_10010", "label:release:", "property:releaseclosure", "", "customfield_"] {
            assert!(issue.value(Some(setting)).len() <= 256);
        }
        assert!(issue.milestone.title.len() <= 256 && issue.revision.0.len() <= 300);
    }
    let links = wire::links(bytes).unwrap_or_default();
    let revision = wire::with_links(&Revision("1".to_owned()), &links);
    assert_eq!(revision.0.len(), 2 + 24);
    let transitions = wire::transitions(bytes).unwrap_or_default();
    assert!(transitions.iter().all(|way| !way.takes(Some("no such field"))));
    let others = [wire::permitted(bytes).is_ok(), wire::project(bytes).is_ok(), wire::is_own_error(bytes)];
    let _ = (wire::is_cloud(bytes), wire::added(200, bytes));
    !issues.is_empty() || !links.is_empty() || !transitions.is_empty() || others.contains(&true)
}

fuzz!(replies, "jira", 500, reply);
