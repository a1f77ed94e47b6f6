use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::zeroize::Zeroizing;
use tokio::sync::oneshot;

use super::testing::ScriptedEnv;
use super::*;
use crate::core::contract::{Account, Call, CallError, Capabilities, FieldSort, OptionValue, Options, Reply, Stamp};
use crate::core::http::{Endpoint, Request, Response};
use crate::core::model::{Limits, Location};
use crate::core::provider::Provider;

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);
const GOOD: &str = r#"{"key_id":"id-1","key_secret":"canary-secret","token":"canary-token"}"#;

/// A kind of which nothing but its scheme is asked.
struct Kind(Capabilities);

impl Provider for Kind {
    fn capabilities(&self) -> &'static Capabilities {
        // The statics below are the only values.
        match self.0.kind {
            "keys" => &KEYS.0,
            "bearer" => &BEARER.0,
            "edge" => &EDGE.0,
            "static" => &STATIC.0,
            _ => &HEADERS.0,
        }
    }

    fn encode(&self, _: &Call, _: &Account, _: &Credentials, _: &Stamp) -> Result<Request, String> {
        unreachable!("nothing is sent")
    }

    fn decode(&self, _: &Call, _: &Account, _: &Response) -> Result<Reply, CallError> {
        unreachable!("nothing is sent")
    }
}

const fn kind(name: &'static str, credentials: CredentialScheme) -> Kind {
    Kind(Capabilities {
        kind: name,
        summary: "",
        notice: None,
        default_endpoint: None,
        credentials,
        options: &[],
        operations: &[],
        max_url_bytes: None,
        quota_day_offset_minutes: 0,
        effect_ms: 0,
    })
}

const fn field(name: &'static str, variable: &'static str, sort: FieldSort) -> CredentialField {
    CredentialField { name, variable, sort }
}

const FIELDS: &[CredentialField] = &[
    field("key_id", "ID", FieldSort::KeyId),
    field("key_secret", "SECRET", FieldSort::Secret),
    field("token", "TOKEN", FieldSort::SessionToken),
];
const TOKEN: &CredentialField = &field("bearer_token", "BEARER", FieldSort::SessionToken);

static KEYS: Kind = kind("keys", CredentialScheme::Fields { fields: FIELDS, instead: None });
static BEARER: Kind = kind("bearer", CredentialScheme::Fields { fields: FIELDS, instead: Some(TOKEN) });
static EDGE: Kind = kind("edge", CredentialScheme::Fields { fields: EDGE_FIELDS, instead: None });
/// Fields of which no other kind has any.
const EDGE_FIELDS: &[CredentialField] = &[
    field("client_token", "EDGE_CLIENT_TOKEN", FieldSort::KeyId),
    field("client_secret", "EDGE_CLIENT_SECRET", FieldSort::Secret),
    field("access_token", "EDGE_ACCESS_TOKEN", FieldSort::Secret),
];
/// One static token, which names no account.
static STATIC: Kind = kind(
    "static",
    CredentialScheme::Fields { fields: &[field("api_token", "API_TOKEN", FieldSort::Secret)], instead: None },
);
static HEADERS: Kind = kind("headers", CredentialScheme::Headers);

fn provider(kind: &'static Kind, credentials: CredentialSource) -> ProviderConfig {
    ProviderConfig {
        name: "mainland".into(),
        kind,
        hosts: Vec::new(),
        endpoints: Vec::new().into(),
        require: None,
        options: Options::default(),
        limits: Limits::default(),
        ignore_query: false,
        upstream: None,
        account: None,
        credentials,
        place: Location::default(),
    }
}

fn environment(prefix: &str) -> CredentialSource {
    CredentialSource::Environment { prefix: prefix.into() }
}

fn shell(script: &str) -> CredentialSource {
    CredentialSource::Command(["sh", "-c", script].map(String::from).to_vec())
}

async fn get(env: ScriptedEnv, provider: &ProviderConfig) -> Result<Credentials, CredentialError> {
    CredentialStore::new(Arc::new(env)).get(provider, NOW).await
}

