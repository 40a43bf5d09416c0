//! How GitHub asks to be left alone.

use super::*;

fn soon(seconds: i64) -> String {
    (jiff::Timestamp::now().as_second() + seconds).to_string()
}

fn used_up(status: u16, reset: &str) -> Act {
    let headers = format!("x-ratelimit-remaining: 0\r\nx-ratelimit-reset: {reset}\r\n");
    reply(status, MEDIA, &headers, r#"{"message":"API rate limit exceeded for user ID 7."}"#)
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_no_refusal() {
    let message = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}"#;
    // What is said, and for how long at least and at most everything waits.
    for (act, least, most) in [
        (used_up(403, &soon(90)), 60, 90),
        (used_up(429, &soon(90)), 60, 90),
        // The hour is the longest, and what is over by our clock is waited for a moment.
        (used_up(403, &soon(86_400)), 3600, 3600),
        (used_up(403, &soon(-90)), 1, 60),
        (used_up(403, "soon"), 60, 60),
        (reply(403, MEDIA, "retry-after: 30\r\nx-ratelimit-remaining: 4000\r\n", message), 30, 30),
        (reply(429, MEDIA, "retry-after: 30\r\n", message), 30, 30),
        (reply(403, MEDIA, "x-ratelimit-remaining: 4000\r\n", message), 60, 60),
        (reply(429, MEDIA, "", message), 60, 60),
        (error(403, "You have triggered an abuse detection mechanism."), 60, 60),
    ] {
        let server = Server::always(act.clone()).await;
        let connected = connected(&server);
        let read = read_checklist(&connected).await;
        let Observation::Unreachable(why) = read else { panic!("{act:?}: {read:?}") };
        assert_eq!(why.trouble, Trouble::TooManyRequests, "{act:?}");
        let wait = why.retry_after.unwrap().as_secs();
        assert!((least..=most).contains(&wait), "{act:?}: {wait}");
        assert!(
            matches!(read_checklist(&connected).await, Observation::Unreachable(why) if why.trouble == Trouble::HeldBack)
        );
        assert_eq!(server.count(), 1, "{act:?}: nothing goes out meanwhile");
    }
}

#[tokio::test]
async fn a_refusal_is_no_quota() {
    for (act, trouble) in [
        (error(403, "Resource not accessible by integration"), Trouble::Forbidden),
        (
            reply(403, MEDIA, "x-ratelimit-remaining: 12\r\n", r#"{"message":"Must have admin rights"}"#),
            Trouble::Forbidden,
        ),
        (page(403), Trouble::Forbidden),
        (page(429), Trouble::TooManyRequests),
        (error(401, "Bad credentials"), Trouble::Unauthorized),
    ] {
        let server = Server::always(act.clone()).await;
        assert_eq!(read_checklist(&connected(&server)).await, unreachable(trouble, None), "{act:?}");
    }
}
