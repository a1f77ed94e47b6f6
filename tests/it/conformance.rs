//! Every adapter against the emulator of its kind: what one encodes the other accepts, and each refusal of the one
//! is read as its class by the other. A new kind joins by being in the table.

use freshen::core::contract::{
    Account, Call, CallError, CredentialScheme, Credentials, ErrorClass, Operation, Reply, Stamp,
};
use freshen::core::http::Endpoint;
use freshen::core::model::{CredentialSource, HostPattern, Limits, Location, ProviderConfig};
use freshen::core::provider::Provider;
use freshen::core::secret::Secret;
use freshen::core::target::{Scope, Target};
use freshen::core::time::Timestamp;
use freshen::vendor::emulation::{Emulator, Setup};
use freshen::vendor::{VENDORS, Vendors};

use crate::newcomer::with_newcomer;
use crate::support::vendor::{self, fact, options};

/// Of each purge.
const ID: &str = "0123456789abcdef0123456789abcdef";
const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

/// An adapter with one of its operations and the emulated account behind it.
struct Pair {
    provider: &'static dyn Provider,
    operation: &'static Operation,
    emulator: Box<dyn Emulator>,
    nonce: u128,
    secret: &'static str,
}

impl Pair {
    /// `targets_per_day` replaces the quota of the operation.
    fn new(
        vendors: Vendors,
        (provider, operation): (&'static dyn Provider, &'static Operation),
        targets_per_day: Option<u64>,
    ) -> Self {
        let config = ProviderConfig {
            name: "test".to_owned(),
            kind: provider,
            hosts: vec![HostPattern::from_checked("cdn.example.com".to_owned())],
            endpoints: vec![endpoint()].into(),
            require: None,
            options: options(provider),
            limits: Limits::default(),
            ignore_query: false,
            upstream: None,
            account: None,
            credentials: CredentialSource::Environment { prefix: String::new() },
            place: Location::default(),
        };
        let mut setup = Setup::of(&config, &endpoint(), credentials(provider, "right"));
        let limits = setup.limits.get_mut(&operation.scope).expect("limits of a declared operation");
        limits.targets_per_day = targets_per_day.or(limits.targets_per_day);
        let emulator =
            vendors.emulator(setup).unwrap_or_else(|| panic!("no emulator of {}", provider.capabilities().kind));
        Self { provider, operation, emulator, nonce: 0, secret: "right" }
    }

    fn send(&mut self, targets: Vec<Target>, now: Timestamp) -> Result<Reply, CallError> {
        self.send_stamped(targets, now, now)
    }

    fn send_stamped(&mut self, targets: Vec<Target>, wall: Timestamp, now: Timestamp) -> Result<Reply, CallError> {
        self.nonce += 1;
        let call =
            Call { operation: self.operation, endpoint: endpoint(), targets, headers: Vec::new(), id: ID.to_owned() };
        let account = Account { provider: "test".to_owned(), options: options(self.provider) };
        let stamp = Stamp { wall, nonce: self.nonce };
        let credentials = credentials(self.provider, self.secret);
        let request = self.provider.encode(&call, &account, &credentials, &stamp).expect("credentials of this sort");
        let response = self.emulator.answer(&request, now);
        self.provider.decode(&call, &account, &response)
    }

    fn name(&self) -> String {
        format!("{} {}", self.provider.capabilities().kind, self.operation.name)
    }

    fn is_cloud(&self) -> bool {
        self.provider.capabilities().credentials != CredentialScheme::Headers
    }
}

/// With a port and a path prefix, which both are part of what is signed.
fn endpoint() -> Endpoint {
    Endpoint {
        tls: true,
        host: "api.example.org".to_owned(),
        port: Some(8443),
        path_prefix: "/gateway".to_owned(),
        address: None,
    }
}

fn credentials(provider: &dyn Provider, secret: &str) -> Credentials {
    match provider.capabilities().credentials {
        CredentialScheme::Headers => Credentials::Headers(vec![("X-Purge-Key".to_owned(), Secret::new(secret.into()))]),
        CredentialScheme::Fields { .. } => vendor::credentials(provider, ("rehearsal", secret, Some("session"))),
    }
}

fn target(scope: Scope, host: &str, index: usize) -> Target {
    let text = match scope {
        Scope::Url => format!("https://{host}/{index}.js?a=%20&b=~"),
        Scope::Directory => format!("https://{host}/{index}/"),
        Scope::AssetId => format!("{index:032x}"),
    };
    Target { scope, text }
}

fn targets(pair: &Pair, count: usize) -> Vec<Target> {
    (0..count).map(|index| target(pair.operation.scope, "cdn.example.com", index)).collect()
}

