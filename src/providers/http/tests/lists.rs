use super::server::{Seen, Server, json, page, problem};
use super::*;
use crate::roles::{Listed, ListedReview, ReviewPage};

async fn listed(server: &Server, cursor: Option<&str>) -> Listed {
    let after = "2026-11-20T10:00:00Z".parse().unwrap();
    connected(server).governance.unwrap().accepted("In Acceptance", after, cursor).await
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let server = Server::start(|_, seen: &Seen| {
        json(match seen.target.as_str() {
            "/closure/v1/reviews?state=In%20Acceptance&acceptedAfter=2026-11-20T10%3A00%3A00Z" => {
                r#"{"items":[{"id":"RR-1","version":"2","state":"x"}],"next":"a/b"}"#
            }
            "/closure/v1/reviews?state=In%20Acceptance&acceptedAfter=2026-11-20T10%3A00%3A00Z&cursor=a%2Fb" => {
                r#"{"items":[],"next":null}"#
            }
            other => panic!("{other}"),
        })
    })
    .await;
    let review = ListedReview { id: "RR-1".to_owned(), version: "2".to_owned() };
    let first = ReviewPage { reviews: vec![review], next: Some("a/b".to_owned()) };
    assert_eq!(listed(&server, None).await, Listed::Page(first));
    assert_eq!(listed(&server, Some("a/b")).await, Listed::Page(ReviewPage { reviews: Vec::new(), next: None }));
}

#[tokio::test]
async fn a_server_without_the_list_says_so_and_anything_else_is_no_answer() {
    for code in [404, 405] {
        assert_eq!(listed(&Server::always(problem(code)).await, None).await, Listed::NotOffered, "{code}");
    }
    let cursor = format!(r#"{{"items":[],"next":"{}"}}"#, "x".repeat(513));
    for act in [
        page(404),
        problem(500),
        problem(501),
        json(r#"{"items":[{"id":"a/b","version":"1"}],"next":null}"#),
        json(r#"{"items":[{"id":"RR-1"}],"next":null}"#),
        json(r#"{"items":[],"next":"a b"}"#),
        json(r#"{"items":[],"next":""}"#),
        json(&cursor),
        json("[]"),
    ] {
        let listed = listed(&Server::always(act).await, None).await;
        assert!(matches!(listed, Listed::Unreachable(_)), "{listed:?}");
    }
}
