//! Whether traces are asked for: what the standard variables of the environment say.

use std::time::Duration;

/// Where spans go. The one of traces alone counts first.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// How long an export may take, in milliseconds. Likewise.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// The specification's own default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the environment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Nothing.
    Off,
    /// An endpoint is named.
    On {
        /// How long an export may take.
        timeout: Duration,
    },
}

impl Switch {
    /// As this process was started.
    #[must_use]
    pub fn of_environment() -> Switch {
        Switch::of(|name| std::env::var(name).ok())
    }

    /// A variable that is empty is as one that is not there: so the specification says.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Switch {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: [&str; 2]| names.into_iter().find_map(&variable);
        let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let elsewhere =
            variable("OTEL_TRACES_EXPORTER").is_some_and(|list| list.split(',').all(|one| one.trim() != "otlp"));
        if disabled || elsewhere || first(ENDPOINTS).is_none() {
            return Switch::Off;
        }
        let timeout = first(TIMEOUTS).and_then(|value| value.trim().parse().ok()).filter(|timeout| *timeout > 0);
        Switch::On { timeout: timeout.map_or(TIMEOUT, Duration::from_millis) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Switch {
        Switch::of(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn an_endpoint_switches_them_on() {
        let on = Switch::On { timeout: TIMEOUT };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert_eq!(of(&[]), Switch::Off);
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Switch::Off);
        assert_eq!(of(&[endpoint]), on);
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")]), on);
        assert_eq!(of(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Switch::Off);
        assert_eq!(of(&[endpoint, ("OTEL_SDK_DISABLED", "false")]), on);
        assert_eq!(of(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Switch::Off);
        assert_eq!(of(&[endpoint, ("OTEL_TRACES_EXPORTER", "otlp")]), on);
        assert_eq!(of(&[endpoint, ("OTEL_TRACES_EXPORTER", "console, otlp")]), on);
        let timeouts = [endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250")];
        assert_eq!(of(&timeouts), Switch::On { timeout: Duration::from_millis(250) });
        assert_eq!(of(&[endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]), on);
        assert_eq!(of(&[endpoint, ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]), on);
    }
}
