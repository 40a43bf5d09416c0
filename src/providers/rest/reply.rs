//! What a status, a media type and a `Retry-After` say.

use super::Dialect;
use crate::closure::snapshot::{Observation, Revision, Trouble, Unreachable};
use crate::providers::limits::RETRY_AFTER_MAX;
use crate::providers::meter::Class;
use crate::roles::{AnnounceReply, WriteReply};
use crate::spans;
use jiff::Timestamp;
use std::time::Duration;

/// What came of one request.
#[derive(Debug)]
pub(in crate::providers) enum Came<T> {
    /// 2xx, in the contract.
    Success(T),
    /// A 4xx in the system's own format that is about the record.
    Problem(u16),
    /// Anything else.
    Failure(Failure),
}

impl<R> Came<(R, Revision)> {
    /// What a read comes to.
    pub(in crate::providers) fn observation(self) -> Observation<R> {
        match self {
            Came::Success((record, revision)) => Observation::Found(record, revision),
            Came::Problem(404 | 410) => Observation::Missing,
            Came::Problem(_) => Observation::Unreachable(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Observation::Unreachable(failure.why),
        }
    }

    /// What a conditional change of a record comes to.
    pub(in crate::providers) fn write_reply(self) -> WriteReply<R> {
        match self {
            Came::Success((record, revision)) => WriteReply::Answered(record, revision),
            Came::Problem(409 | 412) => WriteReply::Conflict,
            Came::Problem(404 | 410) => WriteReply::Gone,
            Came::Problem(_) => WriteReply::Refused,
            Came::Failure(failure) if failure.nothing_applied() => WriteReply::NotApplied(failure.why),
            Came::Failure(Failure { why, .. }) => WriteReply::Unknown(why),
        }
    }
}

impl<T> Came<T> {
    /// Ends the span of the request that this came of.
    pub(in crate::providers) fn tell(&self, span: spans::Request) {
        let (answer, retry_after) = match self {
            Came::Success(_) | Came::Problem(_) => (true, None),
            Came::Failure(failure) => (false, failure.why.retry_after),
        };
        span.ended(self.class().as_str(), answer, retry_after);
    }

    /// How it is counted.
    pub(in crate::providers) fn class(&self) -> Class {
        match self {
            Came::Success(_) => Class::Success,
            Came::Problem(_) => Class::Answered,
            Came::Failure(failure) => match failure.why.trouble {
                Trouble::Unauthorized => Class::Unauthorized,
                Trouble::Forbidden => Class::Forbidden,
                Trouble::TooManyRequests => Class::TooManyRequests,
                Trouble::NotUnderstood => Class::NotUnderstood,
                Trouble::Unavailable | Trouble::HeldBack | Trouble::Stale => Class::Unavailable,
            },
        }
    }
}

/// Nothing usable came, and what that says of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers) struct Failure {
    pub(in crate::providers) fate: Fate,
    pub(in crate::providers) why: Unreachable,
}

/// Whether a request took effect, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers) enum Fate {
    /// Not a byte of it went out.
    NotSent,
    /// It was answered with this status; whether in the system's own format.
    Said(u16, bool),
    /// Cannot be told.
    Unknown,
}

impl Failure {
    pub(in crate::providers) fn not_sent(trouble: Trouble) -> Failure {
        Failure { fate: Fate::NotSent, why: trouble.into() }
    }
    pub(in crate::providers) fn unknown(trouble: Trouble) -> Failure {
        Failure { fate: Fate::Unknown, why: trouble.into() }
    }
    pub(in crate::providers) fn said(status: u16, trouble: Trouble) -> Failure {
        Failure { fate: Fate::Said(status, false), why: trouble.into() }
    }

    /// Whether it is certain that a change of a record did not take effect.
    pub(in crate::providers) fn nothing_applied(&self) -> bool {
        matches!(self.fate, Fate::NotSent | Fate::Said(401 | 403 | 429, _))
    }

    /// What an announcement comes to.
    pub(in crate::providers) fn announce_reply(self) -> AnnounceReply {
        if self.not_announced() { AnnounceReply::NotSent(self.why) } else { AnnounceReply::Unknown(self.why) }
    }