/// The error's text, after a look for secrets in it and in its `Debug` form (X1).
async fn refusal(env: ScriptedEnv, provider: &ProviderConfig) -> String {
    let error = get(env, provider).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
    error.to_string()
}

fn spelled(credentials: &Credentials) -> Vec<&str> {
    match credentials {
        Credentials::Fields(fields) => {
            [fields[0].0].into_iter().chain(fields.iter().map(|(_, value)| value.expose())).collect()
        }
        Credentials::Headers(pairs) => pairs.iter().flat_map(|(name, value)| [name.as_str(), value.expose()]).collect(),
    }
}

#[tokio::test]
async fn keys_come_from_prefixed_variables() {
    let pairs = [("ID", "other"), ("SECRET", "other"), ("PROD_ID", "id"), ("PROD_SECRET", "s"), ("PROD_TOKEN", "t")];
    let got = get(ScriptedEnv::with(&pairs), &provider(&KEYS, environment("PROD_"))).await.expect("set");
    assert_eq!(spelled(&got), ["key_id", "id", "s", "t"]);
    let got = get(ScriptedEnv::with(&pairs), &provider(&KEYS, environment(""))).await.expect("set");
    assert_eq!(spelled(&got), ["key_id", "other", "other"]);
}

#[tokio::test]
async fn bearer_variable_wins_over_keys() {
    let pairs = [("ID", "id"), ("SECRET", "s"), ("BEARER", "b")];
    let got = get(ScriptedEnv::with(&pairs), &provider(&BEARER, environment(""))).await.expect("set");
    assert_eq!(spelled(&got), ["bearer_token", "b"]);
    let got = get(ScriptedEnv::with(&pairs), &provider(&KEYS, environment(""))).await.expect("set");
    assert_eq!(spelled(&got), ["key_id", "id", "s"]);
}

#[tokio::test]
async fn missing_variables_are_named_all_at_once() {
    let none = || ScriptedEnv::with(&[]);
    let text = refusal(none(), &provider(&KEYS, environment("P_"))).await;
    assert_eq!(text, "no credentials in the environment: set P_ID and P_SECRET");
    let text = refusal(none(), &provider(&BEARER, environment("P_"))).await;
    assert_eq!(text, "no credentials in the environment: set P_ID and P_SECRET, or P_BEARER");
    let text = refusal(ScriptedEnv::with(&[("ID", "canary")]), &provider(&KEYS, environment(""))).await;
    assert_eq!(text, "no credentials in the environment: set SECRET");
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() {
    let pairs = [("ID", "a"), ("SECRET", "b"), ("TOKEN", "")];
    let credentials = CredentialStore::new(std::sync::Arc::new(ScriptedEnv::with(&pairs)));
    let found = credentials.get(&provider(&KEYS, environment("")), NOW).await;
    assert!(found.is_ok_and(|found| found.field("token").is_none()));
    let text = refusal(ScriptedEnv::with(&[("ID", ""), ("SECRET", "b")]), &provider(&KEYS, environment(""))).await;
    assert!(text.contains("set ID"), "{text}");
}

#[tokio::test]
async fn unfit_values_are_refused_without_being_shown() {
    let fits = [("ID", "canary"), ("SECRET", "canary"), ("TOKEN", "canary")];
    let unfit = [
        ("  ", "is blank"),
        ("canary\n", "begins or ends"),
        (" canary", "begins or ends"),
        ("can\u{7}canary", "control character"),
        ("canary\u{fffd}", "not valid UTF-8"),
    ];
    for at in 0..fits.len() {
        for (value, part) in unfit {
            let mut pairs = fits;
            pairs[at].1 = value;
            let text = refusal(ScriptedEnv::with(&pairs), &provider(&KEYS, environment(""))).await;
            assert!(text.starts_with(&format!("variable {} ", fits[at].0)) && text.contains(part), "{text}");
        }
    }
}

fn with_headers(pairs: &[(&str, &str)]) -> ProviderConfig {
    let mut config = provider(&HEADERS, environment("UNUSED_"));
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    config.options.0.insert("headers".into(), OptionValue::Headers(pairs));
    config
}

// Y6
#[tokio::test]
async fn header_references_are_replaced_once() {
    let env = ScriptedEnv::with(&[("A", "${B}"), ("B", "no")]);
    let config = with_headers(&[("X-Token", "Bearer ${A}-${B}"), ("X-Plain", "$5")]);
    let got = get(env, &config).await.expect("set");
    assert_eq!(spelled(&got), ["X-Token", "Bearer ${B}-no", "X-Plain", "$5"]);
    assert!(!format!("{got:?}").contains("no"));
}

// Y6, U8
#[tokio::test]
async fn unfit_header_values_are_refused_by_name() {
    let env = || ScriptedEnv::with(&[("A", "canary\r\nX-Evil: 1"), ("B", "canary")]);
    let text = refusal(env(), &with_headers(&[("X-T", "${B}${NOPE}")])).await;
    assert_eq!(text, "header `X-T` refers to variable NOPE, which is not set");
    let empty = ScriptedEnv::with(&[("EMPTY", "")]);
    let text = refusal(empty, &with_headers(&[("X-T", "${EMPTY}")])).await;
    assert_eq!(text, "header `X-T` refers to variable EMPTY, which is set to nothing");
    let text = refusal(env(), &with_headers(&[("X-T", "${A}")])).await;
    assert_eq!(text, "variable A holds a control character");
    for bad in ["${B}\n", "\r${B}", "${B}\0"] {
        assert_eq!(refusal(env(), &with_headers(&[("X-T", bad)])).await, "header `X-T` holds a control character");
    }
    let text = refusal(env(), &with_headers(&[("X-T", "${B")])).await;
    assert!(text.contains("header `X-T` holds a broken reference: write it like ${NAME}"), "{text}");
}

#[tokio::test]
async fn kinds_without_an_account_take_no_file_or_command() {
    for source in [CredentialSource::File("x".into()), shell("exit 0")] {
        let text = refusal(ScriptedEnv::with(&[]), &provider(&HEADERS, source)).await;
        assert!(text.contains("only configured headers"), "{text}");
    }
}

/// A file with `mode` in a scratch folder that lives as long as the first value.
#[cfg(unix)]
fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, CredentialSource) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("scratch");
    let path = folder.path().join("credentials.json");
    std::fs::write(&path, content).expect("scratch");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("scratch");
    let source = CredentialSource::File(path.to_str().expect("scratch").to_owned());
    (folder, source)
}

