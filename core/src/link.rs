//! Which links may leave the cluster, and how those that may not are shown.

use super::ledger::LINK_MAX;

/// A link less what may hold a credential: user info, query and fragment are told to be there, not what they say.
pub(super) fn without_secrets(link: &str) -> String {
    let (plain, rest) = link.find(['?', '#']).map_or((link, ""), |end| (&link[..end], &link[end..end + 1]));
    let dots = if rest.is_empty() { "" } else { "…" };
    match plain.rsplit_once('@') {
        Some((user, place)) => {
            let scheme = user.split_once("//").map_or("", |(scheme, _)| scheme);
            format!("{scheme}//…@{place}{rest}{dots}")
        }
        None => format!("{plain}{rest}{dots}"),
    }
}

/// Whether a link may leave the cluster: https (http only where the connection may), no user info, query or fragment,
/// at most 512 bytes.
///
/// # Errors
/// The rule that it breaks.
pub fn is_fit(link: &str, plaintext_allowed: bool) -> Result<(), &'static str> {
    if link.len() > LINK_MAX || !link.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("at most 512 printable ASCII characters");
    }
    let url = url::Url::parse(link).map_err(|_| "a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if plaintext_allowed => {}
        _ => return Err("an https link"),
    }
    let bare =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if bare && url.has_host() && !link.contains('@') {
        Ok(())
    } else {
        Err("a link without user info, query or fragment")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfit_link_is_shown_without_what_may_be_a_credential() {
        for (link, shown) in [
            ("https://a.example/b?sig=secret", "https://a.example/b?…"),
            ("https://a.example/b#secret", "https://a.example/b#…"),
            ("https://me:secret@a.example/b?x", "https://…@a.example/b?…"),
            ("ftp://a.example/b", "ftp://a.example/b"),
            ("secret@", "//…@"),
        ] {
            assert_eq!(without_secrets(link), shown);
        }
    }

    #[test]
    fn only_plain_links_leave_the_cluster() {
        assert_eq!(is_fit("https://a.example/b/c", false), Ok(()));
        assert_eq!(is_fit("http://a.example/b", true), Ok(()));
        for bad in [
            "http://a.example/b",
            "ftp://a.example",
            "https://u@a.example",
            "https://a.example?x",
            "https://a.example#x",
            "https://",
            "a",
            "",
            "https://a.example/\n",
            "javascript:alert(1)",
        ] {
            assert!(is_fit(bad, false).is_err(), "{bad}");
        }
        assert!(is_fit(&format!("https://a.example/{}", "x".repeat(512)), false).is_err());
    }
}
