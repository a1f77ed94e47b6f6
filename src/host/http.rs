//! Sends one request over HTTP/1.1 and reads one answer: byte for byte, bounded in time and size, once.
//!
//! Does not know vendors, signatures or retries. Redirects are answers like any other; nothing is followed, kept or
//! decoded. Proxies serve endpoints beyond this machine only, and only requests that may go by one.

use std::time::Duration;

use self::answer::Answer;
use self::clients::Clients;
use self::failure::{from_reqwest, unknown};
use super::{BoxFuture, Env, Http, Timeouts};
use crate::core::http::{Request, Response, Route, TransportFailure, TransportFailureKind};

pub(super) mod answer;
mod clients;
pub(super) mod failure;
mod proxy;
mod written;

/// Most bytes of a body that are read.
const MOST_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Sends requests over the network. Connections are reused; certificates are checked against the system's roots.
pub struct HttpClient {
    clients: Clients,
}

impl HttpClient {
    /// A client with the proxies that the environment names. Unusable ones are reported by the first request that
    /// would need them.
    pub fn new(env: &dyn Env) -> Self {
        Self { clients: Clients::new(env) }
    }

    /// Sends `request` and reads the head of the answer, within the first two of `timeouts`.
    ///
    /// # Errors
    /// Why no head came.
    pub(super) async fn open(&self, request: Request, timeouts: Timeouts) -> Result<Answer, TransportFailure> {
        let client = self.clients.get(&request.endpoint, request.route, timeouts.connect_ms)?;
        head(&client, written::to_reqwest(request)?, timeouts).await
    }

    async fn exchange(&self, request: Request, timeouts: Timeouts) -> Result<Response, TransportFailure> {
        let passes_proxies_by =
            request.route == Route::Direct && !request.endpoint.is_loopback() && self.clients.has_proxies();
        let client = self.clients.get(&request.endpoint, request.route, timeouts.connect_ms)?;
        let answer = head(&client, written::to_reqwest(request)?, timeouts).await;
        read(answer.map_err(|failure| if passes_proxies_by { without_proxy(failure) } else { failure })?).await
    }
}

impl Http for HttpClient {
    fn send(&self, request: Request, timeouts: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
        Box::pin(async move {
            tokio::time::timeout(Duration::from_millis(timeouts.total_ms), self.exchange(request, timeouts))
                .await
                .unwrap_or_else(|_| Err(unknown(format!("no whole answer within {} ms", timeouts.total_ms))))
        })
    }
}

/// A user with a proxy for everything wonders why it was not used.
fn without_proxy(mut failure: TransportFailure) -> TransportFailure {
    if failure.kind == TransportFailureKind::NotConnected {
        failure.message +=
            " (purges to caches pass the proxy of the environment by, see the option `proxy` of `http-purge`)";
    }
    failure
}

async fn head(
    client: &reqwest::Client,
    request: reqwest::Request,
    timeouts: Timeouts,
) -> Result<Answer, TransportFailure> {
    tokio::time::timeout(Duration::from_millis(timeouts.first_byte_ms), client.execute(request))
        .await
        .map_err(|_| unknown(format!("no answer within {} ms", timeouts.first_byte_ms)))?
        .map(Answer::of)
        .map_err(from_reqwest)
}

async fn read(mut answer: Answer) -> Result<Response, TransportFailure> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = answer.status();
    let headers = answer.headers().map(|(name, value)| (name.to_owned(), text(value))).collect();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MOST_BODY_BYTES {
            return Err(unknown("answer larger than 4 MiB".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status, headers, body })
}
