//! One request from credentials to decoded answer: what purges and queries have in common.
//!
//! Knows no vendor, repeats nothing and records nothing.

use crate::core::contract::{Account, CallError, Credentials, ErrorClass, Stamp};
use crate::core::http::{Request, Response, TransportFailure};
use crate::core::model::ProviderConfig;
use crate::core::time::Timestamp;
use crate::engine::redact::{self, Redactor};
use crate::host::credentials::CredentialStore;
use crate::host::{Host, Timeouts};

/// Clocks further apart than this explain a refused time or nonce, in seconds: vendors allow for minutes.
const CLOCK_S: u64 = 60;

/// What a request needs besides its content.
#[derive(Clone, Copy)]
pub(crate) struct CallContext<'a> {
    /// Effects.
    pub(crate) host: &'a Host,
    /// Credentials of all providers.
    pub(crate) credentials: &'a CredentialStore,
    /// Which provider is called.
    pub(crate) config: &'a ProviderConfig,
    /// Hides credentials in answers.
    pub(crate) redactor: &'a Redactor,
    /// How long it may take.
    pub(crate) timeouts: Timeouts,
}

/// Why there is no decoded answer.
pub(crate) enum RequestError {
    /// The provider refused, or nothing could be sent; with the credentials that were sent, if any were.
    Refused(CallError, Option<Credentials>),
    /// No answer came.
    Failed(TransportFailure),
}

/// Hides credentials in a text that an answer holds.
pub(crate) type Hide<'a> = dyn Fn(&mut String) + 'a;

