//! Amazon SQS.

use super::SecretKeyRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A queue's address, of a queue that is first in, first out: Amazon gives those alone names that end so.
const QUEUE_PATTERN: &str = r"^https?://[A-Za-z0-9._:\[\]-]+/[0-9]{12}/[A-Za-z0-9_-]{1,75}\.fifo$";
const REGION_PATTERN: &str = r"^[a-z0-9]+(-[a-z0-9]+)*$";

/// One FIFO queue in Amazon SQS, or in what speaks like it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sqs {
    /// The queue's URL, such as https://sqs.eu-central-1.amazonaws.com/123456789012/handoffs.fifo. A FIFO queue: only such a one drops what it is told
    /// twice.
    #[schemars(length(min = 1, max = 1024), regex(pattern = QUEUE_PATTERN), extend("format" = "uri"))]
    pub queue_url: String,
    /// The queue's region.
    #[schemars(length(min = 1, max = 32), regex(pattern = REGION_PATTERN))]
    pub region: String,
    /// The access key's id.
    pub access_key_secret_ref: SecretKeyRef,
    /// The access key's secret.
    pub secret_key_secret_ref: SecretKeyRef,
    /// The session token, where the access key is a temporary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token_secret_ref: Option<SecretKeyRef>,
}

impl Sqs {
    /// The Secrets that it names, by what each is for.
    #[must_use]
    pub fn secret_refs(&self) -> Vec<(&'static str, &SecretKeyRef)> {
        use super::object_store::{ACCESS_KEY, SECRET_KEY, SESSION_TOKEN};
        let keys = [(ACCESS_KEY, &self.access_key_secret_ref), (SECRET_KEY, &self.secret_key_secret_ref)];
        keys.into_iter().chain(self.session_token_secret_ref.iter().map(|token| (SESSION_TOKEN, token))).collect()
    }

    /// Where the queue is, without its account and name. None where it is no URL of a FIFO queue.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        let (endpoint, name) = self.queue_url.strip_suffix(".fifo")?.rsplit_once('/')?;
        let (endpoint, account) = endpoint.rsplit_once('/')?;
        (!name.is_empty() && account.len() == 12 && !endpoint.ends_with('/')).then_some(endpoint)
    }

    /// The region that Amazon's own host names: `sqs.REGION.…`, also behind a VPC's endpoint.
    #[must_use]
    pub fn region_of_host(&self) -> Option<&str> {
        let host = self.endpoint()?.split("://").nth(1)?;
        if !host.ends_with(".amazonaws.com") && !host.ends_with(".amazonaws.com.cn") {
            return None;
        }
        let mut labels = host.split('.').skip_while(|label| *label != "sqs");
        labels.nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queues_url_says_where_it_is_and_in_which_region() {
        let queue = |url: &str| -> Sqs {
            let secret = serde_json::json!({"name": "a", "key": "b"});
            serde_json::from_value(serde_json::json!({"queueUrl": url, "region": "r", "accessKeySecretRef": secret,
                "secretKeySecretRef": secret}))
            .unwrap()
        };
        for (url, endpoint, region) in [
            (
                "https://sqs.eu-central-1.amazonaws.com/123456789012/a.fifo",
                Some("https://sqs.eu-central-1.amazonaws.com"),
                Some("eu-central-1"),
            ),
            (
                "https://vpce-0a-b.sqs.us-east-1.vpce.amazonaws.com/123456789012/a.fifo",
                Some("https://vpce-0a-b.sqs.us-east-1.vpce.amazonaws.com"),
                Some("us-east-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/a.fifo",
                Some("https://sqs.cn-north-1.amazonaws.com.cn"),
                Some("cn-north-1"),
            ),
            ("http://127.0.0.1:5000/123456789012/a.fifo", Some("http://127.0.0.1:5000"), None),
            (
                "https://sqs.eu-central-1.example.com/123456789012/a.fifo",
                Some("https://sqs.eu-central-1.example.com"),
                None,
            ),
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/a", None, None),
            ("https://sqs.eu-central-1.amazonaws.com/a.fifo", None, None),
        ] {
            assert_eq!((queue(url).endpoint(), queue(url).region_of_host()), (endpoint, region), "{url}");
        }
    }
}
