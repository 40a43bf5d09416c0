use super::*;
use proptest::prelude::*;

const TEXT: &str = "Some words first.\r\n\r\n### Release\r\n\r\npayments-2026.11.3\r\n\r\n### Status\n\nIn review\n\n### Notes\n\n```\n### Status\n\nnot this\n```\n\n- [x] rollback rehearsed\n- [ ] on-call told\n  * [ ] both of them\n1. [X] signed\n\n### Evidence\n\n_No response_\n";

fn marker() -> Marker {
    Marker { key: "r1@RR-1@3-->x".into(), uid: "5f0c-1".into() }
}

fn ours<'a>(marker: &'a Marker, bundle: &'a str) -> Link<'a> {
    Link { bundle, digest: "sha256:00", url: "https://archive.example.com/b?v=(1)", marker }
}

#[test]
fn values_stand_below_their_headings() {
    let form = Form::new(TEXT.into());
    assert_eq!(form.value("Release"), "payments-2026.11.3");
    assert_eq!(form.value("release"), "payments-2026.11.3");
    assert_eq!(form.value("Status"), "In review");
    assert_eq!(form.value("Evidence"), "");
    assert_eq!(form.value("Version"), "");
    assert!(form.has("Evidence") && !form.has("Version"));
    assert_eq!(Form::new("### A\n\n`x`\n\n## A\ny".into()).value("A"), "x | y");
    assert_eq!(form.open_items(), ["2 on-call told", "3 both of them"]);
}

#[test]
fn a_change_touches_what_it_is_about() {
    let mut form = Form::new(TEXT.into());
    form.set("Status", "Approved").unwrap();
    assert_eq!(form.clone().into_text(), TEXT.replacen("In review", "Approved", 1));
    assert!(form.set("Version", "1").is_none() && form.set("Notes", "1").is_none());
    assert_eq!(Form::new("### A\n\nx\n\n### A\n\nx".into()).set("A", "y"), None, "neither of two is the one");
    let marker = marker();
    form.mark(Step::ApproveTracker, &marker);
    form.add_link("Evidence", &ours(&marker, "payments/rv3"));
    assert_eq!(form.marking(Step::ApproveTracker), Marking::By(marker.clone()));
    assert_eq!(form.marking(Step::CloseChecklist), Marking::Unmarked);
    let [link] = <[_; 1]>::try_from(form.links("Evidence")).unwrap();
    assert_eq!((link.bundle.as_str(), link.digest.as_str()), ("payments/rv3", "sha256:00"));
    assert_eq!((link.url.as_str(), link.marking), ("https://archive.example.com/b?v=(1)", Marking::By(marker)));
    assert_eq!((form.value("Status"), form.value("Release")), ("Approved".into(), "payments-2026.11.3".into()));
}

#[test]
fn a_mark_replaces_an_earlier_one_of_its_step_and_no_other() {
    let mut form = Form::new("text".into());
    let earlier = Marker { key: "r1@RR-1@2".into(), uid: "u".into() };
    form.mark(Step::CloseChecklist, &earlier);
    form.mark(Step::ClearQueueEntry, &earlier);
    form.mark(Step::CloseChecklist, &marker());
    assert_eq!(form.marking(Step::CloseChecklist), Marking::By(marker()));
    assert_eq!(form.marking(Step::ClearQueueEntry), Marking::By(earlier));
    assert_eq!(form.into_text().matches(MARK).count(), 2);
}

#[test]
fn a_field_of_its_own_takes_our_mark_where_nobody_has_written_in_it() {
    for step in Step::ALL {
        assert!(takes_mark(&format!(" {}\r\n", mark(step, &marker()))), "an earlier mark of ours");
    }
    assert!(takes_mark("") && takes_mark(" \r\n"));
    let ours = mark(Step::CloseChecklist, &marker());
    for theirs in ["Kim, on the phone", "CloseChecklist", &format!("{ours} and Kim"), &format!("Kim: {ours}")] {
        assert!(!takes_mark(theirs), "{theirs}");
    }
}

#[test]
fn peoples_links_are_read_as_they_write_them() {
    let text = "### Evidence\n\nSee:\n\n- [b/1](https://a/1) `sha256:11`\n* [b/2](<https://a/2>) sha256:22\n- [no digest](https://a/3)\n- plain\n";
    let mut form = Form::new(text.into());
    let read =
        |form: &Form| form.links("Evidence").into_iter().map(|link| (link.bundle, link.digest)).collect::<Vec<_>>();
    let theirs = [("b/1".to_owned(), "sha256:11".to_owned()), ("b/2".to_owned(), "sha256:22".to_owned())];
    assert_eq!(read(&form), theirs);
    let marker = marker();
    form.add_link("Evidence", &ours(&marker, "b/4"));
    assert_eq!(read(&form)[..2], theirs);
    assert_eq!(read(&form)[2].0, "b/4");
    assert!(form.into_text().starts_with(text.trim_end()));
}

proptest! {
    /// Whatever a person wrote is still there after our changes, in its order, to the letter; and ours can be read.
    #[test]
    fn nothing_of_what_was_there_is_lost(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("### Evidence\n"), Just("### Status\n"), Just("In review\n"), Just("\n"), Just("```\n"), Just("~~~"),
                Just("- [ ] x\r\n"), Just("<!-- releaseclosure:CloseChecklist key=a uid=b -->\n"), Just("_No response_"),
                Just("<!-- releaseclosure:"), Just("- [b](c) d\n"), Just("é"), Just("#"), Just(" "), Just("\\"),
            ], 0..24),
        bundle in "[!-?A-~]{1,12}",
    ) {
        let text = parts.concat();
        let marker = marker();
        let mut form = Form::new(text.clone());
        let before = form.links("Evidence").len();
        form.add_link("Evidence", &ours(&marker, &bundle));
        let added = form.clone().into_text();
        // Only blanks at the end, and what the form left, may be gone.
        let mut rest = added.as_str();
        for character in text.replace(NO_RESPONSE, "").trim_end().chars() {
            let at = rest.find(character);
            prop_assert!(at.is_some(), "{:?} is lost from {added:?}", character);
            rest = &rest[at.unwrap() + character.len_utf8()..];
        }
        let fences = text.matches("```").count() + text.matches("~~~").count();
        if fences == 0 {
            let links = form.links("Evidence");
            prop_assert_eq!(links.len(), before + 1, "{:?}", added);
            prop_assert!(links.iter().any(|link| link.bundle == bundle && link.marking == Marking::By(marker.clone())));
        }
        form.mark(Step::ApproveTracker, &marker);
        prop_assert_eq!(form.marking(Step::ApproveTracker), Marking::By(marker));
        let _ = (form.set("Status", "x"), form.open_items(), form.value("Status"));
    }

    /// A mark comes back as it was, whatever is in it.
    #[test]
    fn marks_come_back(key in "[ -~é\n]{0,40}", uid in "[ -~]{0,40}") {
        let marker = Marker { key, uid };
        let mut form = Form::new(String::new());
        form.mark(Step::CloseChecklist, &marker);
        prop_assert_eq!(form.marking(Step::CloseChecklist), Marking::By(marker));
    }
}