/// Sends what `build` makes and returns what `read` finds in the answer; `read` hides what it keeps of it.
///
/// # Errors
/// [`RequestError`]; the message of a refusal over the clock holds the difference, credentials are hidden.
pub(crate) async fn send_request<T>(
    line: CallContext<'_>,
    nonce: u128,
    build: impl FnOnce(&Account, &Credentials, &Stamp) -> Result<Request, String>,
    read: impl FnOnce(&Account, &Response, &Hide<'_>) -> Result<T, CallError>,
) -> Result<T, RequestError> {
    let CallContext { host, config, .. } = line;
    let credentials =
        line.credentials.get(config, host.clock.now().wall).await.map_err(|error| {
            RequestError::Refused(refusal(ErrorClass::Auth, "no credentials", error.to_string()), None)
        })?;
    let account = Account { provider: config.name.clone(), options: config.options.clone() };
    let stamp = Stamp { wall: host.clock.now().wall, nonce };
    let request = build(&account, &credentials, &stamp)
        .map_err(|message| RequestError::Refused(refusal(ErrorClass::Config, "not sent", message), None))?;
    let known = line.credentials.known(&config.name);
    let sensitive = line.redactor.sensitive(&config.name, known, &request);
    let hide = |text: &mut String| *text = redact::hide(text, &sensitive);
    let response = host.http.send(request, line.timeouts).await.map_err(|mut failure| {
        // The server writes its part of it: names in its certificate, for one.
        hide(&mut failure.message);
        RequestError::Failed(failure)
    })?;
    let answer = read(&account, &response, &hide).map_err(|error| shown(error, &hide, host.clock.now().wall));
    answer.map_err(|error| RequestError::Refused(error, Some(credentials)))
}

/// The error as it may be shown.
fn shown(mut error: CallError, hide: &Hide<'_>, now: Timestamp) -> CallError {
    [&mut error.message, &mut error.code].into_iter().chain(&mut error.request_id).for_each(hide);
    match (error.class, error.server_time) {
        (ErrorClass::Clock, Some(server)) => error.message += &clock_hint(now, server),
        // A nonce that counts as used may be a clock that is off.
        (ErrorClass::SignAgain, Some(server)) if now.unix_seconds().abs_diff(server.unix_seconds()) > CLOCK_S => {
            error.message += &clock_hint(now, server);
        }
        _ => {}
    }
    error
}

fn clock_hint(local: Timestamp, server: Timestamp) -> String {
    let ahead_s = local.unix_seconds() - server.unix_seconds();
    if ahead_s.unsigned_abs() <= CLOCK_S {
        return "; the local clock agrees with the server's, so it is not the cause: a proxy or a slow network may hold requests \
                back, the clock may have been set meanwhile, or the vendor's own machines differ; run again"
            .to_owned();
    }
    let side = if ahead_s < 0 { "behind" } else { "ahead of" };
    format!("; the local clock is {} s {side} the server's: set it right and run again", ahead_s.abs())
}

/// A refusal from this side of the line.
pub(crate) fn refusal(class: ErrorClass, code: &str, message: String) -> CallError {
    CallError { class, code: code.to_owned(), message, request_id: None, retry_after_ms: None, server_time: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::contract::Options;
    use crate::core::http::{Endpoint, Route, TransportFailureKind};
    use crate::core::model::{CredentialSource, Limits, Location};
    use crate::core::time::{Now, Tick};
    use crate::host::credentials::testing::ScriptedEnv;
    use crate::host::probe::NoProber;
    use crate::host::resolver::SystemResolver;
    use crate::host::virtual_clock::VirtualClock;
    use crate::host::worker::InPlace;
    use crate::host::{BoxFuture, Http};
    use crate::vendor::VENDORS;

    /// A server whose certificate is for another name.
    struct OtherName;

    impl Http for OtherName {
        fn send(&self, _: Request, _: Timeouts) -> BoxFuture<'_, Result<Response, TransportFailure>> {
            let message = "certificate only valid for DnsName(\"secretcanary.example\")".to_owned();
            Box::pin(async { Err(TransportFailure { kind: TransportFailureKind::Tls, message }) })
        }
    }

    /// S8, X2
    #[tokio::test]
    async fn what_the_server_wrote_of_a_failure_is_masked() {
        let keys = [("TENCENTCLOUD_SECRET_ID", "AKIDcanary"), ("TENCENTCLOUD_SECRET_KEY", "SECRETcanary")];
        let host = Host {
            clock: Arc::new(VirtualClock::starting_at(Now {
                wall: Timestamp::from_unix_ms(0),
                tick: Tick::from_ms(0),
            })),
            http: Arc::new(OtherName),
            prober: Arc::new(NoProber),
            resolver: Arc::new(SystemResolver),
            env: Arc::new(ScriptedEnv::with(&keys)),
            worker: Arc::new(InPlace),
            seed: 1,
        };
        let config = ProviderConfig {
            name: "p".to_owned(),
            kind: VENDORS.find("tencent-cdn").expect("a known kind"),
            hosts: Vec::new(),
            endpoints: Vec::new().into(),
            require: None,
            options: Options::default(),
            limits: Limits::default(),
            ignore_query: false,
            upstream: None,
            account: None,
            credentials: CredentialSource::Environment { prefix: String::new() },
            place: Location::default(),
        };
        let (credentials, redactor) = (CredentialStore::new(host.env.clone()), Redactor::default());
        let line = CallContext {
            host: &host,
            credentials: &credentials,
            config: &config,
            redactor: &redactor,
            timeouts: Timeouts::default(),
        };
        let build = |_: &Account, _: &Credentials, _: &Stamp| {
            let endpoint =
                Endpoint { tls: true, host: "a".into(), port: None, path_prefix: String::new(), address: None };
            let (method, path_and_query) = ("GET".into(), "/".into());
            Ok(Request {
                method,
                endpoint,
                route: Route::Direct,
                path_and_query,
                headers: Vec::new(),
                body: Vec::new(),
            })
        };
        let Err(RequestError::Failed(failure)) = send_request(line, 1, build, |_, _, _| Ok(())).await else {
            panic!("no connection")
        };
        assert_eq!(failure.message, "certificate only valid for DnsName(\"***.example\")");
    }

    /// A clock that agrees with the server's need not be set right.
    #[test]
    fn a_clock_is_to_be_set_only_if_it_is_off() {
        let hint = |ahead_s: i64| clock_hint(Timestamp::from_unix_ms(ahead_s * 1000), Timestamp::from_unix_ms(0));
        for ahead_s in [-60, -1, 0, 60] {
            assert!(
                hint(ahead_s).contains("so it is not the cause") && !hint(ahead_s).contains("set it right"),
                "{ahead_s}"
            );
        }
        assert!(hint(61).contains("61 s ahead of the server's: set it right"));
        assert!(hint(-900).contains("900 s behind the server's: set it right"));
    }
}
