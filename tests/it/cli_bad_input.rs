//! Bad input through the binary: exit 2 with the place, nothing on the wire, nothing written.

use std::fmt::Write;

use crate::support::cli::{Bench, STATE, make_pipe};
use crate::support::cloud::Cloud;

/// One kind of bad manifest: fault id, text, and the line and column that must be named.
struct Case(&'static str, Vec<u8>, Option<(u32, u32)>);

fn case(id: &'static str, text: impl Into<Vec<u8>>, place: (u32, u32)) -> Case {
    Case(id, text.into(), Some(place))
}

/// An asset at line 2, column 3; its value begins at `3 + url + quotes + 2`.
fn asset(url: &str) -> String {
    format!("assets:\n  {url}: rev:1\n")
}

fn hash(value: &str) -> String {
    format!("assets:\n  https://cdn.example.com/a: {value}\n")
}

fn yaml_cases() -> Vec<Case> {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]\n";
    let mut list = vec![
        Case("Y1 aliases", bomb.into(), None),
        Case("Y1 depth", "[".repeat(100_000).into(), None),
        Case("Y1 depth", format!("a: {}", "{a: ".repeat(5000)).into(), None),
        case("Y2 twice", "assets:\n  https://cdn.example.com/a: rev:1\n  https://cdn.example.com/a: rev:2\n", (3, 3)),
        case("Y2 unknown", "asets: {}\n", (1, 1)),
        case("Y2 type", "assets: 5\n", (1, 9)),
        case("Y2 type", "providers: [a]\n", (1, 12)),
        Case("Y2 second document", "assets: {}\n---\nassets: {}\n".into(), None),
        Case("Y2 tag", hash("!!binary aGVsbG8=").into(), None),
        Case("Y2 tag", hash("!secret x").into(), None),
        Case("Y2 merge", "a: &a {b: 1}\nassets:\n  <<: *a\n".into(), None),
        Case("Y2 tab", "assets:\n\thttps://cdn.example.com/a: rev:1\n".into(), None),
        Case("Y2 NUL", b"assets:\n  https://cdn.example.com/a: rev:\x001\n".to_vec(), None),
        Case("Y2 UTF-8", b"assets:\n  https://cdn.example.com/\xff: rev:1\n".to_vec(), None),
        Case("Y2 UTF-16", b"\xff\xfea\0s\0s\0e\0t\0s\0:\0 \0{\0}\0\n\0".to_vec(), None),
        Case("Y5 empty", Vec::new(), None),
        Case("Y5 blank", b"\n# nothing\n\n".to_vec(), None),
        Case("Y2 scalar", b"nonsense\n".to_vec(), None),
        Case("Y2 open", b"assets: {a: [\n".to_vec(), None),
    ];
    for value in ["123", "1e5", "0123", "0x1F", "no", "null", "~", "''", "\"\"", "[]"] {
        list.push(case("Y3", hash(value), (2, 30)));
    }
    list.push(case("Y3", hash("{}"), (2, 3)));
    let right = "0cc175b9c0f1b6a831c399e269772661";
    for value in [
        format!("md5:{}", &right[1..]),
        format!("md5:{right}0"),
        format!("md5:{}g", &right[1..]),
        "'sha256:'".into(),
        "sha256-AAAA".into(),
        "crc32:12345678".into(),
        "'etag:'".into(),
    ] {
        list.push(case("Y4", hash(&value), (2, 30)));
    }
    list
}

