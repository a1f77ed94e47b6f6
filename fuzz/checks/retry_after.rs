//! Waits that an answer asks for: bounded, and those of plain numbers taken as they are.
//!
//! Input: up to three parts with `␞` between them, the headers `Retry-After`, `Date` and `x-acs-retry-after`.

use freshen::core::contract::{Account, Call, ErrorClass, Options};
use freshen::core::http::{Endpoint, Response};
use freshen::core::retry::{LONGEST_WAIT_MS, Verdict, decide};
use freshen::core::target::Target;
use freshen::core::time::Timestamp;
use freshen::vendor::VENDORS;

use super::SEPARATOR;

/// An hour: the adapters cut what an answer asks for.
const CAP_MS: u64 = 3_600_000;

/// T5
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let values: Vec<&str> = text.split(SEPARATOR).collect();
    let names = ["Retry-After", "Date", "x-acs-retry-after"];
    let headers = names.iter().zip(&values).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let response = Response { status: 503, headers: headers.collect(), body: Vec::new() };
    for kind in VENDORS.all() {
        let capabilities = kind.capabilities();
        let endpoint =
            Endpoint { tls: true, host: "a.example".into(), port: None, path_prefix: String::new(), address: None };
        let targets = vec![Target::url("https://a.example/x")];
        let call =
            Call { operation: &capabilities.operations[0], endpoint, targets, headers: Vec::new(), id: String::new() };
        let account = Account { provider: "p".into(), options: Options::default() };
        let Err(error) = kind.decode(&call, &account, &response) else { panic!("503 is no acceptance") };
        let wait = error.retry_after_ms;
        assert!(wait.is_none_or(|ms| ms <= CAP_MS), "{}: {wait:?}", capabilities.kind);
        if capabilities.kind != "alibaba-vod" {
            let how = "exempt a kind here that asks for waits in a header of its own";
            assert_eq!(wait, expected(&values), "{}: {how}", capabilities.kind);
        }
        for attempt in 0..9 {
            match decide(error.class, attempt.max(1), wait, u64::MAX / 3) {
                Verdict::After(ms) => assert!(ms <= LONGEST_WAIT_MS && ms >= wait.unwrap_or(0)),
                Verdict::GiveUp => assert!(attempt > 4 || wait > Some(LONGEST_WAIT_MS)),
            }
        }
        assert_eq!(decide(ErrorClass::Fatal, 1, wait, 0), Verdict::GiveUp);
    }
}

/// Digits are seconds; a date counts from the answer's own.
fn expected(values: &[&str]) -> Option<u64> {
    let text = values[0].trim();
    let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if is_number {
        let short = text.trim_start_matches('0');
        let seconds = if short.len() > 9 { CAP_MS } else { short.parse().unwrap_or(0) };
        return Some((seconds * 1000).min(CAP_MS));
    }
    let moment = |text: &str| Timestamp::from_http_date(text).map(Timestamp::unix_ms);
    let wait = moment(text)? - moment(values.get(1)?)?;
    (wait > 0).then(|| u64::try_from(wait).unwrap_or(0).min(CAP_MS))
}
