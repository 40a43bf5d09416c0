//! Taking a body apart that somebody else made.

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Most arrays and objects within each other.
pub(in crate::providers) const DEPTH_MAX: usize = 64;

/// The reply is not what its maker's description says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers) struct NotTheContract;

/// An object: the derived `Deserialize` of a struct would take a list of its values, too.
pub(in crate::providers) struct Object<T>(pub(in crate::providers) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Reads a body into owned values.
///
/// # Errors
/// It is no JSON object of this shape, or is too deep.
pub(in crate::providers) fn parse<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, NotTheContract> {
    if !is_shallow(body) {
        return Err(NotTheContract);
    }
    let Object(read) = serde_json::from_slice(body).map_err(|_| NotTheContract)?;
    Ok(read)
}

/// Whether arrays and objects are at most [`DEPTH_MAX`] deep. Skipped fields are not bounded by the parser, and what is
/// written back must be bounded, too.
pub(in crate::providers) fn is_shallow(body: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Whether a body is a JSON object, as a problem document must be.
pub(in crate::providers) fn is_object(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Anything {}
    parse::<Anything>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(nested(DEPTH_MAX).as_bytes()) && !is_shallow(nested(DEPTH_MAX + 1).as_bytes()));
        let text = format!(r#"{{"a":"{}\"{}"}}"#, "[".repeat(500), "{".repeat(500));
        assert!(is_shallow(text.as_bytes()));
        assert!(is_shallow("[],".repeat(500).as_bytes()));
    }

    #[test]
    fn a_list_is_no_object() {
        assert!(is_object(b" {\"a\":1}") && is_object(b"{}"));
        for body in ["[]", "null", "\"{}\"", "", "{", "{}{}"] {
            assert!(!is_object(body.as_bytes()), "{body}");
        }
    }
}