fn url_cases() -> Vec<Case> {
    let mut list = Vec::new();
    for (id, url) in [
        ("U1 CR", r#""https://cdn.example.com/a\rb""#),
        ("U1 LF", r#""https://cdn.example.com/a\nhttps://cdn.example.com/b""#),
        ("U1 TAB", r#""https://cdn.example.com/a\tb""#),
        ("U1 NUL", r#""https://cdn.example.com/a\0b""#),
        ("U1 DEL", r#""https://cdn.example.com/a\x7fb""#),
        ("U1 NEL", r#""https://cdn.example.com/a\u0085b""#),
        ("U1 bidi", r#""https://cdn.example.com/a\u202eb""#),
        ("U1 blank", r#"" https://cdn.example.com/a""#),
        ("U1 blank", r#""https://cdn.example.com/a ""#),
        ("U3 user", "https://user:canary@cdn.example.com/"),
        ("U3 fragment", r#""https://cdn.example.com/a#b""#),
        ("U3 host", r#""https:///a""#),
        ("U3 port", r#""https://cdn.example.com:0/a""#),
        ("U3 port", r#""https://cdn.example.com:99999/a""#),
        ("U3 scheme", r#""ftp://cdn.example.com/a""#),
        ("U3 scheme", r#""javascript:alert(1)""#),
        ("U3 backslash", r#""https://cdn.example.com\\a""#),
        ("U3 relative", "a/b.js"),
        ("U4 host", "https://CDN.example.com/a"),
        ("U5 unicode", "https://中文.example.net/a"),
        ("U5 punycode", "https://xn--a.example.net/a"),
        ("U5 dot", "https://cdn.example.com./a"),
        ("U6 address", "https://127.1/a"),
        ("U6 address", "https://0x7f000001/a"),
        ("U7 host", "https://elsewhere.example.org/a"),
    ] {
        list.push(case(id, asset(url), (2, 3)));
    }
    list.push(case("U3 long", asset(&format!("https://cdn.example.com/{}", "a".repeat(9000))), (2, 3)));
    list
}

fn provider_cases() -> Vec<Case> {
    let with = |lines: &str| {
        let mut text = "providers:\n  extra:\n    kind: http-purge\n    endpoint: http://127.0.0.1:1\n".to_owned();
        let _ = write!(text, "{lines}");
        text
    };
    vec![
        case("U8 value", with("    headers: {X-A: \"a\\r\\nb\"}\n"), (5, 20)),
        case("U8 name", with("    headers: {\"X A\": b}\n"), (5, 15)),
        case("X3 header", with("    headers: {Authorization: \"Basic canary\"}\n"), (5, 30)),
        case("X3 key", with("    secret_key: canary\n"), (5, 5)),
        case("X3 key", "providers:\n  extra:\n    kind: tencent-cdn\n    SecretId: canary\n", (4, 5)),
        case("R22", "providers:\n  extra:\n    kind: tencent-cdn\n    endpoint: http://10.0.0.1\n", (4, 15)),
        case("U6", "providers:\n  extra:\n    kind: tencent-cdn\n    endpoint: https://169.254.169.254\n", (4, 15)),
        case("Y6", "providers:\n  extra:\n    kind: tencent-cdn\n    endpoint: https://${HOST}/\n", (4, 15)),
        case("Y2 kind", "providers:\n  extra:\n    kind: akamai\n", (3, 11)),
        case("Y2 name", "providers:\n  own:\n    kind: tencent-cdn\n", (2, 3)),
    ]
}

/// Runs `check`, `plan` and `apply` over a bad manifest; the state, if there is one, and the wire stay as they were.
fn refused(bench: &Bench, cloud: &Cloud, Case(id, text, place): &Case) {
    bench.write("manifests/bad.yaml", text);
    let before = bench.read(STATE);
    for arguments in [&["check"][..], &["apply"], &["adopt"], &["apply", "--rehearse"]] {
        let ran = bench.run(arguments);
        let shown = String::from_utf8_lossy(text);
        let shown = shown.get(..200).unwrap_or(&shown);
        assert_eq!(ran.status, 2, "{id}: {arguments:?} took\n{shown}\n{ran:?}");
        let expected = match place {
            Some((line, column)) => format!("manifests/bad.yaml:{line}:{column}"),
            None => "manifests/bad.yaml".to_owned(),
        };
        assert!(ran.stderr.contains(&expected), "{id}: no {expected} for\n{shown}\n{}", ran.stderr);
        assert!(!ran.stderr.contains("canary") && ran.stderr.len() < 4000, "{id}: {}", ran.stderr);
    }
    assert!(bench.read(STATE) == before && cloud.requests().is_empty(), "{id}");
}

fn all_cases() -> Vec<Case> {
    [yaml_cases(), url_cases(), provider_cases()].into_iter().flatten().collect()
}

/// Y1 to Y6, U1 to U9, R22, X3: every problem has its place; no state comes into being.
#[test]
fn bad_manifests_are_refused_with_their_place_and_make_no_state() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    for case in all_cases() {
        refused(&bench, &cloud, &case);
    }
    assert!(bench.read(".freshen/state.db.lock").is_none(), "not even a lock is made");
}

#[test]
fn bad_manifests_leave_an_existing_state_as_it_is() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.assets(&["https://cdn.example.com/a.js"], "1");
    bench.run(&["adopt"]).exits(0);
    for case in all_cases().iter().step_by(5) {
        refused(&bench, &cloud, case);
    }
    std::fs::remove_file(bench.path("manifests/bad.yaml")).expect("removed");
    bench.run(&["apply"]).exits(0).says("Nothing to do");
}

/// L2, Y2: all problems of all files at once.
#[test]
fn all_problems_are_told_at_once() {
    let bench = Bench::new()
        .file("manifests/a.yaml", asset("https://CDN.example.com/"))
        .file("manifests/b.yaml", "assets: {}\nx: 1\ny: 2\n");
    bench.run(&["check"]).exits(2).says("a.yaml:2:3").says("b.yaml:2:1").says("b.yaml:3:1");
}

/// R5: one hash twice is once; two hashes are an error that names both places.
#[test]
fn r5_the_same_url_with_two_hashes_names_both_places() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    bench.write("manifests/a.yaml", asset("https://cdn.example.com/a"));
    bench.write("manifests/b.yaml", asset("https://cdn.example.com/a"));
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged().len(), 1);
    bench.write("manifests/b.yaml", asset("https://cdn.example.com/a").replace("rev:1", "rev:2"));
    bench.run(&["apply"]).exits(2).says("a.yaml:2:").says("b.yaml:2:");
    assert_eq!(cloud.count(), 1);
}

/// Y5: what is no regular file, or not there, is an error and never "no assets".
#[test]
fn y5_missing_empty_and_special_files_are_errors() {
    let bench = Bench::new();
    bench.run(&["apply"]).exits(2).says("manifests").says("freshen scan FOLDER");
    bench.run(&["check", "nowhere.yaml"]).exits(2).says("nowhere.yaml");
    std::fs::create_dir_all(bench.path("manifests/folder.yaml")).expect("made");
    bench.run(&["apply"]).exits(2);
    bench.run(&["check", "/dev/zero"]).exits(2).says("/dev/zero");
    let pipe = bench.path("pipe.yaml");
    make_pipe(&pipe);
    bench.run(&["check", "pipe.yaml"]).exits(2).says("pipe.yaml");
    assert!(bench.read(STATE).is_none());
}

/// Y2: what editors and other systems do to a text file changes nothing.
#[test]
fn y2_bom_and_crlf_are_fine() {
    let cloud = Cloud::of("tencent-cdn");
    let bench = Bench::at("tencent-cdn", &cloud);
    let text = format!("\u{feff}{}", asset("https://cdn.example.com/a")).replace('\n', "\r\n");
    bench.write("manifests/a.yaml", text);
    bench.run(&["apply"]).exits(0);
    assert_eq!(cloud.purged(), ["https://cdn.example.com/a"]);
}

/// A variable that is not set selects nothing by mistake, and not everything either.
#[test]
fn an_empty_argument_is_an_error_that_asks_for_the_variable() {
    let cloud = Cloud::of("http-purge");
    let bench = Bench::at("http-purge", &cloud);
    bench.assets(&["http://cdn.example.com/a".to_owned()], "1");
    for arguments in [
        &["apply", "--only", ""][..],
        &["apply", "--only="],
        &["apply", "--force", ""],
        &["apply", "--provider", ""],
        &["apply", "--expect", ""],
        &["plan", "--only", ""],
        &["adopt", "--only", ""],
        &["adopt", "--provider", ""],
        &["verify", "--only", ""],
        &["verify", "--provider", ""],
        &["state", "forget", "*", "--provider", ""],
        &["explain", ""],
        &["status", ""],
    ] {
        let told = bench.run(arguments).exits(2).stderr;
        assert!(told.contains("empty; is a variable not set?"), "{arguments:?}: {told}");
    }
    assert!(bench.read(STATE).is_none() && cloud.requests().is_empty());
}
