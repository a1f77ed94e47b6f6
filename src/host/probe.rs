//! Asks one server about one URL over HTTP/1.1 and reads the answer as it comes, in bounded memory.
//!
//! Follows nothing, repeats nothing and keeps no cookies. Does not know what is expected.

mod body;
mod coding;
mod kept;
mod sink;

use std::time::Duration;

use self::sink::Sink;
use super::http::HttpClient;
use super::http::answer::Answer;
use super::http::failure::{not_connected, unknown};
use super::{BoxFuture, Env, Prober, Timeouts};
use crate::core::http::{Request, TransportFailure, TransportFailureKind};
use crate::core::probe::{Probe, Probed, Reads, Seen, SeenBody};
use crate::core::proof_terms::Headers;
use crate::manifest::Normalizer;

/// Longest head of an answer, in bytes.
const MOST_HEAD_BYTES: usize = 64 * 1024;
/// What caps the connection and what comes before the first byte of the answer, each.
const MOST_START_MS: u64 = 10_000;

/// Asks nobody: where nothing may leave the machine.
pub struct NoProber;

impl Prober for NoProber {
    fn probe(&self, _probe: Probe, _headers: Headers, _timeouts: Timeouts) -> BoxFuture<'_, Probed> {
        let message = "nothing is probed here".to_owned();
        Box::pin(async { Err(TransportFailure { kind: TransportFailureKind::NotConnected, message }) })
    }
}

/// How long an answer may take after its head, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// Between two pieces of the body.
    pub between_ms: u64,
    /// Until the last byte of the body, from the start of the probe.
    pub total_ms: u64,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { between_ms: 30_000, total_ms: 600_000 }
    }
}

/// Probes over the network.
pub struct HttpProber {
    client: HttpClient,
    pauses: Pauses,
}

impl HttpProber {
    /// A prober with the proxies that the environment names, for probes that may go by one.
    pub fn new(env: &dyn Env) -> Self {
        Self::with_pauses(env, Pauses::default())
    }

    /// The same with other limits of time.
    pub fn with_pauses(env: &dyn Env, pauses: Pauses) -> Self {
        Self { client: HttpClient::new(env), pauses }
    }

    async fn ask(&self, probe: Probe, headers: Headers, timeouts: Timeouts) -> Probed {
        match &probe.reads {
            Reads::Head { header } => {
                let mut answer = self.open(&probe, "HEAD", &headers, timeouts).await?;
                if matches!(answer.status(), 405 | 501) {
                    let mut headers = headers;
                    headers.push(("Range".to_owned(), "bytes=0-0".to_owned()));
                    answer = self.open(&probe, "GET", &headers, timeouts).await?;
                }
                Ok(seen(&answer, header.as_deref(), SeenBody::Unread, 0))
            }
            Reads::Body { algorithm, most_bytes, normalize, header } => {
                let normalizer =
                    Normalizer::compile(normalize).map_err(|problem| not_connected(format!("normalize: {problem}")))?;
                let mut answer = self.open(&probe, "GET", &headers, timeouts).await?;
                let (mut seen_body, mut bytes) = (SeenBody::Unread, 0);
                if answer.status() == 200 {
                    let sink = Sink::new(*algorithm, *most_bytes, normalizer);
                    (seen_body, bytes) = body::read(&mut answer, sink, self.pauses.between_ms).await?;
                }
                Ok(seen(&answer, header.as_deref(), seen_body, bytes))
            }
        }
    }

    /// Sends the request of a probe and reads the head of the answer.
    async fn open(
        &self,
        probe: &Probe,
        method: &str,
        headers: &Headers,
        timeouts: Timeouts,
    ) -> Result<Answer, TransportFailure> {
        let request = Request {
            method: method.to_owned(),
            endpoint: probe.endpoint.clone(),
            route: probe.route,
            path_and_query: probe.path_and_query.clone(),
            headers: sent(&probe.host, headers),
            body: Vec::new(),
        };
        let answer = self.client.open(request, timeouts).await?;
        let bytes: usize = answer.headers().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
        if bytes > MOST_HEAD_BYTES {
            return Err(unknown(format!("the head of the answer is larger than {MOST_HEAD_BYTES} bytes")));
        }
        Ok(answer)
    }
}

impl Prober for HttpProber {
    fn probe(&self, probe: Probe, headers: Headers, timeouts: Timeouts) -> BoxFuture<'_, Probed> {
        let connect_ms = timeouts.connect_ms.min(MOST_START_MS);
        // The second limit counts from the start, the connection included.
        let first_byte_ms = connect_ms + timeouts.first_byte_ms.min(MOST_START_MS);
        let total_ms = self.pauses.total_ms;
        let timeouts = Timeouts { connect_ms, first_byte_ms, total_ms };
        Box::pin(async move {
            tokio::time::timeout(Duration::from_millis(total_ms), self.ask(probe, headers, timeouts))
                .await
                .unwrap_or_else(|_| Err(unknown(format!("no whole answer within {total_ms} ms"))))
        })
    }
}

/// Headers of a request in order; those that are `given` come in place of the usual ones.
fn sent(host: &str, given: &Headers) -> Headers {
    let is_given = |name: &str| given.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let usual = [("Accept", "*/*"), ("Accept-Encoding", "identity")];
    let mut headers = vec![("Host".to_owned(), host.to_owned())];
    let usual = usual.into_iter().filter(|(name, _)| !is_given(name));
    headers.extend(usual.map(|(name, value)| (name.to_owned(), value.to_owned())));
    headers.extend(given.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")).cloned());
    headers
}

fn seen(answer: &Answer, header: Option<&str>, body: SeenBody, bytes: u64) -> Seen {
    Seen { status: answer.status(), headers: kept::kept(answer.headers(), header), body, bytes }
}