    /// Whether the system says that what was asked for is elsewhere now: it was renamed, or moved.
    pub(in crate::providers) fn has_moved(&self) -> bool {
        matches!(self.fate, Fate::Said(301 | 302 | 307 | 308, _))
    }

    /// Whether it is certain that an announcement did not go out. A 4xx says so whoever answered: a proxy that answers
    /// itself has not passed it on. Not 408, 423 and 425, which speak of time and not of the request.
    pub(in crate::providers) fn not_announced(&self) -> bool {
        match self.fate {
            Fate::NotSent => true,
            Fate::Said(status, _) => (400..500).contains(&status) && !matches!(status, 408 | 423 | 425),
            Fate::Unknown => false,
        }
    }
}

/// The media types that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers) enum Media {
    /// `application/json`, also by Amazon's own name
    Json,
    /// `application/problem+json`
    Problem,
    /// Anything else, or none.
    Other,
}

impl Media {
    /// The type without its parameters.
    pub(in crate::providers) fn of(content_type: Option<&[u8]>) -> Media {
        let whole = content_type.unwrap_or_default();
        let bare = whole.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let json: [&[u8]; 2] = [b"application/json", b"application/x-amz-json-1.0"];
        if json.iter().any(|json| bare.eq_ignore_ascii_case(json)) {
            Media::Json
        } else if bare.eq_ignore_ascii_case(b"application/problem+json") {
            Media::Problem
        } else {
            Media::Other
        }
    }
}

/// Statuses that say all there is to say, whatever the body: the body is then not read.
pub(in crate::providers) fn by_status(
    status: u16,
    media: Media,
    dialect: &Dialect,
    retry_after: Option<Duration>,
) -> Option<Failure> {
    let (trouble, retry_after) = match status {
        401 => (Trouble::Unauthorized, None),
        403 => (Trouble::Forbidden, None),
        429 => (Trouble::TooManyRequests, retry_after),
        503 => (Trouble::Unavailable, retry_after),
        408 | 423 | 425 | 500..=599 => (Trouble::Unavailable, None),
        200..=299 | 400..=499 => return None,
        // Redirects are not followed; 1xx and 6xx are no replies.
        _ => (Trouble::NotUnderstood, None),
    };
    Some(Failure { fate: Fate::Said(status, media == dialect.errors), why: Unreachable { trouble, retry_after } })
}

/// A 4xx in the media type of the system's own errors.
pub(in crate::providers) fn problem<T>(status: u16, dialect: &Dialect, body: &[u8]) -> Came<T> {
    let really = (dialect.really)(status, body);
    if really != status || (dialect.is_own)(body) {
        Came::Problem(really)
    } else {
        Came::Failure(Failure::said(status, Trouble::NotUnderstood))
    }
}

/// A `Retry-After`: seconds, or a date of HTTP's one current format. At most an hour; one that is over, or that cannot
/// be read, is none. A date is asked for the time, seconds are not.
pub(in crate::providers) fn retry_after(value: &str, now: impl FnOnce() -> Timestamp) -> Option<Duration> {
    let value = value.trim();
    if value.is_empty() {
        return None;
    }
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are longer than an hour, too.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        Duration::try_from(date.duration_since(now())).ok()?
    };
    Some(wait.min(RETRY_AFTER_MAX)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_an_hour_at_most() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("1", Some(1)),
            (" 120 ", Some(120)),
            ("3600", Some(3600)),
            ("86400", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Fri, 20 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sat, 20 Nov 2027 10:00:30 GMT", Some(3600)),
            ("Fri, 20 Nov 2026 09:00:00 GMT", None),
            ("0", None),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, || now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn media_types_are_told_without_their_parameters() {
        assert_eq!(Media::of(Some(b"application/json")), Media::Json);
        assert_eq!(Media::of(Some(b"Application/JSON; charset=utf-8")), Media::Json);
        assert_eq!(Media::of(Some(b"application/problem+json;x=y")), Media::Problem);
        for other in ["text/html", "application/jsonp", "text/json", "", "application/vnd.x+json", "json"] {
            assert_eq!(Media::of(Some(other.as_bytes())), Media::Other, "{other}");
        }
        assert_eq!(Media::of(None), Media::Other);
    }
}
