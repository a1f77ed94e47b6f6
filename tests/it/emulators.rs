//! The emulators accept what the vendors' SDKs send and refuse the rest with the vendors' codes.

mod draft;

use draft::{Draft, cloud, running, setup, url_limits, urls};
use freshen::core::contract::{Account, Credentials, OptionValue, Options, Stamp};
use freshen::core::http::{Request, Response};
use freshen::core::query::{QueryContext, TaskCursor, TaskPage, TaskState, quota_left, state_of};
use freshen::core::secret::Secret;
use freshen::core::target::Target;
use freshen::core::time::Timestamp;
use freshen::vendor::VENDORS;
use freshen::vendor::emulation::{Emulator, Setup};
use serde_json::{Value, json};

use crate::support::cloud::clouds;
use crate::support::vendor::{self, fact};

const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

/// The vendor's code with the HTTP status, or `accepted`.
fn outcome(kind: &str, response: &Response) -> String {
    assert!(response.header("Date").is_some_and(|date| date.ends_with(" GMT")));
    let status = response.status;
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else { return status.to_string() };
    match body.pointer(fact(kind, "refusal.code_at")) {
        Some(Value::String(code)) => format!("{status} {code}"),
        Some(Value::Number(code)) if code.as_i64() != Some(0) => format!("{status} {code}"),
        _ if status == fact::<u16>(kind, "accepted.status") => "accepted".to_owned(),
        _ => status.to_string(),
    }
}

fn answered(emulator: &mut dyn Emulator, draft: &Draft, now: Timestamp) -> String {
    outcome(draft.kind, &emulator.answer(&draft.build(), now))
}

/// The code with which a kind refuses what is named so.
fn code(name: &str) -> impl Fn(&str) -> &'static str {
    move |kind| fact(kind, &format!("codes.{name}"))
}

/// Changes a sound draft or request of each kind and compares the refusal with the kind's own.
fn refused_alike(expected: impl Fn(&str) -> &'static str, change: impl Fn(&mut Draft), spoil: impl Fn(&mut Request)) {
    for kind in clouds() {
        let mut emulator = cloud(kind);
        let mut draft = Draft::new(kind);
        change(&mut draft);
        let mut request = draft.build();
        spoil(&mut request);
        assert_eq!(outcome(kind, &emulator.answer(&request, NOW)), expected(kind), "{kind}");
        assert!(emulator.log().is_empty(), "{kind}: a refused call purges nothing");
    }
}

fn set_header(request: &mut Request, name: &str, value: &str) {
    request.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    request.headers.push((name.to_owned(), value.to_owned()));
}

