//! Whatever Redmine, or what stands in its place, replies.

use super::wire;
use crate::fuzz::fuzz;

fn reply(bytes: &[u8]) -> bool {
    let told = format!("{:?}", wire::issue(bytes));
    assert_eq!(told, format!("{:?}", wire::issue(bytes)), "the same every time");
    let page = wire::issues(bytes).map(|(page, _)| page).unwrap_or_default();
    let issues: Vec<_> = page.into_iter().chain(wire::issue(bytes)).collect();
    for issue in &issues {
        assert!((0..3).all(|field| issue.value(Some(field)).len() <= 256));
        assert!(issue.milestone.title.len() <= 256 && issue.revision.0.ends_with(&issue.content));
    }
    assert!(!wire::is_conflict(422, bytes) || wire::is_own_error(bytes));
    assert!(!wire::is_conflict(409, bytes), "Redmine has a word of its own for it");
    let user = wire::user(bytes).map(|user| user.roles(1).count());
    let others = [wire::may_edit(bytes).is_ok(), wire::statuses(bytes).is_ok(), wire::is_own_error(bytes)];
    let _ = wire::project(bytes).map(|project| (project.is_open(), project.has_no_trackers(), project.tracker("a")));
    !issues.is_empty() || user.is_ok() || others.contains(&true)
}

fuzz!(replies, "redmine", 500, reply);
