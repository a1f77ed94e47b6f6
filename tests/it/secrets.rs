//! S8, X1, X2: marked credentials never show, in no output, file or error, in no common encoding.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use freshen::core::contract::Credentials;
use freshen::core::secret::Secret;
use serde_json::json;

use crate::support::cli::Bench;
use crate::support::cloud::{Cloud, Step, clouds, keys, variables};
use crate::support::vendor::{self, Answer};

const ID: &str = "KEYIDCANARYx7f3a";
const SECRET: &str = "SECRETCANARY/+9c==";
const TOKEN: &str = "TOKENCANARYx/+b2==";
const HEADER: &str = "HEADERCANARY/+d4==";
const URL: &str = "https://cdn.example.com/a.js";

/// The first twelve bytes of each canary in the encodings that leaks come in; twelve bytes are whole base64 groups. After one
/// and two other bytes, base64 shares its first and its last characters with what surrounds it.
fn needles() -> Vec<String> {
    let mut needles = Vec::new();
    for canary in [ID, SECRET, TOKEN, HEADER] {
        let stem = &canary[..12];
        let hex = stem.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        needles.extend([base64(format!("x{stem}"))[2..16].to_owned(), base64(format!("xy{stem}"))[3..16].to_owned()]);
        needles.extend([stem.to_owned(), hex, base64(stem.to_owned())]);
    }
    needles
}

