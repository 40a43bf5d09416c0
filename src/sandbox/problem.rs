//! Errors as the contract gives them: RFC 9457 problem documents.

use axum::http::StatusCode;
use serde::{Serialize, Serializer};

/// Why a request was refused; the document's `code`, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Code {
    /// The bearer token is missing or is not the one that the sandbox was started with.
    Unauthorized,
    /// The path is none of the contract's; most often a slash in an id that something on the way has decoded.
    UnknownPath,
    /// The path is known, but may not be asked for in this way.
    MethodNotAllowed,
    /// There is no record with this id.
    NotFound,
    /// The body is larger than 1 MiB.
    BodyTooLarge,
    /// The body is not of the media type that the request needs.
    UnsupportedMediaType,
    /// The request cannot be read: a bad escape, a query that is not documented, a body that is not JSON.
    Malformed,
    /// The body is JSON, but none of the documented ones for this path.
    NotDocumented,
    /// A change came without `If-Match`, or with one that names no revision.
    PreconditionRequired,
    /// The record has changed since the revision in `If-Match`.
    PreconditionFailed,
    /// The idempotency key belongs to a handoff with another content.
    KeyReused,
    /// A fault rule asked for this reply.
    Injected,
    /// The change was made but could not be written to the state file.
    NotKept,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            // Not 404: a caller may take a 404 in this format for "there is no such record", and a wrong base path must never
            // look like that.
            Code::UnknownPath | Code::Malformed => StatusCode::BAD_REQUEST,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::NotDocumented => StatusCode::UNPROCESSABLE_ENTITY,
            Code::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Code::KeyReused => StatusCode::CONFLICT,
            Code::Injected | Code::NotKept => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A problem document.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    code: Code,
    detail: String,
}

impl Problem {
    /// A problem with the status that belongs to its code, and a sentence for people.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem::with_status(code.status(), code, detail)
    }

    /// A problem with a status of the caller's choice, for injected faults.
    pub(super) fn with_status(status: StatusCode, code: Code, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Unknown");
        Problem { kind: "about:blank", title, status, code, detail: detail.into() }
    }

    /// The status to reply with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason, for programs.
    pub fn code(&self) -> Code {
        self.code
    }
}

fn as_number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
