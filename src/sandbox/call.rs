//! A request to the contract as it came in: which system, which record, with what body.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method};
use url::form_urlencoded;

use super::problem::{Code, Problem};
use super::records::Role;

/// Where the contract begins; a connection's endpoint is the server's address and this.
pub const PREFIX: &str = "/closure/v1";

/// The header that names a handoff, or a halt that is told of.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a path of the contract names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/reviews`, `/checklists`, …
    Collection(Role),
    /// `/reviews/{id}`, …, with the id decoded.
    Record(Role, String),
}

/// One request to the contract, read to its end.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The path as it was sent, prefix and percent-encoding included.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    /// Empty where the body was too large to be kept.
    pub(super) body: Bytes,
    pub(super) too_large: bool,
    pub(super) target: Result<Target, Problem>,
}

impl Call {
    pub(super) fn new(
        method: Method,
        path: &str,
        query: Option<&str>,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Call {
        let too_large = body.is_none();
        Call {
            method,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers,
            body: body.unwrap_or_default(),
            too_large,
            target: target(path.strip_prefix(PREFIX).unwrap_or(path)),
        }
    }

    /// The system that is asked, where the path names one.
    pub(super) fn role(&self) -> Option<Role> {
        match &self.target {
            Ok(Target::Collection(role) | Target::Record(role, _)) => Some(*role),
            Err(_) => None,
        }
    }

    /// The record that is asked for: the id in the path, or the key of a handoff. A look-up names none.
    pub(super) fn record(&self) -> Option<&str> {
        match &self.target {
            Ok(Target::Record(_, id)) => Some(id),
            Ok(Target::Collection(Role::Intake | Role::FollowUp)) => self.header(&IDEMPOTENCY_KEY),
            Ok(Target::Collection(_)) | Err(_) => None,
        }
    }

    /// A header's value, where it is there and is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type of the body, in small letters and without parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.header(&axum::http::header::CONTENT_TYPE)?;
        Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
    }

    /// The values of the documented query parameters, in the order of `names`.
    ///
    /// A parameter that is not documented, or comes twice, is refused: a filter that is silently ignored would turn a look-up
    /// into a list of everything.
    pub(super) fn query<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
        let mut values = [const { None }; N];
        for (name, value) in form_urlencoded::parse(self.query.as_deref().unwrap_or_default().as_bytes()) {
            let Some(index) = names.iter().position(|known| *known == name) else {
                return Err(Problem::new(
                    Code::Malformed,
                    format!("the query parameter {name:?} is not documented here"),
                ));
            };
            if values[index].replace(value.into_owned()).is_some() {
                return Err(Problem::new(Code::Malformed, format!("the query parameter {name:?} is given twice")));
            }
        }
        Ok(values)
    }
}

/// What the path after the prefix names.
fn target(path: &str) -> Result<Target, Problem> {
    let unknown = |detail: &str| Err(Problem::new(Code::UnknownPath, detail));
    let Some(path) = path.strip_prefix('/') else { return unknown("the contract has no such path") };
    let mut segments = path.split('/');
    let first = segments.next().unwrap_or_default();
    let Some(role) = Role::ALL.into_iter().find(|role| role.collection() == first) else {
        return unknown("the contract has no such path");
    };
    match (segments.next(), segments.next()) {
        (None, _) if role == Role::Archive => unknown("bundles are read one by one: /bundles/{bundle}"),
        (None, _) => Ok(Target::Collection(role)),
        (Some(""), _) => unknown("the id is empty"),
        (Some(id), None) => Ok(Target::Record(role, decode(id)?)),
        (Some(_), Some(_)) => unknown(
            "an id is one path segment, in which a slash is sent as %2F; if it was, something on the way here has decoded it",
        ),
    }
}

/// Decodes the percent-escapes of one path segment.
pub(super) fn decode(segment: &str) -> Result<String, Problem> {
    let malformed = |detail: &str| Problem::new(Code::Malformed, detail);
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(malformed("the path has a % that two hexadecimal digits do not follow"));
        };
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).map_err(|_| malformed("the path is not UTF-8 when its escapes are decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str) -> Code {
        target(path).expect_err(path).code()
    }

    #[test]
    fn an_id_is_one_segment_and_is_compared_decoded() {
        let bundle = Target::Record(Role::Archive, "payments/2026.11.3/rv3".to_owned());
        assert_eq!(target("/bundles/payments%2F2026.11.3%2frv3").expect("one segment"), bundle);
        let key = Target::Record(Role::Intake, "a@b@3".to_owned());
        assert_eq!(target("/handoffs/a%40b@3").expect("one segment"), key);
        assert_eq!(target("/queue-entries").expect("a collection"), Target::Collection(Role::Queue));
    }

    #[test]
    fn a_path_that_is_not_the_contracts_is_never_a_missing_record() {
        for path in
            ["", "/", "/deployments", "/bundles", "/bundles/", "/bundles/payments/2026.11.3/rv3", "/reviews/a/b"]
        {
            assert_eq!(code(path), Code::UnknownPath, "{path}");
        }
    }

    #[test]
    fn a_bad_escape_is_malformed() {
        for path in ["/reviews/%", "/reviews/%2", "/reviews/%zz", "/reviews/%ff"] {
            assert_eq!(code(path), Code::Malformed, "{path}");
        }
    }
}
