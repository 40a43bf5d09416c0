use super::*;

fn read(words: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::read(words.iter().map(OsString::from))
}

fn operator(words: &[&str]) -> Operator {
    match read(&[&["releaseclosure", "operator"], words].concat()).unwrap().command {
        Command::Operator(operator) => operator,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_finds_nothing_wrong() {
    Arguments::command().debug_assert();
}

#[test]
fn the_operator_has_defaults_and_flags() {
    let settings = operator(&[]);
    assert_eq!((settings.namespace.name(), settings.lease_namespace.name()), (None, None));
    assert_eq!(settings.lease_name, "releaseclosure-operator");
    assert_eq!(settings.metrics_bind_address, Bind(Some(([0, 0, 0, 0], 8080).into())));
    assert!(!settings.allow_loopback_connections);
    assert_eq!(settings.feeds_bind_address, Bind(None));
    let settings = operator(&[
        "--namespace=payments",
        "--lease-namespace",
        "system",
        "--metrics-bind-address",
        "127.0.0.1:0",
        "--allow-loopback-connections",
    ]);
    assert_eq!((settings.namespace.name(), settings.lease_namespace.name()), (Some("payments"), Some("system")));
    assert_eq!(settings.metrics_bind_address, Bind(Some(([127, 0, 0, 1], 0).into())));
    assert!(settings.allow_loopback_connections);
    assert_eq!(settings.log_format.is_json(), None);
    assert_eq!(operator(&["--log-format=json"]).log_format.is_json(), Some(true));
    assert_eq!(operator(&["--log-format=text"]).log_format.is_json(), Some(false));
    assert_eq!(operator(&["--metrics-bind-address=0"]).metrics_bind_address, Bind(None));
    assert_eq!(operator(&["--metrics-bind-address=:9"]).metrics_bind_address.0.unwrap().port(), 9);
    assert!(!operator(&["--allow-loopback-connections=false"]).allow_loopback_connections);
}

#[test]
fn every_flag_of_the_operator_has_its_variable() {
    let command = Arguments::command();
    let operator = command.find_subcommand("operator").unwrap();
    for flag in operator.get_arguments().filter(|flag| !flag.is_hide_set() && flag.get_id() != "help") {
        let wanted = format!("RELEASECLOSURE_{}", flag.get_long().unwrap().replace('-', "_").to_uppercase());
        assert_eq!(flag.get_env().unwrap(), wanted.as_str());
    }
}

#[test]
fn names_cannot_leave_their_path_segment() {
    for bad in ["..", "a/b", "A", "-a", "", "a b", "a%2fb", "a..b"] {
        assert!(read(&["releaseclosure", "wait", "--", bad]).is_err(), "{bad}");
        assert!(bad.is_empty() || read(&["releaseclosure", "operator", &format!("--namespace={bad}")]).is_err());
    }
    assert!(read(&["releaseclosure", "wait", "payments-2026.11.3-rv3"]).is_ok());
    assert!(read(&["releaseclosure", "operator", "--namespace=a.b"]).is_err());
}

#[test]
fn people_type_what_the_object_says() {
    let words = ["releaseclosure", "resume", "c", "--handoff", "NotDelivered", "-n", "payments", "--yes"];
    match read(&words).unwrap().command {
        Command::Resume(resume) => {
            assert_eq!(resume.handoff.map(Handoff::from), Some(Handoff::NotDelivered));
            assert_eq!(resume.resolve.cluster.namespace.name(), Some("payments"));
            assert!(resume.resolve.yes && !resume.resolve.wait);
        }
        other => panic!("{other:?}"),
    }
    match read(&["releaseclosure", "wait", "c", "--timeout=1h30m"]).unwrap().command {
        Command::Wait(wait) => assert_eq!(wait.timeout, Duration::from_secs(5400)),
        other => panic!("{other:?}"),
    }
    assert!(read(&["releaseclosure", "wait", "c", "--timeout=-5m"]).is_err());
}

#[test]
fn a_plugin_calls_itself_by_kubectls_name_and_errors_are_not_halts() {
    let help = read(&["/usr/local/bin/kubectl-releaseclosure", "wait", "--help"]).unwrap_err();
    assert!(help.to_string().contains("kubectl releaseclosure wait"), "{help}");
    assert_eq!(exit_code(&help), 0);
    assert_eq!(exit_code(&read(&["releaseclosure", "wiat"]).unwrap_err()), 1);
    assert_eq!(exit_code(&read(&["releaseclosure"]).unwrap_err()), 1);
}
