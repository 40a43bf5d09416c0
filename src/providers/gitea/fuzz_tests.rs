//! Whatever Gitea, or what stands in its place, replies.

use super::wire;
use crate::fuzz::fuzz;
use crate::providers::issues::fuzz_tests::assert_fit;

fn reply(bytes: &[u8]) -> bool {
    let all: Vec<_> = wire::issues(bytes).into_iter().flatten().chain(wire::issue(bytes)).collect();
    for read in &all {
        assert_fit(&read.issue);
        assert!(read.revision.0.len() <= 64 && read.revision.0.starts_with(&format!("{}-", read.content_version)));
    }
    let others = [wire::any_open(bytes).is_ok(), wire::label_names(bytes).is_ok(), wire::is_own_error(bytes)];
    !all.is_empty() || wire::repository(bytes).is_ok_and(|there| there.keeps_issues()) || others.contains(&true)
}

fuzz!(replies, "gitea", 500, reply);