fn purge_vectors(kind: &str) -> Vec<Value> {
    let path = format!("{}/tests/it/golden/vectors/{kind}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect("JSON");
    let purges: Vec<&str> =
        VENDORS.find(kind).expect("a kind").capabilities().operations.iter().map(|one| one.name).collect();
    let vectors = file["vectors"].as_array().expect("a list").iter();
    let wanted = vectors.filter(|vector| {
        vector["kind"] == "request" && purges.contains(&vector["input"]["operation"].as_str().expect("text"))
    });
    let wanted: Vec<Value> = wanted.cloned().collect();
    assert!(
        !wanted.is_empty(),
        "{path} has no vector whose `kind` is `request` and whose `operation` is one of {purges:?}"
    );
    wanted
}

/// The account that a vector was made for, the request, and the moment it was signed.
fn recorded(kind: &str, vector: &Value) -> (Setup, Request, Timestamp) {
    let (input, expected) = (&vector["input"], &vector["expected"]);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let setup = setup(kind, &text(&input["host"]), None);
    let headers = expected["headers"].as_object().expect("an object").iter();
    let query = text(&expected["query"]);
    let separator = if query.is_empty() { "" } else { "?" };
    let request = Request {
        route: freshen::core::http::Route::Direct,
        method: text(&expected["method"]),
        endpoint: setup.endpoint.clone(),
        path_and_query: format!("{}{separator}{query}", text(&expected["path"])),
        headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
        body: text(&expected["body"]).into_bytes(),
    };
    let seconds = input["timestamp"].as_i64().expect("a number");
    (setup, request, Timestamp::from_unix_ms(seconds * 1000))
}

#[test]
fn requests_of_the_vendors_own_clients_are_accepted() {
    let mut count = 0;
    for kind in clouds() {
        for vector in purge_vectors(kind) {
            let (setup, request, now) = recorded(kind, &vector);
            let mut emulator = running(setup);
            assert_eq!(outcome(kind, &emulator.answer(&request, now)), "accepted", "{}", vector["id"]);
            assert!(!emulator.log().is_empty(), "{}", vector["id"]);
            count += 1;
        }
    }
    assert!(count >= 35, "only {count} vectors were found");
}

#[test]
fn vendors_requests_are_refused_when_one_byte_of_the_parameters_differs() {
    for kind in clouds() {
        for vector in purge_vectors(kind) {
            let (setup, mut request, now) = recorded(kind, &vector);
            if request.body.is_empty() {
                request.path_and_query = request.path_and_query.replace("cdn.example", "cdn.examplf");
            } else {
                *request.body.iter_mut().rfind(|byte| byte.is_ascii_lowercase()).expect("a letter") ^= 1;
            }
            assert_ne!(outcome(kind, &running(setup).answer(&request, now)), "accepted", "{}", vector["id"]);
        }
    }
    let rpc = |vector: &Value| vector["id"] == "alibaba-vod/rpc-one-url";
    let vector = purge_vectors("alibaba-vod").into_iter().find(rpc).expect("the RPC vector");
    let (setup, mut request, now) = recorded("alibaba-vod", &vector);
    request.path_and_query = request.path_and_query.replace("app.js", "apq.js");
    assert_eq!(outcome("alibaba-vod", &running(setup).answer(&request, now)), "400 SignatureDoesNotMatch");
}

#[test]
fn accepted_calls_log_each_target_and_answer_in_the_vendors_envelope() {
    for kind in clouds() {
        let mut emulator = cloud(kind);
        let mut draft = Draft::new(kind);
        draft.targets = vec!["https://cdn.example.com/a?x=1".into(), "https://m.example.net/b".into()];
        let response = emulator.answer(&draft.build(), NOW);
        let body: Value = serde_json::from_slice(&response.body).expect("present");
        let logged: Vec<&Target> = emulator.log().iter().map(|purged| &purged.target).collect();
        assert_eq!(logged, [&Target::url(&*draft.targets[0]), &Target::url(&*draft.targets[1])], "{kind}");
        let task_ids: Vec<Option<&str>> = emulator.log().iter().map(|purged| purged.task_id.as_deref()).collect();
        // One for all, or one each.
        let told = fact::<Option<&str>>(kind, "accepted.task_ids");
        let told =
            told.map(|place| body.pointer(place).and_then(Value::as_str).expect(place).split(',').collect::<Vec<_>>());
        let expected = told.map_or([None; 2], |told| [told.first().copied(), told.last().copied()]);
        assert_eq!(task_ids, expected, "{kind}");
        assert_eq!(response.status, fact::<u16>(kind, "accepted.status"), "{kind}");
        assert_eq!(response.header("Date"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    }
}

#[test]
fn one_changed_bit_in_the_body_breaks_the_signature() {
    refused_alike(
        code("signature"),
        |_| (),
        |request| {
            let at = request.body.windows(2).position(|pair| pair == b"js").expect("present");
            request.body[at] ^= 1;
        },
    );
    refused_alike(code("signature"), |draft| draft.secret.push('x'), |_| ());
}

#[test]
fn unknown_keys_and_wrong_tokens_are_refused() {
    refused_alike(code("key"), |draft| draft.id = "NOBODY", |_| ());
    refused_alike(code("token"), |draft| draft.token = Some("stray"), |_| ());
}

#[test]
fn session_tokens_are_required_and_accepted() {
    for kind in clouds() {
        let mut emulator = running(setup(kind, "api.example.org", Some("session")));
        let mut draft = Draft::new(kind);
        assert_ne!(answered(&mut *emulator, &draft, NOW), "accepted", "{kind}");
        draft.token = Some("session");
        assert_eq!(answered(&mut *emulator, &draft, NOW), "accepted", "{kind}");
    }
}

// T1
#[test]
fn signatures_outside_the_clock_tolerance_are_refused() {
    for kind in clouds() {
        let (tolerance_s, code): (i64, &str) = (fact(kind, "clock_tolerance_s"), fact(kind, "codes.clock"));
        for sign in [1000, -1000] {
            let mut draft = Draft::new(kind);
            draft.at = NOW.plus_ms(sign * tolerance_s);
            assert_eq!(answered(&mut *cloud(kind), &draft, NOW), "accepted", "{kind}");
            draft.at = NOW.plus_ms(sign * (tolerance_s + 1));
            assert_eq!(answered(&mut *cloud(kind), &draft, NOW), code, "{kind}");
        }
    }
}

#[test]
fn replayed_nonces_are_refused_where_the_vendor_checks_them() {
    for kind in clouds() {
        let expected: &str = fact(kind, "codes.replay");
        let mut emulator = cloud(kind);
        let mut draft = Draft::new(kind);
        assert_eq!(answered(&mut *emulator, &draft, NOW), "accepted", "{kind}");
        assert_eq!(answered(&mut *emulator, &draft, NOW.plus_ms(5000)), expected, "{kind}");
        draft.nonce = 2;
        assert_eq!(answered(&mut *emulator, &draft, NOW.plus_ms(5000)), "accepted", "{kind}");
    }
}

#[test]
fn one_target_too_many_refuses_the_batch() {
    refused_alike(code("batch"), |draft| draft.targets = urls(url_limits(draft.kind).0 + 1), |_| ());
    for kind in clouds() {
        let mut draft = Draft::new(kind);
        draft.targets = urls(url_limits(kind).0);
        assert_eq!(answered(&mut *cloud(kind), &draft, NOW), "accepted", "{kind}");
    }
}

#[test]
fn calls_beyond_the_rate_are_throttled_until_a_second_has_passed() {
    for kind in clouds() {
        let code: &str = fact(kind, "codes.rate");
        let mut emulator = cloud(kind);
        let mut draft = Draft::new(kind);
        let mut send = |now: Timestamp| {
            draft.nonce += 1;
            answered(&mut *emulator, &draft, now)
        };
        for _ in 0..url_limits(kind).1 {
            assert_eq!(send(NOW), "accepted", "{kind}");
        }
        assert_eq!(send(NOW), code, "{kind}");
        assert_eq!(send(NOW.plus_ms(999)), code, "{kind}");
        assert_eq!(send(NOW.plus_ms(1000)), "accepted", "{kind}");
    }
}

// T3
#[test]
fn spent_quota_refuses_whole_batches_until_the_vendors_midnight() {
    for kind in clouds() {
        let code: &str = fact(kind, "codes.quota");
        let mut setup = setup(kind, "api.example.org", None);
        setup.limits.values_mut().for_each(|limits| limits.targets_per_day = Some(5));
        let mut emulator = running(setup);
        let mut draft = Draft::new(kind);
        let mut send = |count: usize, at: Timestamp| {
            draft.nonce += 1;
            (draft.targets, draft.at) = (urls(count), at);
            answered(&mut *emulator, &draft, at)
        };
        let midnight = vendor::quota_day_ends(kind);
        assert_eq!(send(4, midnight.plus_ms(-4000)), "accepted", "{kind}");
        assert_eq!(send(2, midnight.plus_ms(-3000)), code, "{kind}: refused whole");
        assert_eq!(send(1, midnight.plus_ms(-2000)), "accepted", "{kind}: the refused batch cost nothing");
        assert_eq!(send(1, midnight.plus_ms(-1)), code, "{kind}: no earlier than `quota_day_ends`");
        assert_eq!(send(5, midnight), "accepted", "{kind}: its emulator's quota day ends at `quota_day_ends`");
    }
}

#[test]
fn tencent_cdn_counts_each_area_for_itself() {
    let mut setup = setup("tencent-cdn", "api.example.org", None);
    setup.limits.values_mut().for_each(|limits| limits.targets_per_day = Some(2));
    let mut emulator = running(setup);
    let mut send = |area: Option<&str>| {
        let mut draft = Draft::new("tencent-cdn");
        draft.extra.extend(area.map(|area| ("Area", json!(area))));
        answered(&mut *emulator, &draft, NOW)
    };
    let spent = "200 LimitExceeded.CdnPurgeUrlExceedDayLimit";
    assert_eq!(
        [send(Some("mainland")), send(Some("mainland")), send(Some("mainland"))],
        ["accepted", "accepted", spent]
    );
    assert_eq!(send(None), spent, "a call without area draws on both");
    assert_eq!(
        [send(Some("overseas")), send(Some("overseas")), send(Some("overseas"))],
        ["accepted", "accepted", spent]
    );
    assert_eq!(send(Some("moon")), "200 InvalidParameterValue");
    let areas: Vec<&str> = emulator.log().iter().map(|purged| purged.area.as_str()).collect();
    assert_eq!(areas, ["mainland", "mainland", "overseas", "overseas"]);
}

// R11
#[test]
fn one_foreign_host_refuses_the_whole_batch() {
    refused_alike(
        code("foreign_host"),
        |draft| draft.targets = vec![urls(1)[0].clone(), "https://foreign.example/".into()],
        |_| (),
    );
}

#[test]
fn malformed_targets_are_refused() {
    for url in ["ftp://cdn.example.com/", "https://cdn.example.com/a\u{85}b", "https://user@cdn.example.com/"] {
        refused_alike(code("malformed_target"), |draft| draft.targets = vec![url.to_owned()], |_| ());
    }
    for (kind, longest) in [("alibaba-vod", 1024), ("huawei-vod", 10_240)] {
        let mut draft = Draft::new(kind);
        let start = "https://cdn.example.com/";
        draft.targets = vec![format!("{start}{}", "x".repeat(longest - start.len()))];
        assert_eq!(answered(&mut *cloud(kind), &draft, NOW), "accepted");
        draft.targets[0].push('x');
        assert_ne!(answered(&mut *cloud(kind), &draft, NOW), "accepted");
    }
}

#[test]
fn alibaba_purges_of_one_host_within_a_second_share_a_task() {
    let mut emulator = cloud("alibaba-vod");
    let mut draft = Draft::new("alibaba-vod");
    for ms in [0, 500, 1000] {
        draft.nonce += 1;
        assert_eq!(answered(&mut *emulator, &draft, NOW.plus_ms(ms)), "accepted");
    }
    let log = emulator.log();
    assert!(log[0].task_id.is_some() && log[0].task_id == log[1].task_id);
    assert_ne!(log[1].task_id, log[2].task_id);
}

#[test]
fn throttled_alibaba_calls_are_told_how_long_to_wait() {
    let mut emulator = cloud("alibaba-vod");
    let mut draft = Draft::new("alibaba-vod");
    let mut waits = Vec::new();
    for _ in 0..11 {
        draft.nonce += 1;
        let response = emulator.answer(&draft.build(), NOW.plus_ms(i64::try_from(draft.nonce).expect("small")));
        waits.extend(response.header("x-acs-retry-after").map(str::to_owned));
    }
    assert_eq!(waits, ["990"], "the first call was at 2 ms, the refused one at 12 ms");
}

// U2
#[test]
fn alibaba_paths_must_not_end_in_a_line_break() {
    let mut draft = Draft::new("alibaba-vod");
    draft.targets = vec![urls(1)[0].clone(), String::new()];
    assert_eq!(answered(&mut *cloud("alibaba-vod"), &draft, NOW), "400 InvalidObjectPath.Malformed");
}

#[test]
fn unknown_parameters_and_wrong_types_are_refused() {
    refused_alike(code("unknown_parameter"), |draft| draft.extra.push(("Surplus", json!("x"))), |_| ());
    let typed = [
        ("tencent-vod", "SubAppId", json!("1500012345"), "200 InvalidParameter"),
        ("tencent-vod", "SubAppId", json!(1_500_012_345), "accepted"),
        ("tencent-cdn", "UrlEncode", json!("true"), "200 InvalidParameter"),
        ("tencent-cdn", "UrlEncode", json!(true), "accepted"),
        ("alibaba-vod", "Force", json!("yes"), "400 InvalidParameter"),
        ("alibaba-vod", "Force", json!("true"), "accepted"),
        ("alibaba-vod", "ObjectType", json!("file"), "400 InvalidObjectType.ValueNotSupported"),
        ("huawei-vod", "urls", json!("https://cdn.example.com/"), "400 VOD.10053"),
        ("huawei-vod", "asset_id_list", json!([PROJECT]), "accepted"),
        ("huawei-vod", "asset_id_list", json!(["short"]), "400 VOD.10053"),
    ];
    for (kind, name, value, expected) in typed {
        let mut draft = Draft::new(kind);
        draft.extra.push((name, value));
        assert_eq!(answered(&mut *cloud(kind), &draft, NOW), expected, "{kind} {name}");
    }
}

#[test]
fn requests_to_the_wrong_place_are_refused() {
    refused_alike(code("other_endpoint"), |_| (), |request| set_header(request, "Host", "other.example.org"));
    refused_alike(code("other_path"), |draft| draft.prefix = "/prefix", |_| ());
    refused_alike(code("other_method"), |_| (), |request| request.method = "PUT".into());
    refused_alike(|_| "400", |_| (), |request| request.headers.push(("host".into(), "api.example.org".into())));
    let mut draft = Draft::new("huawei-vod");
    let mut other_project = setup("huawei-vod", "api.example.org", None);
    other_project.options = Options::default();
    assert_eq!(answered(&mut *running(other_project), &draft, NOW), "403 VOD.10057");
    for kind in clouds() {
        let mut prefixed = setup(kind, "api.example.org", None);
        prefixed.endpoint.path_prefix = "/prefix".into();
        draft = Draft { prefix: "/prefix", ..Draft::new(kind) };
        assert_eq!(answered(&mut *running(prefixed), &draft, NOW), "accepted", "{kind}");
    }
}

#[test]
fn unknown_actions_versions_and_content_types_are_refused() {
    for kind in ["tencent-cdn", "tencent-vod"] {
        let changes = [
            ("X-TC-Action", "PushUrlsCache", "200 InvalidAction"),
            ("X-TC-Version", "2017-01-01", "200 NoSuchVersion"),
            ("Content-Type", "text/plain", "200 InvalidRequest"),
            ("X-TC-Timestamp", "now", "200 AuthFailure.InvalidAuthorization"),
            ("Authorization", "TC3-HMAC-SHA256", "200 AuthFailure.InvalidAuthorization"),
        ];
        for (name, value, code) in changes {
            let mut request = Draft::new(kind).build();
            set_header(&mut request, name, value);
            assert_eq!(outcome(kind, &cloud(kind).answer(&request, NOW)), code, "{kind} {name}");
        }
    }
    let changes = [
        ("alibaba-vod", "x-acs-action", "RefreshObjectCaches", "404 InvalidAction.NotFound"),
        ("alibaba-vod", "x-acs-version", "2018-05-10", "400 InvalidVersion"),
        ("alibaba-vod", "x-acs-date", "20231114T221320Z", "400 InvalidTimeStamp.Format"),
        ("alibaba-vod", "x-acs-unsigned", "1", "400 IncompleteSignature"),
        ("alibaba-vod", "x-acs-content-sha256", "00", "400 SignatureDoesNotMatch"),
        ("alibaba-vod", "Content-Type", "text/plain", "400 InvalidParameter"),
        ("huawei-vod", "X-Sdk-Date", "2023", "401 APIGW.0301"),
        ("qcloud-cdn", "Content-Type", "text/plain", "200 4000"),
    ];
    for (kind, name, value, code) in changes {
        let mut request = Draft::new(kind).build();
        set_header(&mut request, name, value);
        assert_eq!(outcome(kind, &cloud(kind).answer(&request, NOW)), code, "{kind} {name}");
    }
}

#[test]
fn signed_claims_about_body_and_project_must_be_true() {
    let changes = [
        ("alibaba-vod", "x-acs-content-sha256", "400 SignatureDoesNotMatch"),
        ("huawei-vod", "X-Sdk-Content-Sha256", "401 APIGW.0301"),
        ("huawei-vod", "X-Project-Id", "403 VOD.10057"),
        ("huawei-vod", "Content-Type", "403 VOD.10059"),
    ];
    for (kind, name, code) in changes {
        let draft = Draft::new(kind);
        let mut request = draft.build();
        set_header(&mut request, name, "00");
        let request = draft.sign_all(request);
        assert_eq!(outcome(kind, &cloud(kind).answer(&request, NOW)), code, "{name}");
    }
}

#[test]
fn oversized_and_miscounted_bodies_are_refused() {
    let codes = |kind: &'static str, bytes: usize| {
        let mut request = Draft::new(kind).build();
        request.body.resize(bytes, b' ');
        outcome(kind, &cloud(kind).answer(&request, NOW))
    };
    assert_eq!(codes("qcloud-cdn", 1024 * 1024 + 1), "501");
    assert_eq!(codes("qcloud-cdn", 1024 * 1024), "200 4100");
    assert_eq!(codes("tencent-cdn", 10 * 1024 * 1024 + 1), "200 RequestSizeLimitExceeded");
    assert_eq!(codes("huawei-vod", 12 * 1024 * 1024 + 1), "413 APIGW.0201");
    refused_alike(|_| "400", |_| (), |request| set_header(request, "Content-Length", "1"));
}

#[test]
fn huawei_takes_the_iam_token_instead_of_a_signature() {
    let mut setup = setup("huawei-vod", "api.example.org", None);
    setup.credentials = Credentials::Fields(vec![("bearer_token", Secret::new("iam".into()))]);
    let mut emulator = running(setup);
    let mut request = Draft::new("huawei-vod").build();
    assert_eq!(outcome("huawei-vod", &emulator.answer(&request, NOW)), "401 APIGW.0301");
    request.headers.retain(|(name, _)| name != "Authorization");
    request.headers.push(("X-Auth-Token".into(), "iam".into()));
    assert_eq!(outcome("huawei-vod", &emulator.answer(&request, NOW)), "accepted");
    set_header(&mut request, "Content-Type", "text/plain");
    assert_eq!(outcome("huawei-vod", &emulator.answer(&request, NOW)), "403 VOD.10059");
}

#[test]
fn huawei_urls_and_asset_ids_share_one_quota() {
    let mut setup = setup("huawei-vod", "api.example.org", None);
    setup.limits.values_mut().for_each(|limits| limits.targets_per_day = Some(2));
    let mut emulator = running(setup);
    let mut draft = Draft::new("huawei-vod");
    draft.extra.push(("asset_id_list", json!([PROJECT])));
    assert_eq!(answered(&mut *emulator, &draft, NOW), "accepted");
    draft.extra.clear();
    assert_eq!(answered(&mut *emulator, &draft, NOW), "403 VOD.19999");
}

fn purge_request(host: &str, path: &str) -> Request {
    Request {
        route: freshen::core::http::Route::Direct,
        method: "PURGE".into(),
        endpoint: setup("http-purge", "127.0.0.1:6081", None).endpoint,
        path_and_query: path.into(),
        headers: vec![("Host".into(), host.into()), ("X-Key".into(), "canary".into())],
        body: Vec::new(),
    }
}

#[test]
fn cache_purges_once_by_host_and_path_and_knows_one_method() {
    let mut setup = setup("http-purge", "127.0.0.1:6081", None);
    setup.credentials = Credentials::Headers(vec![("X-Key".into(), Secret::new("canary".into()))]);
    let mut cache = running(setup.clone());
    let mut status = |request: &Request| cache.answer(request, NOW).status;
    assert_eq!(status(&purge_request("a.example", "/x?y=%2F")), 200);
    assert_eq!(status(&purge_request("a.example", "/x?y=%2F")), 404);
    assert_eq!(status(&purge_request("b.example", "/x?y=%2F")), 200);
    let mut request = purge_request("a.example", "/z");
    request.method = "GET".into();
    assert_eq!(status(&request), 405);
    request = purge_request("a.example", "/z");
    set_header(&mut request, "X-Key", "wrong");
    assert_eq!(status(&request), 403);
    let logged: Vec<&str> = cache.log().iter().map(|purged| purged.target.text.as_str()).collect();
    assert_eq!(
        logged,
        ["http://a.example/x?y=%2F"; 2].into_iter().chain(["http://b.example/x?y=%2F"]).collect::<Vec<_>>()
    );

    setup.options.0.insert("method".into(), OptionValue::Text("BAN".into()));
    let mut banning = running(setup);
    assert_eq!(banning.answer(&purge_request("a.example", "/"), NOW).status, 405);
    request = purge_request("a.example", "/");
    request.method = "BAN".into();
    assert_eq!(banning.answer(&request, NOW).status, 200);
}

#[test]
fn cache_answers_with_the_statuses_that_its_configuration_expects() {
    let statuses = |expected: &[u64]| {
        let mut setup = setup("http-purge", "127.0.0.1:6081", None);
        setup.credentials = Credentials::Headers(Vec::new());
        setup.options.0.insert("expect_status".into(), OptionValue::IntegerList(expected.to_vec()));
        let mut cache = running(setup);
        [0, 1].map(|_| cache.answer(&purge_request("a.example", "/"), NOW).status)
    };
    assert_eq!(statuses(&[]), [200, 404]);
    assert_eq!(statuses(&[204]), [204, 204]);
    assert_eq!(statuses(&[404, 200]), [200, 404]);
}

#[test]
fn kinds_without_emulator_are_none() {
    let mut setup = setup("tencent-cdn", "api.example.org", None);
    setup.kind = "other".into();
    assert!(VENDORS.emulator(setup).is_none());
}

/// What an emulator answers to a query of ours.
fn queried(
    kind: &str,
    emulator: &mut dyn Emulator,
    now: Timestamp,
    encode: impl FnOnce(&QueryContext<'_>) -> Result<Request, String>,
) -> Response {
    let Setup { endpoint, credentials, options, .. } = setup(kind, "api.example.org", None);
    let (account, nonce) = (Account { provider: "own".into(), options }, u128::from(now.unix_ms().unsigned_abs()));
    let stamp = &Stamp { wall: now, nonce };
    let context = QueryContext { endpoint: &endpoint, account: &account, credentials: &credentials, stamp };
    emulator.answer(&encode(&context).expect("a query"), now)
}

/// A page of the results of a task: its id, number and the rows before it.
fn results(kind: &str, emulator: &mut dyn Emulator, (id, page, seen): (&str, u32, u64), now: Timestamp) -> TaskPage {
    let query = VENDORS.find(kind).expect("a kind").task_query().expect("a query");
    let cursor = TaskCursor { id, page, seen };
    let answer = queried(kind, emulator, now, |context| query.encode_task(cursor, context));
    query.decode_task(cursor, &answer).expect("results")
}

/// R12, R13: tasks are what became of the log: first under way, then done or failed, and a second purge does not fail.
#[test]
fn queries_about_tasks_are_answered_from_the_log() {
    for kind in clouds().filter(|kind| VENDORS.find(kind).unwrap().task_query().is_some()) {
        let mut draft = Draft::new(kind);
        draft.targets = urls(3);
        let mut own = setup(kind, "api.example.org", None);
        own.afterwards.failing = vec![draft.targets[1].clone()];
        let mut emulator = running(own);
        assert_eq!(answered(&mut *emulator, &draft, NOW), "accepted", "{kind}");
        let id = emulator.log()[0].task_id.clone().expect("a task");
        let mut states = |after_ms: i64, id: &str| {
            let page = results(kind, &mut *emulator, (id, 0, 0), NOW.plus_ms(after_ms));
            urls(3).into_iter().map(|url| state_of(&Target::url(url), &page.results)).collect::<Vec<_>>()
        };
        let (done, open, failed) = (Some(TaskState::Done), Some(TaskState::Processing), Some(TaskState::Failed));
        assert_eq!(states(299_999, &id), [open, open, open], "{kind}");
        // There the whole task has one state.
        let ended = if kind == "qcloud-cdn" { [failed, failed, failed] } else { [done, failed, done] };
        assert_eq!(states(300_000, &id), ended, "{kind}");
        assert_eq!(states(300_001, "1-nobody"), [None, None, None], "{kind}");
        let again = NOW.plus_ms(400_000);
        (draft.at, draft.nonce) = (again, 2);
        assert_eq!(answered(&mut *emulator, &draft, again), "accepted", "{kind}");
        let id = emulator.log()[3].task_id.clone().expect("a task");
        let page = results(kind, &mut *emulator, (&id, 0, 0), NOW.plus_ms(800_000));
        assert_eq!(state_of(&Target::url(&draft.targets[1]), &page.results), done, "{kind}");
    }
}

/// T4: the quota is what the account spent, others included; a page holds as many rows as was asked for.
#[test]
fn queries_about_quotas_are_answered_from_the_ledger() {
    for kind in clouds().filter(|kind| VENDORS.find(kind).unwrap().quota_query().is_some()) {
        let (operation, area) = match kind {
            "tencent-cdn" => ("PurgeUrlsCache", "overseas"),
            "alibaba-vod" => ("RefreshVodObjectCaches", ""),
            other => {
                panic!("{other}: say in tests/it/emulators.rs which quota it reports, and how many rows a page has")
            }
        };
        let mut draft = Draft::new(kind);
        draft.targets = urls(60);
        let mut own = setup(kind, "api.example.org", None);
        own.afterwards.others = 500;
        let mut emulator = running(own);
        assert_eq!(answered(&mut *emulator, &draft, NOW), "accepted", "{kind}");
        let query = VENDORS.find(kind).expect("a kind").quota_query().expect("a query");
        let answer = queried(kind, &mut *emulator, NOW, |context| query.encode_quota(context));
        let account = Account { provider: "own".into(), options: setup(kind, "api.example.org", None).options };
        let found = query.decode_quota(&account, &answer).expect("quotas");
        let left = url_limits(kind).2 - 560;
        assert_eq!(quota_left(&found, operation, area), Some(left), "{kind}");
        let id = emulator.log()[0].task_id.clone().expect("a task");
        let first = results(kind, &mut *emulator, (&id, 0, 0), NOW.plus_ms(1));
        assert_eq!((first.results.len(), first.more), if kind == "alibaba-vod" { (50, true) } else { (60, false) });
        let next = results(kind, &mut *emulator, (&id, 1, first.results.len() as u64), NOW.plus_ms(2));
        assert_eq!((next.results.len(), next.more), if kind == "alibaba-vod" { (10, false) } else { (0, false) });
    }
}