// X3
#[cfg(unix)]
#[tokio::test]
async fn file_that_others_can_open_is_refused() {
    for mode in [0o600, 0o400] {
        let (_folder, source) = file(GOOD.as_bytes(), mode);
        let got = get(ScriptedEnv::with(&[]), &provider(&KEYS, source)).await.expect("private");
        assert_eq!(spelled(&got), ["key_id", "id-1", "canary-secret", "canary-token"]);
    }
    for mode in [0o640, 0o604, 0o620, 0o601] {
        let (_folder, source) = file(GOOD.as_bytes(), mode);
        let text = refusal(ScriptedEnv::with(&[]), &provider(&KEYS, source)).await;
        assert!(text.contains(&format!("mode {mode:04o}")) && text.contains("chmod 600"), "{text}");
    }
}

// Y5
#[cfg(unix)]
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "no other way to a pipe with a name")]
async fn only_small_regular_files_are_read() {
    let (folder, _) = file(b"", 0o600);
    let path = |name: &str| CredentialSource::File(folder.path().join(name).to_str().expect("scratch").to_owned());
    let read = |source| async move { refusal(ScriptedEnv::with(&[]), &provider(&KEYS, source)).await };
    assert!(read(path("absent")).await.contains("cannot be read"));
    assert!(read(path("")).await.contains("is not a regular file"));
    let made =
        std::process::Command::new("mkfifo").arg("-m600").arg(folder.path().join("pipe")).status().expect("scratch");
    assert!(made.success());
    assert!(read(path("pipe")).await.contains("is not a regular file"));
    let (_large, source) = file(&vec![b' '; MOST_BYTES + 1], 0o600);
    assert!(read(source).await.contains("larger than 65536 bytes"));
}

