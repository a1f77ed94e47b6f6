//! One probe with its headers filled in: what the environment gave is hidden in what comes back.
//!
//! Judges nothing and repeats nothing.

use std::sync::Arc;

use super::redact::{self, Redactor};
use crate::core::contract::Credentials;
use crate::core::http::{TransportFailure, TransportFailureKind};
use crate::core::probe::{Probe, Probed, Seen, SeenBody};
use crate::core::secret::Secret;
use crate::host::credentials::fill_in;
use crate::host::{Host, Timeouts};

/// Sends `probe` once. Values of variables in its headers are in nothing that comes back, in whatever form the server repeats
/// them.
///
/// # Errors
/// Headers that refer to variables without a value, which are named; else as the seam says.
pub(super) async fn probe(host: &Host, probe: &Probe, timeouts: Timeouts) -> Probed {
    let filled = fill_in(host.env.as_ref(), &probe.headers)
        .map_err(|error| TransportFailure { kind: TransportFailureKind::NotConnected, message: error.to_string() })?;
    let headers = filled.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let probed = host.prober.probe(probe.clone(), headers, timeouts).await;
    // What is written in the manifest is no secret: `gzip` has to be seen.
    let secret = filled.into_iter().filter(|(_, value)| value.variables().next().is_some());
    hidden(probed, secret.collect())
}

/// `probed` without what `secret` headers hold.
fn hidden(probed: Probed, secret: Vec<(String, Secret)>) -> Probed {
    if secret.is_empty() {
        return probed;
    }
    let redactor = Redactor::default();
    let sensitive = redactor.sensitive_credentials("", Arc::new(vec![Credentials::Headers(secret)]));
    let hide = |text: &mut String| *text = redact::hide(text, &sensitive);
    match probed {
        Ok(Seen { status, mut headers, mut body, bytes }) => {
            for (_, value) in &mut headers {
                hide(value);
            }
            if let SeenBody::Coded(coding) = &mut body {
                hide(coding);
            }
            Ok(Seen { status, headers, body, bytes })
        }
        Err(mut failure) => {
            hide(&mut failure.message);
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::http::{Endpoint, Route};
    use crate::core::probe::Reads;
    use crate::core::proof_terms::Headers;
    use crate::core::text::push_hex;
    use crate::core::time::{Now, Tick, Timestamp};
    use crate::host::credentials::testing::ScriptedEnv;
    use crate::host::http::HttpClient;
    use crate::host::resolver::SystemResolver;
    use crate::host::virtual_clock::VirtualClock;
    use crate::host::worker::InPlace;
    use crate::host::{BoxFuture, Prober};

    const CANARY: &str = "canary/token+17=";

    /// Repeats what it is sent wherever it can, or in its failure.
    struct Echo {
        fails: bool,
    }

    impl Prober for Echo {
        fn probe(&self, _: Probe, headers: Headers, _: Timeouts) -> BoxFuture<'_, Probed> {
            let (_, value) = headers.last().expect("a header").clone();
            let mut hex = String::new();
            push_hex(&mut hex, value.as_bytes());
            let seen = Seen {
                status: 302,
                headers: [
                    ("etag", format!("\"{value}\"")),
                    ("x-rev", hex),
                    ("location", format!("/?token={}&c=d", value.replace('/', "%2F").replace('+', "%2B"))),
                    ("content-encoding", "gzip".to_owned()),
                ]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
                body: SeenBody::Coded(value.clone()),
                bytes: 7,
            };
            let failure =
                TransportFailure { kind: TransportFailureKind::Tls, message: format!("only valid for {value}") };
            Box::pin(async move { if self.fails { Err(failure) } else { Ok(seen) } })
        }
    }

    async fn ask(fails: bool, headers: &[(&str, &str)]) -> Probed {
        let env = Arc::new(ScriptedEnv::with(&[("EDGE_TOKEN", CANARY), ("EMPTY", "")]));
        let now = Now { wall: Timestamp::from_unix_ms(0), tick: Tick::from_ms(0) };
        let host = Host {
            clock: Arc::new(VirtualClock::starting_at(now)),
            http: Arc::new(HttpClient::new(env.as_ref())),
            prober: Arc::new(Echo { fails }),
            resolver: Arc::new(SystemResolver),
            env,
            worker: Arc::new(InPlace),
            seed: 1,
        };
        let asked = Probe {
            endpoint: Endpoint {
                tls: true,
                host: "a.example".into(),
                port: None,
                path_prefix: String::new(),
                address: None,
            },
            route: Route::Direct,
            host: "a.example".into(),
            path_and_query: "/".into(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            reads: Reads::Head { header: Some("x-rev".into()) },
        };
        probe(&host, &asked, Timeouts::default()).await
    }

    /// X1, X2: the other values stay readable.
    #[tokio::test]
    async fn what_a_server_repeats_of_a_variable_is_hidden() {
        let headers = [("Accept-Encoding", "gzip"), ("X-Token", "Bearer ${EDGE_TOKEN}")];
        let seen = ask(false, &headers).await.expect("answered");
        let expected =
            [("etag", "\"***\""), ("x-rev", "***"), ("location", "/?token=***&c=d"), ("content-encoding", "gzip")];
        let shown: Vec<(&str, &str)> = seen.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!((shown.as_slice(), &seen.body), (&expected[..], &SeenBody::Coded("***".into())));
        assert_eq!((seen.status, seen.bytes), (302, 7));
        let failure = ask(true, &headers).await.expect_err("no answer");
        assert_eq!((failure.kind, &*failure.message), (TransportFailureKind::Tls, "only valid for ***"));
    }

    #[tokio::test]
    async fn what_manifests_write_is_no_secret() {
        let seen = ask(false, &[("X-Token", CANARY)]).await.expect("answered");
        assert_eq!(seen.header("etag"), Some("\"canary/token+17=\""));
    }

    #[tokio::test]
    async fn a_variable_without_a_value_is_named_and_nothing_is_sent() {
        for (template, message) in [
            ("${EDGE_TOKEN}${NONE}", "header `X-Token` refers to variable NONE, which is not set"),
            ("${EMPTY}", "header `X-Token` refers to variable EMPTY, which is set to nothing"),
            ("${EDGE_TOKEN", "header `X-Token` holds a broken reference: write it like ${NAME}"),
        ] {
            let failure = ask(false, &[("X-Token", template)]).await.expect_err("not sent");
            assert_eq!((failure.kind, &*failure.message), (TransportFailureKind::NotConnected, message));
        }
    }
}
