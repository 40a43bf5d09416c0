//! Whatever GitHub, or what stands in its place, replies.

use super::wire;
use crate::fuzz::fuzz;
use crate::providers::issues::fuzz_tests::assert_fit;
use crate::providers::limits::RETRY_AFTER_MAX;
use http::HeaderMap;
use jiff::Timestamp;
use std::time::Duration;

fn reply(bytes: &[u8]) -> bool {
    let (page, count) = wire::issues(bytes).unwrap_or_default();
    assert!(page.len() <= count);
    let all: Vec<_> = page.into_iter().chain(wire::issue(bytes)).collect();
    for read in &all {
        assert_fit(&read.issue);
        let revision = wire::revision(&read.revision, &read.issue.form.all_links()).unwrap();
        assert!(revision.0.starts_with(&read.revision.0) && revision.0.len() <= 128);
    }
    let comments: Vec<_> = wire::comments(bytes).into_iter().flatten().chain(wire::comment(bytes)).collect();
    assert!(comments.iter().all(|comment| comment.links.len() <= 1000));
    let others = [wire::labels(bytes).is_ok(), wire::user(bytes).is_ok(), wire::repository(bytes).is_ok()];
    let waits = wire::wait_by_words(bytes).is_some();
    assert!(!waits || wire::is_own_error(bytes));
    !all.is_empty() || !comments.is_empty() || waits || others.contains(&true)
}

/// A wait that is asked for is one: neither none at all nor for ever.
fn header(bytes: &[u8]) -> bool {
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return false };
    let mut headers = HeaderMap::new();
    headers.insert("x-ratelimit-remaining", http::HeaderValue::from_static("0"));
    headers.insert("x-ratelimit-reset", value);
    let wait = wire::wait_by_headers(&headers, Timestamp::UNIX_EPOCH).unwrap();
    assert!((Duration::from_secs(1)..=RETRY_AFTER_MAX).contains(&wait));
    wait != Duration::from_secs(60)
}

fuzz!(replies, "github", 500, reply);
fuzz!(headers, "header", 500, header);