#[tokio::test]
async fn faults_in_the_object_are_named_by_key_without_values() {
    let cases = [
        ("canary", "printed no JSON object (line 1, column 1)"),
        ("\u{feff}{\"key_id\":\"canary\"}", "printed no `key_secret`"),
        (r#"["canary"]"#, "printed no JSON object"),
        (r#"{"key_id":"canary"} {}"#, "printed no JSON object"),
        (
            r#"{"key_id":"canary","canaries":"canary"}"#,
            "unknown key, its key number 2; this kind knows key_id, key_secret, token and expires_at",
        ),
        (r#"{"key_id":"canary","key_id":"canary"}"#, "gives `key_id` twice"),
        (r#"{"key_id":31337}"#, "gives `key_id` as something else than a text"),
        (r#"{"key_id":"canary","key_secret":"canary\n"}"#, "gives a `key_secret` that begins or ends"),
        (r#"{"key_id":"canary","key_secret":""}"#, "gives a `key_secret` that is blank"),
        (r#"{"key_id":"canary","key_secret":null}"#, "printed no `key_secret`"),
        (r#"{"key_secret":"canary"}"#, "printed no `key_id`"),
        (r#"{"bearer_token":"canary"}"#, "unknown key, its key number 1"),
        (r#"{"key_id":"canary","key_secret":"canary","expires_at":"canary"}"#, "not a time like"),
    ];
    for (output, part) in cases {
        let text = refusal(ScriptedEnv::printing(&[output]), &provider(&KEYS, shell("canary"))).await;
        assert!(text.contains(part), "{output}: {text}");
        let shows = ["31337", "canaries"].iter().any(|hidden| text.contains(hidden));
        assert!(text.starts_with("credentials command `sh`") && !shows, "{text}");
    }
}

#[tokio::test]
async fn bearer_token_of_a_file_or_command_wins_where_it_is_taken() {
    let both = r#"{"key_id":"a","key_secret":"b","bearer_token":"c"}"#;
    let got = get(ScriptedEnv::printing(&[both]), &provider(&BEARER, shell(""))).await.expect("given");
    assert_eq!(spelled(&got), ["bearer_token", "c"]);
}

#[cfg(unix)]
#[tokio::test]
async fn command_runs_without_a_shell_and_its_output_is_read() {
    let source = CredentialSource::Command(["printf", "%s", GOOD].map(String::from).to_vec());
    let got = get(ScriptedEnv::with(&[]), &provider(&KEYS, source)).await.expect("printed");
    assert_eq!(spelled(&got)[1], "id-1");
}

#[cfg(unix)]
#[tokio::test]
async fn failed_command_shows_its_status_and_no_output() {
    let run = |source| async move { refusal(ScriptedEnv::with(&[]), &provider(&KEYS, source)).await };
    let text = run(shell("echo canary; echo canary >&2; exit 3")).await;
    assert!(text.starts_with("credentials command `sh` ended with exit status 3; its output is not shown"), "{text}");
    assert!(run(shell("kill -9 $$")).await.contains("ended with signal 9"));
    assert!(run(shell("exec head -c 70000 /dev/zero")).await.contains("printed more than 65536 bytes"));
    let absent = CredentialSource::Command(vec!["/nonexistent/program".into(), "canary".into()]);
    assert!(run(absent).await.contains("could not be run"));
    assert!(run(CredentialSource::Command(Vec::new())).await.contains("names no program"));
}

#[cfg(unix)]
#[tokio::test]
async fn command_that_does_not_end_is_stopped() {
    let command = ["sleep", "3600"].map(String::from);
    let limits = CommandLimits { timeout_ms: 30, most_bytes: 10 };
    let error = crate::host::env::SystemEnv.run(&command, limits).await.expect_err("stopped");
    assert_eq!(error, CommandError::TimedOut { timeout_ms: 30 });
}

/// Any fields come from variables, a file and a program alike, and each of them is kept as a secret.
#[cfg(unix)]
#[tokio::test]
async fn fields_are_those_that_the_kind_declares_from_any_source() {
    let object = r#"{"access_token":"at","client_token":"ct","client_secret":"canary"}"#;
    let pairs = [("P_EDGE_CLIENT_TOKEN", "ct"), ("P_EDGE_CLIENT_SECRET", "canary"), ("P_EDGE_ACCESS_TOKEN", "at")];
    let (_folder, from_file) = file(object.as_bytes(), 0o600);
    for (env, source) in [
        (ScriptedEnv::with(&pairs), environment("P_")),
        (ScriptedEnv::with(&[]), from_file),
        (ScriptedEnv::printing(&[object]), shell("")),
    ] {
        let got = get(env, &provider(&EDGE, source)).await.expect("given");
        assert_eq!(spelled(&got), ["client_token", "ct", "canary", "at"]);
        assert!(got.field("key_id").is_none() && !format!("{got:?}").contains("canary"));
    }
    let text = refusal(ScriptedEnv::with(&pairs[..2]), &provider(&EDGE, environment("P_"))).await;
    assert_eq!(text, "no credentials in the environment: set P_EDGE_ACCESS_TOKEN");
    let text = refusal(ScriptedEnv::printing(&[GOOD]), &provider(&EDGE, shell(""))).await;
    assert!(text.contains("this kind knows client_token, client_secret, access_token and expires_at"), "{text}");
}

fn expiring(id: &str, at: Timestamp) -> String {
    format!(r#"{{"key_id":"{id}","key_secret":"s","expires_at":"{}"}}"#, at.utc_extended())
}

#[tokio::test]
async fn source_is_asked_again_a_minute_before_expiry_and_not_earlier() {
    let hour = 3_600_000;
    let outputs = [expiring("first", NOW.plus_ms(hour)), expiring("second", NOW.plus_ms(2 * hour))];
    let env = Arc::new(ScriptedEnv::printing(&outputs.each_ref().map(String::as_str)));
    let store = CredentialStore::new(env.clone());
    let config = provider(&KEYS, shell(""));
    for (after_ms, id, left) in [(0, "first", 1), (hour - 60_001, "first", 1), (hour - 60_000, "second", 0)] {
        let got = store.get(&config, NOW.plus_ms(after_ms)).await.expect("printed");
        assert_eq!((spelled(&got)[1], env.outputs_left()), (id, left));
    }
}

#[tokio::test]
async fn expired_answer_is_an_error_and_a_short_lived_one_is_used() {
    let config = provider(&KEYS, shell(""));
    let text = refusal(ScriptedEnv::printing(&[&expiring("a", NOW)]), &config).await;
    assert_eq!(text, "credentials command `sh` gave credentials that expired at 2023-11-14T22:13:20Z");
    let soon = expiring("a", NOW.plus_ms(1000)).replace("22:13:21Z", "23:13:21+01:00");
    assert!(soon.contains("+01:00"));
    assert!(get(ScriptedEnv::printing(&[&soon]), &config).await.is_ok());
}

#[tokio::test]
async fn refused_credentials_are_asked_for_again() {
    let env = Arc::new(ScriptedEnv::printing(&[GOOD, GOOD]));
    let store = CredentialStore::new(env.clone());
    let config = provider(&KEYS, shell(""));
    for _ in 0..3 {
        store.get(&config, NOW).await.expect("printed");
    }
    assert_eq!(env.outputs_left(), 1);
    store.invalidate(&config);
    store.get(&config, NOW).await.expect("printed");
    assert_eq!(env.outputs_left(), 0);
}

/// A process that stays up goes by how a provider is configured now, whatever it was called before.
#[tokio::test]
async fn a_provider_that_is_configured_anew_gets_other_credentials() {
    let (_folder, from_file) = file(GOOD.as_bytes(), 0o600);
    let variables = [("ID", "first"), ("SECRET", "s"), ("P_ID", "second"), ("P_SECRET", "s"), ("BEARER", "token")];
    let store = CredentialStore::new(Arc::new(ScriptedEnv::with(&variables)));
    let script = r#"echo '{"key_id":"third","key_secret":"s"}'"#;
    let cases = [
        (&KEYS, environment(""), "first"),
        (&KEYS, environment("P_"), "second"),
        (&KEYS, shell(script), "third"),
        (&KEYS, from_file, "id-1"),
        (&KEYS, environment(""), "first"),
        (&BEARER, environment(""), "token"),
    ];
    for (kind, source, id) in cases {
        let got = store.get(&provider(kind, source), NOW).await.expect("given");
        assert_eq!(spelled(&got)[1], id);
    }
    for (template, value) in [("${ID}", "first"), ("${P_ID}", "second")] {
        let got = store.get(&with_headers(&[("X-Key", template)]), NOW).await.expect("given");
        assert_eq!(spelled(&got), ["X-Key", value]);
    }
}

/// W6: keys that are replaced after they were refused are found by a later run of the same process, and so are the next ones.
#[tokio::test]
async fn each_run_asks_once_more_for_refused_credentials() {
    let of = |id: &str| format!(r#"{{"key_id":"{id}","key_secret":"s"}}"#);
    let outputs = [of("old"), of("old"), of("new"), of("newest")];
    let env = Arc::new(ScriptedEnv::printing(&outputs.each_ref().map(String::as_str)));
    let store = CredentialStore::new(env.clone());
    let config = provider(&KEYS, shell(""));
    for (found, left) in [([false, false], 2), ([true, true], 1), ([true, true], 0)] {
        store.begin_run();
        let used = store.get(&config, NOW).await.expect("printed");
        for found in found {
            assert_eq!(store.renewed(&config, &used, NOW).await, found);
        }
        assert_eq!(env.outputs_left(), left);
    }
}

/// L2: a source that fails is not asked again in the same run, whichever caller wants to know.
#[tokio::test]
async fn a_source_that_failed_is_asked_anew_in_the_next_run_only() {
    let env = Arc::new(ScriptedEnv::printing(&["nonsense", GOOD]));
    let store = CredentialStore::new(env.clone());
    let config = provider(&KEYS, shell(""));
    for _ in 0..3 {
        assert!(matches!(store.get(&config, NOW).await, Err(CredentialError::Content { .. })));
    }
    assert_eq!(env.outputs_left(), 1);
    store.begin_run();
    assert!(store.get(&config, NOW).await.is_ok());
    assert_eq!(env.outputs_left(), 0);
}

/// A program that prints when the test says so.
struct Slow {
    asked: AtomicUsize,
    output: tokio::sync::Mutex<Option<oneshot::Receiver<&'static str>>>,
}

impl Env for Slow {
    fn var(&self, _: &str) -> Option<String> {
        None
    }

    fn read_private(&self, _: &str, _: usize) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
        unreachable!("a program is asked")
    }

    fn run<'a>(&'a self, _: &'a [String], _: CommandLimits) -> BoxFuture<'a, Result<Zeroizing<Vec<u8>>, CommandError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let output = self.output.lock().await.take().expect("asked once").await.expect("it prints");
            Ok(output.as_bytes().to_vec().into())
        })
    }
}

/// L2: a slow program is not waited for, neither stopped nor started again, and a later run gets what it printed.
#[tokio::test]
async fn an_answer_that_is_late_is_the_next_runs() {
    let (print, output) = oneshot::channel();
    let env = Arc::new(Slow { asked: AtomicUsize::new(0), output: tokio::sync::Mutex::new(Some(output)) });
    let store = CredentialStore::new(env.clone());
    let config = provider(&KEYS, shell(""));
    for _ in 0..2 {
        store.begin_run();
        assert!(store.get(&config, NOW).now_or_never().is_none(), "it is at work");
        let late = store.give_up(&config, 5_000);
        assert!(late.to_string().contains("no credentials within 5000 ms"), "{late}");
        assert_eq!(store.get(&config, NOW).await.expect_err("given up"), late);
    }
    print.send(GOOD).expect("somebody listens");
    assert!(store.get(&config, NOW).await.is_err(), "a run that did without does so to its end");
    store.begin_run();
    assert_eq!(spelled(&store.get(&config, NOW).await.expect("printed"))[1], "id-1");
    assert_eq!(env.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn calls_at_once_share_one_answer() {
    let env = Arc::new(ScriptedEnv::printing(&[GOOD]));
    let store = CredentialStore::new(env);
    let config = provider(&KEYS, shell(""));
    let (a, b) = tokio::join!(store.get(&config, NOW), store.get(&config, NOW));
    assert!(a.is_ok() && b.is_ok());
}

#[test]
fn only_files_and_commands_can_give_others() {
    let can = |kind, source| CredentialStore::can_refresh(&provider(kind, source));
    assert!(can(&KEYS, shell("")) && can(&KEYS, CredentialSource::File("x".into())));
    assert!(!can(&KEYS, environment("")) && !can(&HEADERS, environment("")));
}

fn keys_of(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    let fields = [("key_id", Some(id)), ("key_secret", Some(secret)), ("token", token)];
    let given = |(name, value): (&'static str, Option<&str>)| Some((name, Secret::new(value?.into())));
    Credentials::Fields(fields.into_iter().filter_map(given).collect())
}

#[test]
fn an_account_is_known_by_key_id_or_endpoint() {
    let at =
        |host: &str| Endpoint { tls: true, host: host.into(), port: None, path_prefix: String::new(), address: None };
    let of = |kind, host, credentials: &Credentials| {
        let config = ProviderConfig { endpoints: vec![at(host)].into(), ..provider(kind, environment("")) };
        account_of(&[config], 0, credentials)
    };
    let id = of(&KEYS, "a", &keys_of("id", "a", None));
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(id, of(&KEYS, "b", &keys_of("id", "b", None)));
    assert_ne!(id, of(&KEYS, "a", &keys_of("other", "a", None)));
    let headers = |host| of(&HEADERS, host, &Credentials::Headers(Vec::new()));
    assert!(headers("a") == headers("a") && headers("a") != headers("b") && headers("a") != id);
}

/// S5: temporary keys come and go, and their account stays.
#[test]
fn the_account_of_temporary_credentials_has_a_name_that_lasts() {
    let named = |name: &str, kind, from, account: Option<&str>| ProviderConfig {
        name: name.into(),
        account: account.map(str::to_owned),
        ..provider(kind, from)
    };
    let providers = [
        named("a", &KEYS, environment(""), None),
        named("b", &KEYS, environment("B_"), None),
        named("c", &KEYS, environment(""), None),
        named("d", &BEARER, CredentialSource::File("keys.json".into()), None),
        named("e", &BEARER, CredentialSource::File("keys.json".into()), Some("main")),
        named("f", &HEADERS, environment(""), None),
        named("g", &HEADERS, environment(""), Some("main")),
    ];
    let of = |provider, credentials: &Credentials| account_of(&providers, provider, credentials);
    let one = |provider| of(provider, &keys_of("one", "x", Some("token")));
    let accounts = ["keys of variable ID", "keys of variable B_ID", "keys of variable ID"];
    assert_eq!([one(0), one(1), one(2)], accounts, "one source, one account");
    assert_eq!(one(0), of(0, &keys_of("two", "y", Some("another"))));
    let bearer = Credentials::Fields(vec![("bearer_token", Secret::new("x".into()))]);
    assert_eq!((of(3, &bearer), of(4, &bearer)), ("account main".into(), "account main".into()));
    assert_eq!(of(4, &keys_of("rotated", "x", None)), "account main");
    assert_eq!(of(6, &Credentials::Headers(Vec::new())), "account main");
    let token = |prefix: &str, value: &str| {
        let credentials = Credentials::Fields(vec![("api_token", Secret::new(value.into()))]);
        account_of(&[provider(&STATIC, environment(prefix))], 0, &credentials)
    };
    assert_eq!(token("P_", "canary"), "keys of variable P_API_TOKEN", "no hash of a secret is kept");
    assert_eq!(token("P_", "canary"), token("P_", "rotated"));
    assert_eq!(account::named(&providers, 5), None, "headers are each provider's own");
    let program = |words: &[&str]| {
        let command = CredentialSource::Command(words.iter().map(|&word| word.to_owned()).collect());
        lasting_account(&provider(&KEYS, command))
    };
    let told = program(&["keys.sh", "--key", "canary"]);
    assert!(told.starts_with("keys of program keys.sh ") && !told.contains("canary"), "{told}");
    assert!(told == program(&["keys.sh", "--key", "canary"]) && told != program(&["keys.sh", "--key", "other"]));
}
