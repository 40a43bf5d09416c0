//! Attributes of an event as headers.

/// A value as CloudEvents' binary mode puts it into a header: spaces, quotation marks, percent signs and everything that is
/// not printable ASCII as `%XX` (HTTP protocol binding 1.0.2, 3.1.3.2).
pub(super) fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
