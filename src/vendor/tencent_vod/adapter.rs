//! Tencent Cloud VOD, API 3.0: `RefreshUrlCache`. Acceptance comes without a task id, so nothing can be asked later.

use serde::Serialize;

use crate::core::contract::ErrorClass::{Auth, Config, TargetRefused};
use crate::core::contract::{
    Account, Call, CallError, Capabilities, Credentials, Culprit, Operation, OptionShape, Rate, Reply, Stamp,
};
use crate::core::http::{Request, Response};
use crate::core::provider::Provider;
use crate::core::target::Scope;
use crate::vendor::answer::{self, Codes};
use crate::vendor::request;
use crate::vendor::tencent_api::adapter::{self as tencent_api, TencentAction};

pub(crate) static ADAPTER: TencentVod = TencentVod;

/// The adapter.
pub(crate) struct TencentVod;

static CAPABILITIES: Capabilities = Capabilities {
    kind: "tencent-vod",
    summary: "Tencent Cloud VOD (API 3.0)",
    notice: None,
    default_endpoint: Some("https://vod.tencentcloudapi.com"),
    credentials: tencent_api::CREDENTIALS,
    options: &[request::option(
        "sub_app_id",
        OptionShape::Integer,
        false,
        "VOD application id; needed by accounts that activated VOD on or after 2023-12-25, even for the default \
         application",
    )],
    operations: &[Operation {
        targets_per_call: 20,
        calls: Rate::per_second(5),
        targets_per_day: Some(100_000),
        calls_in_flight: 4,
        ..Operation::plain("RefreshUrlCache", Scope::Url)
    }],
    max_url_bytes: None,
    quota_day_offset_minutes: 480,
    // ASSUMED: as the CDN of the same vendor.
    effect_ms: 300_000,
};

const ACTION: TencentAction = TencentAction { service: "vod", name: "RefreshUrlCache", version: "2018-07-17" };

const CODES: &Codes = &[
    // Which code an unregistered domain yields is not documented; this one is the likeliest, so the batch is searched.
    ("InvalidParameter", TargetRefused(Culprit::Unclear)),
    ("InvalidParameterValue.Url", TargetRefused(Culprit::Target)),
    ("InvalidParameterValue.DomainName", TargetRefused(Culprit::Host)),
    ("InvalidParameterValue.SubAppId", Config),
    ("FailedOperation.InvalidVodUser", Auth),
];

/// Parameters, in the order in which they are sent.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VodParameters<'a> {
    urls: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_app_id: Option<u64>,
}

impl Provider for TencentVod {
    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn encode(
        &self,
        call: &Call,
        account: &Account,
        credentials: &Credentials,
        stamp: &Stamp,
    ) -> Result<Request, String> {
        let keys = request::keys(credentials, account, &CAPABILITIES)?;
        let parameters =
            VodParameters { urls: request::texts(call), sub_app_id: account.options.integer("sub_app_id") };
        let body = serde_json::to_vec(&parameters).map_err(|error| error.to_string())?;
        Ok(tencent_api::encode(&call.endpoint, &ACTION, &keys, stamp, body))
    }

    fn decode(&self, call: &Call, _account: &Account, response: &Response) -> Result<Reply, CallError> {
        let asked = Some(call.targets.len());
        let content = tencent_api::accepted(response, CODES)?;
        let request_id = tencent_api::request_id(&content);
        answer::undenied(Reply { task_ids: Vec::new(), request_id, ..Reply::default() }, asked, response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::contract::ErrorClass::{self, QuotaSpent, Request as Malformed, Throttled, Transient};
    use crate::core::contract::OptionValue;
    use crate::vendor::testing::{
        Vector, account, assert_errors_spoil_acceptance, assert_garbage_is_unknown, call, decoded, keys, stamp,
    };

    const VECTORS: &str = include_str!("../../../tests/it/golden/vectors/tencent-vod.json");

    #[test]
    fn requests_are_those_of_the_vectors() {
        let parsed: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let with_app =
            parsed["vectors"].as_array().unwrap().iter().find(|v| v["id"] == "tencent-vod/three-urls-subappid");
        let sub_app_id = with_app.unwrap()["input"]["params"]["SubAppId"].as_u64().unwrap();
        let cases: [(&str, &[(&str, OptionValue)]); 5] = [
            ("tencent-vod/one-url", &[]),
            ("tencent-vod/three-urls-subappid", &[("sub_app_id", OptionValue::Integer(sub_app_id))]),
            ("tencent-vod/query-strings", &[]),
            ("tencent-vod/cjk-percent-encoded", &[]),
            ("tencent-vod/localhost-host-with-port", &[]),
        ];
        for (id, options) in cases {
            let vector = Vector::find(VECTORS, id);
            let call = call(&ADAPTER, vector.input("host"), &vector.list("Urls"));
            let keys = keys("AKIDEXAMPLE", "SECRETKEYEXAMPLE", None);
            vector.assert_sent(&ADAPTER.encode(&call, &account(options), &keys, &stamp(0)).unwrap());
        }
    }

    #[test]
    fn acceptance_has_no_task_but_a_request_id() {
        let reply = decoded(&ADAPTER, 200, r#"{"Response":{"RequestId":"r1"}}"#).unwrap();
        assert_eq!(reply, Reply { task_ids: Vec::new(), request_id: Some("r1".into()), ..Reply::default() });
        assert_garbage_is_unknown(&ADAPTER, 200);
        assert_eq!(decoded(&ADAPTER, 200, r#"{"Response":{}}"#).unwrap_err().class, ErrorClass::Unknown);
    }

    #[test]
    fn a_success_that_speaks_of_an_error_is_unknown() {
        let body = |member: &str| format!(r#"{{"Response":{{{member},"RequestId":"r"}}}}"#);
        assert_errors_spoil_acceptance(&ADAPTER, 200, &body);
    }

    #[test]
    fn every_listed_code_has_its_class() {
        let expected: &[(&str, ErrorClass)] = &[
            ("FailedOperation", Transient),
            ("InternalError", Transient),
            ("InvalidParameter", TargetRefused(Culprit::Unclear)),
            ("LimitExceeded", QuotaSpent),
            ("UnauthorizedOperation", Auth),
            ("UnauthorizedOperation.Anything", Auth),
            ("AuthFailure", Auth),
            ("OperationDenied", ErrorClass::Fatal),
            ("LimitExceeded.Anything", QuotaSpent),
            ("InvalidParameterValue", Malformed),
            ("InvalidParameterValue.Url", TargetRefused(Culprit::Target)),
            ("InvalidParameterValue.DomainName", TargetRefused(Culprit::Host)),
            ("InvalidParameterValue.SubAppId", Config),
            ("FailedOperation.InvalidVodUser", Auth),
            ("RequestLimitExceeded", Throttled),
            ("FailedOperation.Other", ErrorClass::Unknown),
        ];
        for (code, class) in expected {
            let body = format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}},"RequestId":"r"}}}}"#);
            let error = decoded(&ADAPTER, 200, &body).unwrap_err();
            assert_eq!((error.class, error.code.as_str()), (*class, *code));
        }
    }
}