/// Each operation of each kind of the program, with the documented limits.
fn pairs() -> Vec<Pair> {
    pairs_of(VENDORS)
}

fn pairs_of(vendors: Vendors) -> Vec<Pair> {
    let operations = |provider: &'static dyn Provider| {
        let operations = provider.capabilities().operations.iter();
        operations.map(move |operation| Pair::new(vendors, (provider, operation), None)).collect::<Vec<_>>()
    };
    let pairs: Vec<Pair> = vendors.all().flat_map(operations).collect();
    assert!(pairs.len() >= vendors.0.len(), "each kind has an operation");
    pairs
}

#[test]
fn largest_batch_is_accepted_and_purges_exactly_its_targets() {
    largest_batches_are_accepted(VENDORS);
}

/// Returns the kinds that were tried.
pub(crate) fn largest_batches_are_accepted(vendors: Vendors) -> Vec<&'static str> {
    let mut tried = Vec::new();
    for mut pair in pairs_of(vendors) {
        let a_day = pair.operation.targets_per_day.map_or(usize::MAX, |most| usize::try_from(most).expect("a quota"));
        let mut batch = targets(&pair, pair.operation.targets_per_call.min(a_day));
        let mut room = pair.operation.bytes_per_call.unwrap_or(usize::MAX);
        batch.retain(|target| {
            // As a JSON text with a comma.
            let bytes = target.text.len() + 3;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let options = options(pair.provider);
        assert!(batch.iter().all(|target| pair.provider.check_target(target, &options).is_ok()), "{}", pair.name());
        let reply = pair.send(batch.clone(), NOW).unwrap_or_else(|error| panic!("{}: {error:?}", pair.name()));
        let mut task_ids: Vec<&str> =
            pair.emulator.log().iter().filter_map(|purged| purged.task_id.as_deref()).collect();
        task_ids.dedup();
        assert_eq!(reply.task_ids, task_ids, "{}", pair.name());
        let logged = pair.emulator.log().iter().map(|purged| purged.target.clone());
        if pair.is_cloud() {
            assert_eq!(logged.collect::<Vec<_>>(), batch, "{}", pair.name());
        } else {
            // A cache gets host and path only.
            let tail = |target: Target| (target.authority().map(str::to_owned), target.path_and_query());
            assert!(logged.map(tail).eq(batch.into_iter().map(tail)), "{}", pair.name());
        }
        tried.push(pair.provider.capabilities().kind);
    }
    tried
}

/// T3: when the day's quota returns, by the vendor's own midnight.
#[test]
fn quota_days_end_when_the_vendor_says() {
    for provider in with_newcomer().all() {
        let capabilities = provider.capabilities();
        let ends = NOW.next_midnight(capabilities.quota_day_offset_minutes);
        assert_eq!(
            ends.utc_extended(),
            fact::<&str>(capabilities.kind, "quota_day_ends"),
            "{}: its adapter",
            capabilities.kind
        );
    }
}

#[test]
fn purging_again_is_accepted() {
    for mut pair in pairs() {
        let batch = targets(&pair, 1);
        for _ in 0..2 {
            assert!(pair.send(batch.clone(), NOW).is_ok(), "{}", pair.name());
        }
    }
}

#[test]
fn wrong_secret_is_an_auth_error() {
    for mut pair in pairs().into_iter().filter(Pair::is_cloud) {
        pair.secret = "wrong";
        let error = pair.send(targets(&pair, 1), NOW).expect_err("a wrong secret");
        assert_eq!(error.class, ErrorClass::Auth, "{} {}", pair.name(), error.code);
        assert!(error.server_time.is_some(), "{}: the Date header is read", pair.name());
    }
}

// T1
#[test]
fn wrong_clock_is_a_clock_error_or_signed_again() {
    for mut pair in pairs().into_iter().filter(Pair::is_cloud) {
        let error = pair.send_stamped(targets(&pair, 1), NOW.plus_ms(-86_400_000), NOW).expect_err("a day late");
        let expected = matches!(error.class, ErrorClass::Clock | ErrorClass::SignAgain);
        assert!(expected, "{} {} {:?}", pair.name(), error.code, error.class);
        assert_eq!(error.server_time, Some(NOW), "{}", pair.name());
    }
}

#[test]
fn repeated_nonce_is_signed_again_where_the_vendor_checks_it() {
    for mut pair in pairs() {
        let batch = targets(&pair, 1);
        assert!(pair.send(batch.clone(), NOW).is_ok(), "{}", pair.name());
        pair.nonce = 0;
        let class = pair.send(batch, NOW).err().map(|error| error.class);
        let checked = pair.is_cloud() && fact::<&str>(pair.provider.capabilities().kind, "codes.replay") != "accepted";
        assert_eq!(class, checked.then_some(ErrorClass::SignAgain), "{}", pair.name());
    }
}

// R11
#[test]
fn foreign_host_refuses_the_target() {
    for mut pair in pairs().into_iter().filter(|pair| pair.is_cloud() && pair.operation.scope != Scope::AssetId) {
        let mut batch = targets(&pair, 1);
        batch.push(target(pair.operation.scope, "foreign.example", 1));
        let error = pair.send(batch, NOW).expect_err("a foreign host");
        assert!(matches!(error.class, ErrorClass::TargetRefused(_)), "{} {}", pair.name(), error.code);
        assert!(pair.emulator.log().is_empty(), "{}", pair.name());
    }
}

#[test]
fn batch_over_the_limit_is_split_or_a_defect() {
    for mut pair in pairs().into_iter().filter(Pair::is_cloud) {
        let batch = targets(&pair, pair.operation.targets_per_call + 1);
        let error = pair.send(batch, NOW).expect_err("one target too many");
        let class = error.class;
        let expected = matches!(class, ErrorClass::BatchTooLarge | ErrorClass::TargetRefused(_) | ErrorClass::Request);
        assert!(expected, "{} {} {class:?}", pair.name(), error.code);
    }
}

#[test]
fn calls_too_fast_are_throttled_for_a_second() {
    for mut pair in pairs() {
        let batch = targets(&pair, 1);
        for _ in 0..pair.operation.calls.count {
            assert!(pair.send(batch.clone(), NOW).is_ok(), "{}", pair.name());
        }
        let error = pair.send(batch.clone(), NOW.plus_ms(999)).expect_err("one call too many");
        assert_eq!(error.class, ErrorClass::Throttled, "{} {}", pair.name(), error.code);
        assert!(pair.send(batch, NOW.plus_ms(1000)).is_ok(), "{}", pair.name());
    }
}

// T3
#[test]
fn spent_quota_is_told_apart_where_the_vendor_has_a_code() {
    for pair in pairs().into_iter().filter(Pair::is_cloud) {
        let mut pair = Pair::new(VENDORS, (pair.provider, pair.operation), Some(1));
        assert!(pair.send(targets(&pair, 1), NOW).is_ok(), "{}", pair.name());
        let error = pair.send(targets(&pair, 1), NOW).expect_err("a spent quota");
        let expected: Vec<&str> = fact(pair.provider.capabilities().kind, "spent_quota");
        let expected = expected.contains(&error.class.word());
        assert!(expected, "{} {} {:?}", pair.name(), error.code, error.class);
        assert_eq!(pair.emulator.log().len(), 1, "{}", pair.name());
    }
}

/// S7: a task id that is blank, or a word in place of one, is no acceptance.
#[test]
fn a_word_in_place_of_a_task_id_is_unknown() {
    for mut pair in pairs() {
        let call = Call {
            operation: pair.operation,
            endpoint: endpoint(),
            targets: targets(&pair, 1),
            headers: Vec::new(),
            id: String::new(),
        };
        let account = Account { provider: "test".to_owned(), options: options(pair.provider) };
        let stamp = Stamp { wall: NOW, nonce: 1 };
        let request = pair.provider.encode(&call, &account, &credentials(pair.provider, pair.secret), &stamp);
        let mut response = pair.emulator.answer(&request.expect("a request"), NOW);
        let reply = pair.provider.decode(&call, &account, &response).expect("accepted");
        let Some(id) = reply.task_ids.first() else { continue };
        let body = String::from_utf8(response.body.clone()).expect("text");
        let written = [format!("\"{id}\""), id.clone()].into_iter().find(|id| body.contains(id)).expect("the id");
        let words =
            ["", " ", "\\t", "-", "null", "None", "undefined", "failed", "Error", "success", "false", "0", "-1"];
        for word in words.into_iter().chain(["N/A", "NaN", "empty", "failed: 404"]) {
            response.body = body.replacen(&written, &format!("\"{word}\""), 1).into_bytes();
            let class = pair.provider.decode(&call, &account, &response).expect_err("no acceptance").class;
            assert_eq!(class, ErrorClass::Unknown, "{} `{word}`", pair.name());
        }
    }
}

/// S7: what no vendor documents beside an acceptance may take it back, at any depth of the answer.
#[test]
fn a_word_of_failure_beside_an_acceptance_makes_it_unknown() {
    use serde_json::{Value, json};
    fn with_member(
        value: &Value,
        path: &mut Vec<String>,
        name: &str,
        member: &Value,
        all: &mut Vec<Value>,
        root: &Value,
    ) {
        let Value::Object(members) = value else { return };
        let mut changed = root.clone();
        let place = path.iter().fold(&mut changed, |value, key| &mut value[key.as_str()]);
        place[name] = member.clone();
        all.push(changed);
        for (key, inner) in members {
            path.push(key.clone());
            with_member(inner, path, name, member, all, root);
            path.pop();
        }
    }
    let words = [
        ("FailedUrls", json!(["https://cdn.example.com/0.js"])),
        ("failed", json!(1)),
        ("failCount", json!("2")),
        ("Failure", json!(true)),
        ("ErrCode", json!(5001)),
        ("errno", json!(-3)),
        ("error", json!("denied")),
        ("retCode", json!("E5")),
        ("ret", json!(7)),
        ("rejected", json!([{"url": "x"}])),
        ("InvalidUrls", json!("x")),
        ("success", json!(false)),
        ("isSuccess", json!("false")),
        ("ok", json!(false)),
        ("accepted", json!(0)),
        ("status", json!("failed")),
        ("Status", json!(500)),
        ("State", json!("REJECTED")),
        ("result", json!("error")),
        ("Message", json!("the request was refused")),
        ("msg", json!("刷新失败")),
        ("detail", json!({"reason": "quota error"})),
        ("results", json!([{"url": "x", "state": "fail"}])),
        ("Blocked", json!(["https://cdn.example.com/0.js"])),
        ("BadUrls", json!(["https://cdn.example.com/0.js"])),
        ("not_found", json!({"https://cdn.example.com/0.js": 1})),
        ("skipped", json!(1)),
        ("Urls", json!({"https://cdn.example.com/0.js": "unchanged"})),
        ("Status", json!("PartialSuccess")),
        ("status", json!("canceled")),
        ("TaskStatus", json!("not done")),
        ("State", json!("dry-run")),
        ("status", json!("500")),
        ("http_status", json!(500)),
        ("status", json!("404 Not Found")),
        ("Result", json!(false)),
        ("done", json!(false)),
    ];
    // Of answers that an API documents, and caches may give.
    let of_apis = [("Count", json!(0)), ("SuccessUrls", json!(["x"])), ("Unheard", json!(["x"]))];
    let harmless = [
        ("FailedUrls", json!([])),
        ("failed", json!(0)),
        ("Region", json!("cn")),
        ("status", json!("ok")),
        ("ok", json!(true)),
        ("estimate", json!({"seconds": 30, "state": "queued"})),
        ("Status", json!("In Progress")),
        ("TaskStatus", json!("Pending")),
        ("status", json!("200 OK")),
        ("result", json!(0)),
        ("Count", json!(1)),
        ("Message", json!("accepted, and on its way")),
        ("Host", json!("vod-7f3a.example.com")),
        ("ServerTime", json!("2026-11-30T12:00:00Z")),
        ("Ttl", json!(600)),
        ("Async", json!(false)),
    ];
    for mut pair in pairs() {
        let call = Call {
            operation: pair.operation,
            endpoint: endpoint(),
            targets: targets(&pair, 1),
            headers: Vec::new(),
            id: String::new(),
        };
        let account = Account { provider: "test".to_owned(), options: options(pair.provider) };
        let stamp = Stamp { wall: NOW, nonce: 1 };
        let request = pair.provider.encode(&call, &account, &credentials(pair.provider, pair.secret), &stamp);
        let mut response = pair.emulator.answer(&request.expect("a request"), NOW);
        assert!(pair.provider.decode(&call, &account, &response).is_ok(), "{}", pair.name());
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_else(|_| json!({}));
        let is_cache = !pair.is_cloud();
        let mut decoded = |name: &str, member: &Value, is_fine: bool| {
            let mut all = Vec::new();
            with_member(&body, &mut Vec::new(), name, member, &mut all, &body);
            for answer in all {
                response.body = answer.to_string().into_bytes();
                let decoded = pair.provider.decode(&call, &account, &response);
                let class = decoded.as_ref().err().map(|error| error.class);
                assert_eq!(
                    class,
                    (!is_fine).then_some(ErrorClass::Unknown),
                    "{} {answer}",
                    pair.provider.capabilities().kind
                );
            }
        };
        for (name, member) in &words {
            decoded(name, member, false);
        }
        for (name, member) in &of_apis {
            decoded(name, member, is_cache);
        }
        for (name, member) in &harmless {
            decoded(name, member, true);
        }
    }
}
