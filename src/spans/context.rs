//! The context of a span in the form of W3C Trace Context, version 00: what is sent along, and kept on an object.

use std::fmt;

/// Version, id of the trace, id of the span, flags; each in its length.
const LENGTH: usize = 55;

/// The context of a span, well-formed: `00-<32>-<16>-<2>`, all in small hexadecimal digits.
///
/// It can hold nothing else, so whoever sent it, it may be stored and told. It proves nothing: whom it names is the sender's
/// word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(String);

impl TraceParent {
    /// The context that a text is.
    ///
    /// None where it is none: other characters, an id of zeros, another version, which may hold what is not known here.
    #[must_use]
    pub fn parse(text: &str) -> Option<TraceParent> {
        if text.len() != LENGTH {
            return None;
        }
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts[..] else { return None };
        let digits = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let zeros = |part: &str| part.bytes().all(|byte| byte == b'0');
        let fits = version == "00" && digits(trace, 32) && digits(span, 16) && digits(flags, 2);
        (fits && !zeros(trace) && !zeros(span)).then(|| TraceParent(text.to_owned()))
    }

    /// The context that a request names, where it names one: a header that is there once.
    #[must_use]
    pub fn of_headers(headers: &http::HeaderMap) -> Option<TraceParent> {
        let mut values = headers.get_all("traceparent").iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { TraceParent::parse(value.to_str().ok()?) }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_not_well_formed_is_nothing() {
        assert_eq!(TraceParent::parse(GOOD).unwrap().as_str(), GOOD);
        assert!(TraceParent::parse(&GOOD.replace("-01", "-00")).is_some());
        for bad in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_header_counts_where_it_is_there_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of_headers(&headers), None);
        headers.append("traceparent", HeaderValue::from_static(GOOD));
        assert!(TraceParent::of_headers(&headers).is_some());
        headers.append("traceparent", HeaderValue::from_static(GOOD));
        assert_eq!(TraceParent::of_headers(&headers), None);
    }
}