/// A line feed inside does not make a credential unreadable.
fn search(what: &str, text: &[u8]) {
    let text = ["\\u{a}", "\\n", "\n"]
        .iter()
        .fold(String::from_utf8_lossy(text).into_owned(), |text, feed| text.replace(feed, ""));
    let text = text.as_bytes();
    for needle in needles() {
        let found = text.windows(needle.len()).position(|window| window.eq_ignore_ascii_case(needle.as_bytes()));
        if let Some(at) = found {
            let around = &text[at.saturating_sub(80)..(at + 80).min(text.len())];
            panic!("{what} shows {needle}: {}", String::from_utf8_lossy(around));
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Runs every command that reads manifests or the state and searches all that comes out of them, and all files.
fn nothing_shows(bench: &Bench, first: &[&str], context: &str) {
    let commands: [&[&str]; 16] = [
        first,
        &["check"],
        &["plan"],
        &["plan", "--format", "json"],
        &["apply", "--rehearse"],
        &["status"],
        &["status", "--format", "json"],
        &["status", "--refresh"],
        &["status", "--refresh", "--format", "json"],
        &["check", "--online"],
        &["check", "--online", "--format", "json"],
        &["explain", URL],
        &["state", "list"],
        &["state", "export"],
        &["apply", "--dry-run"],
        &["apply", "--format", "json"],
    ];
    for arguments in commands {
        let ran = bench.run(arguments);
        search(&format!("{context}: stdout of {arguments:?}"), ran.stdout.as_bytes());
        search(&format!("{context}: stderr of {arguments:?}"), ran.stderr.as_bytes());
    }
    let mut all = Vec::new();
    files(&bench.path("."), &mut all);
    assert!(
        all.iter().any(|path| path.ends_with("state.db")) && all.iter().any(|path| path.ends_with("state.db.lock"))
    );
    for path in all.iter().filter(|path| !path.ends_with("keys.json")) {
        search(&format!("{context}: {}", path.display()), &std::fs::read(path).expect("read"));
    }
}

fn canaries(kind: &str) -> (Cloud, Bench) {
    let cloud = Cloud::with(kind, |setup| setup.credentials = keys(kind, ID, SECRET, Some(TOKEN)));
    let bench = Bench::new()
        .provider("own", kind, &cloud.url(), "")
        .keys(kind, ID, SECRET, Some(TOKEN))
        .var("RUST_BACKTRACE", "1");
    bench.assets(&[URL], "1");
    (cloud, bench)
}

/// X1
#[test]
fn x1_no_command_shows_credentials_of_an_account() {
    for kind in clouds() {
        let (cloud, bench) = canaries(kind);
        nothing_shows(&bench, &["apply", "--audit", "audit.jsonl"], kind);
        assert_eq!((cloud.count(), bench.recorded().len()), (1, 1), "{kind}: the canaries were used");
    }
}

/// All envelopes at once: each adapter finds its own.
fn envelope(text: &str) -> String {
    json!({
        "Response": {"Error": {"Code": text, "Message": text}, "RequestId": text},
        "RequestId": text, "Code": text, "Message": text,
        "error_code": text, "error_msg": text, "request_id": text,
        "code": 4000, "message": text, "codeDesc": text,
    })
    .to_string()
}

/// X2: a server that repeats the whole request in its refusal.
#[test]
fn x2_an_echo_of_the_request_is_masked_before_it_is_shown_or_stored() {
    for kind in clouds() {
        for status in [200, 400, 403] {
            let (cloud, bench) = canaries(kind);
            cloud.always(Some(Step::Echo(status, Arc::new(envelope))));
            cloud.ask_me(Some(Step::Echo(status, Arc::new(envelope))));
            nothing_shows(&bench, &["apply", "--audit", "audit.jsonl"], &format!("{kind} {status}"));
            assert!(cloud.count() >= 1 && bench.recorded().is_empty(), "{kind} {status}");
        }
    }
}

/// A text in the forms in which servers repeat it.
fn forms(text: &str) -> Vec<String> {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let hex = text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let base64 = |before: &str| STANDARD.encode(format!("{before}{text}"));
    vec![
        hex.to_uppercase(),
        hex,
        base64(""),
        base64("x"),
        base64("xy"),
        URL_SAFE.encode(text),
        text.to_uppercase(),
        text[..14].to_owned(),
        format!("{}\n{}", &text[..7], &text[7..]),
    ]
}

/// X1: the same in other forms than it was sent in.
#[test]
fn x1_an_echo_in_another_encoding_is_masked_before_it_is_shown_or_stored() {
    for kind in clouds() {
        let (cloud, bench) = canaries(kind);
        let all = [ID, SECRET, TOKEN].map(|canary| forms(canary).join(" ")).join(" ");
        let echo: Arc<dyn Fn(&str) -> String + Send + Sync> = Arc::new(move |_| envelope(&all));
        cloud.always(Some(Step::Echo(403, Arc::clone(&echo))));
        cloud.ask_me(Some(Step::Echo(403, echo)));
        nothing_shows(&bench, &["apply", "--audit", "audit.jsonl"], kind);
        assert!(cloud.count() >= 1 && bench.recorded().is_empty(), "{kind}");
    }
}

/// X2: wherever a long message is cut, no part of a credential stays.
#[test]
fn x2_a_message_that_is_cut_inside_a_credential_shows_no_part_of_it() {
    for canary in [ID, SECRET, TOKEN] {
        let (cloud, bench) = canaries("tencent-cdn");
        let refusal = move |_: &str| {
            let error = json!({"Code": "AuthFailure", "Message": canary.repeat(300)});
            json!({"Response": {"Error": error, "RequestId": "r"}}).to_string()
        };
        cloud.always(Some(Step::Echo(403, Arc::new(refusal))));
        nothing_shows(&bench, &["apply", "--audit", "audit.jsonl"], canary);
    }
}

/// X1: what a vendor calls a task is stored, so it is masked as well.
#[test]
fn x1_an_echo_in_an_accepted_answer_is_masked() {
    for kind in clouds() {
        let (cloud, bench) = canaries(kind);
        let Answer { status, body } = vendor::fact(kind, "accepted");
        let accepted = move |_: &str| body.replace("T-1", SECRET).replace("R-1", SECRET);
        cloud.always(Some(Step::Echo(status, Arc::new(accepted))));
        nothing_shows(&bench, &["apply", "--audit", "audit.jsonl"], kind);
        assert_eq!(bench.recorded().len(), 1, "{kind}: {:?}", bench.exported());
    }
}

#[test]
fn x1_no_command_shows_headers_of_a_cache() {
    for status in [None, Some(200), Some(403), Some(500)] {
        let value = || Secret::new(format!("Bearer {HEADER}"));
        let cloud = Cloud::with("http-purge", |setup| {
            setup.credentials = Credentials::Headers(vec![("Authorization".into(), value())]);
        });
        let extra = "headers: {Authorization: \"Bearer ${PURGE_TOKEN}\", X-Purge-Key: \"${PURGE_TOKEN}\"}\n";
        let bench = Bench::new()
            .provider("own", "http-purge", &cloud.url(), extra)
            .var("PURGE_TOKEN", HEADER)
            .var("RUST_BACKTRACE", "1");
        bench.assets(&[URL], "1");
        cloud.always(status.map(|status| Step::Echo(status, Arc::new(str::to_owned))));
        nothing_shows(&bench, &["apply", "--deadline", "2s", "--audit", "audit.jsonl"], "http-purge");
        assert!(cloud.count() >= 1);
    }
}

/// X1: keys in files and from programs, sound and broken.
#[test]
fn x1_files_and_programs_with_credentials_are_never_repeated() {
    use std::os::unix::fs::PermissionsExt;
    let sound = format!("{{\"key_id\": \"{ID}\", \"key_secret\": \"{SECRET}\", \"token\": \"{TOKEN}\"}}");
    let broken = [
        sound.clone(),
        format!("{{\"key_id\": \"{ID}\", \"key_secret\": \"{SECRET}\n\"}}"),
        format!("{{\"key_id\": \"{ID}\", \"key_secret\": [\"{SECRET}\"]}}"),
        format!("{{\"{SECRET}\": 1}}").replace(SECRET, "some_other_key"),
        format!("{ID} {SECRET}"),
        format!("{{\"key_id\": \"{ID}\", \"key_secret\": \"{SECRET}\", \"expires_at\": \"{TOKEN}\"}}"),
    ];
    for content in broken {
        for source in ["file: keys.json", "command: [/bin/cat, keys.json]"] {
            let cloud =
                Cloud::with("tencent-cdn", |setup| setup.credentials = keys("tencent-cdn", ID, SECRET, Some(TOKEN)));
            let bench = Bench::new()
                .provider("own", "tencent-cdn", &cloud.url(), &format!("credentials: {{{source}}}\n"))
                .file("keys.json", &content);
            std::fs::set_permissions(bench.path("keys.json"), PermissionsExt::from_mode(0o600)).expect("set");
            bench.assets(&[URL], "1");
            nothing_shows(&bench, &["apply", "--audit", "audit.jsonl"], &content);
            assert_eq!(bench.recorded().len(), usize::from(content == sound), "{content}");
        }
    }
}

/// X2: credentials that the vendor refused are masked as well once others have taken their place.
#[test]
fn x2_a_token_from_before_its_renewal_is_masked() {
    let cloud = Cloud::with("tencent-cdn", |setup| setup.credentials = keys("tencent-cdn", ID, SECRET, Some(TOKEN)));
    let program = "if [ -e asked ]; then exec /bin/cat new.json; fi; : >asked; exec /bin/cat keys.json";
    let content = |token: &str| json!({"key_id": ID, "key_secret": SECRET, "token": token}).to_string();
    let bench = Bench::new()
        .provider("own", "tencent-cdn", &cloud.url(), "credentials: {command: [/bin/sh, program]}\n")
        .file("program", program)
        .file("keys.json", content(TOKEN))
        .file("new.json", content("another-token-9f2"));
    bench.assets(&[URL], "1");
    let refusal = |_: &str| {
        let error = json!({"Code": "AuthFailure.TokenFailure", "Message": format!("the token {TOKEN} was revoked")});
        json!({"Response": {"Error": error, "RequestId": "r"}}).to_string()
    };
    cloud.always(Some(Step::Echo(403, Arc::new(refusal))));
    let ran = bench.run(&["apply", "--audit", "audit.jsonl"]).exits(7).says("the token *** was revoked");
    assert_eq!(cloud.count(), 2, "a call with each token");
    for (what, text) in [
        ("output", ran.stdout.into_bytes()),
        ("errors", ran.stderr.into_bytes()),
        ("audit log", bench.read("audit.jsonl").expect("written")),
        ("state", bench.read(".freshen/state.db").expect("written")),
    ] {
        search(what, &text);
    }
}

/// X1: values that cannot be credentials are named by their variable only.
#[test]
fn x1_unusable_values_of_variables_are_not_repeated() {
    let (_, bench) = canaries("tencent-cdn");
    let [_, secret, _] = variables("tencent-cdn");
    let bench = bench.var(secret, &format!("{SECRET}\n"));
    let ran = bench.run(&["apply"]).exits(2).says(secret);
    search("stderr", ran.stderr.as_bytes());
}

/// X6: state and lock are the owner's alone, whatever the umask.
#[test]
fn x6_state_and_lock_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_cloud, bench) = canaries("tencent-cdn");
    bench.run(&["apply"]).exits(0);
    let mut all = Vec::new();
    files(&bench.path(".freshen"), &mut all);
    for path in all {
        let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}
