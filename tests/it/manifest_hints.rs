//! Mistakes of YAML that newcomers make: each is answered with what to write.

use crate::support::cli::Bench;

const OWN: &str =
    "providers:\n  own:\n    kind: http-purge\n    hosts: [a.cn]\n    endpoints: [http://127.0.0.1:6081]\n";
const ASSETS: &str = "assets:\n  https://a.cn/x: rev:1\n";

/// Checks that the manifest is refused with one error, and what that says and offers.
#[track_caller]
fn assert_hint(manifest: &str, error: &str, help: &str) {
    let bench = Bench::new().file("manifests/site.yaml", manifest).file("public/index.html", "x");
    let problems = bench.run(&["check", "--format", "json"]).exits(2).json()["problems"].clone();
    let all = problems.as_array().expect("a list");
    assert_eq!(all.len(), 1, "{manifest}\n{problems:#}");
    let text = |key: &str| all[0][key].as_str().unwrap_or_default().to_owned();
    assert!(text("message").contains(error), "`{error}` is not in `{}`\n{manifest}", text("message"));
    assert!(text("help").contains(help), "`{help}` is not in `{}`\n{manifest}", text("help"));
}

fn limits(limits: &str) -> String {
    format!("{OWN}    limits:\n      {limits}\n{ASSETS}")
}

fn kind(kind: &str) -> String {
    OWN.replace("http-purge", kind) + ASSETS
}

#[test]
fn one_endpoint_needs_no_list() {
    let bench = Bench::new().file("manifests/a.yaml", OWN.replace(['[', ']'], "").replace("a.cn", "[a.cn]") + ASSETS);
    bench.run(&["check"]).exits(0);
    let plan = bench.run(&["plan", "--format", "json"]).exits(0).json();
    assert_eq!(plan["jobs"][0]["endpoints"], serde_json::json!(["http://127.0.0.1:6081"]));
}

/// A mistake is called by the key that has it.
#[test]
fn what_is_no_endpoint_is_named_by_its_key() {
    for written in ["endpoints: varnish", "endpoints: [varnish]", "endpoint: varnish"] {
        let key = written.split(':').next().expect("a key");
        let own = OWN.replace("endpoints: [http://127.0.0.1:6081]", written);
        assert_hint(&(own + ASSETS), &format!("`{key}`: not a whole URL"), "write the whole URL");
    }
}

#[test]
fn caches_of_ones_own_are_of_one_kind() {
    for name in ["varnish", "Varnish", "nginx", "squid", "traffic-server", "TrafficServer", "ats"] {
        assert_hint(&kind(name), "is not a kind of provider", "write `http-purge`: ");
    }
    assert_hint(&kind("cloudfront"), "is not a kind of provider", "known kinds: `tencent-cdn`");
    assert_hint(&kind("tencent"), "is not a kind of provider", "did you mean `tencent-cdn`?");
}

#[test]
fn numbers_are_digits_alone() {
    for (written, meant) in [
        ("10k", "`10000`"),
        ("\"10k\"", ", without quotes: `10000`"),
        ("\"10\"", ", without quotes: `10`"),
        ("1_000", "`1000`"),
        ("10,000", "`10000`"),
        ("10 000", "`10000`"),
        ("1e5", "`100000`"),
        ("0123", "`123`"),
        ("10.0", "`10`"),
    ] {
        assert_hint(&limits(&format!("urls_per_day: {written}")), "must be a whole number", meant);
    }
    assert_hint(&limits("calls_per_second: 10/s"), "must be a whole number", "write its digits alone: `10`");
    assert_hint(&limits("urls_per_day: none"), "must be a whole number", "Most targets a quota day.");
    for (written, meant) in [("30", "write `30%`"), ("0.3", "write `30%`"), ("\"30 %\"", "write `30%`")] {
        assert_hint(&format!("guard: {{max_share: {written}}}\n{OWN}{ASSETS}"), "must be a share", meant);
    }
    let removed = |written: &str| format!("guard: {{max_removed: {written}}}\n{OWN}{ASSETS}");
    assert_hint(&removed("\"30\""), "must be a whole number or a share", ", without quotes: `30`");
    assert_hint(&removed("\"30 %\""), "must be a whole number or a share", "write `30%`");
    for (written, meant) in
        [("\"true\"", "`true`, without quotes"), ("on", "`true`"), ("'off'", "`false`, without quotes")]
    {
        assert_hint(&format!("{OWN}    ignore_query: {written}\n{ASSETS}"), "must be `true` or `false`", meant);
    }
}

#[test]
fn indentation_is_explained() {
    let blanks = "YAML is indented with blanks only";
    assert_hint("providers:\n\town:\n\t\tkind: http-purge\n", "line 2 is indented with a tab", blanks);
    assert_hint(
        &format!("{OWN}assets:\n  https://a.cn/x:\n  \thash: rev:1\n"),
        "line 8 is indented with a tab",
        blanks,
    );
    let value = "assets: {}\nproviders:\n  own:\n    kind: http-purge\n";
    assert_hint(&format!("{value}\thosts: [a.cn]\n"), "line 5 is indented with a tab", blanks);
    assert_hint(&format!("{value}    \thosts: [a.cn]\n"), "line 5 is indented with a tab", blanks);
    let alike = "it stands further in than the key above, which has a value: indent both alike";
    assert_hint(&format!("{value}     hosts: [a.cn]\n"), "not valid YAML", alike);
    assert_hint(&format!("{OWN}{ASSETS}   https://a.cn/y: rev:1\n"), "not valid YAML", alike);
    let no_line = "indent it as the keys that it belongs to: no line above stands as far in";
    assert_hint(&format!("{OWN}{ASSETS} https://a.cn/y: rev:1\n"), "not valid YAML", no_line);
    assert_hint(&format!("{OWN} {ASSETS}"), "not valid YAML", no_line);
    let flat = format!("{ASSETS}providers:\n  own:\n  kind: http-purge\n");
    let bench = Bench::new().file("manifests/site.yaml", flat);
    let ran = bench.run(&["check"]).exits(2).says("indent its keys further than its name");
    ran.says("`kind` is a key of a provider: indent it further than the provider's name");
}

#[test]
fn a_key_in_the_wrong_place_is_sent_to_the_right_one() {
    let place = |manifest: &str, key: &str, place: &str| {
        assert_hint(manifest, &format!("has no key `{key}`"), &format!("`{key}` belongs to {place}"));
    };
    place(&format!("{OWN}    urls_per_day: 5\n{ASSETS}"), "urls_per_day", "`limits`");
    place(&format!("{OWN}base_url: https://a.cn\n{ASSETS}directory: ../public\n"), "directory", "an item of `sources`");
    place(&format!("{OWN}{ASSETS}hosts: [a.cn]\n"), "hosts", "a provider below `providers`");
    place(&format!("{OWN}    on_removed: purge\n{ASSETS}"), "on_removed", "the top of the manifest");
    let named = OWN.replace("providers", "provider");
    assert_hint(&format!("{named}{ASSETS}"), "`provider` must be a text", "did you mean `providers`?");
    assert_hint(&format!("providers: own\n{ASSETS}"), "`providers` must be a map of names", "did you mean `provider`?");
    let listed = format!("{ASSETS}providers:\n- name: own\n  kind: http-purge\n");
    assert_hint(&listed, "`providers` must be a map of names", "write a name in place of each `-`");
}

#[test]
fn lists_of_assets_and_sources_are_explained() {
    let assets = |list: &str| format!("{OWN}base_url: https://a.cn\nassets:\n{list}\n");
    assert_hint(&assets("- https://a.cn/x"), "an asset must be a map", "`sources` finds files and hashes them");
    assert_hint(&assets("- index.html: rev:1"), "the short form in a list", "leave the `-` out");
    assert_hint(&assets("  x:rev:1"), "`assets` must be a map", "write a blank behind the `:`");
    assert_hint(&assets("  x: rev: 0123"), "not valid YAML", "a hash such as `rev:1` has no blank in it");
    let sources = |text: &str| format!("{OWN}base_url: https://a.cn\nsources:{text}\n");
    assert_hint(&sources(" ../public"), "`sources` must be a list", "write a list of maps");
    assert_hint(&sources("\n  directory: ../public"), "`sources` must be a list", "write `- ` before the first key");
    let index = format!("{OWN}base_url: https://a.cn\nassets: {{}}\nindex: true\n");
    assert_hint(&index, "`true`", "write the name of a file, without a folder: `index.html`");
    let command = OWN
        .replace("http-purge", "tencent-cdn")
        .replace("endpoints: [http://127.0.0.1:6081]", "credentials: {command: get-keys}");
    assert_hint(
        &format!("{command}{ASSETS}"),
        "`command` must be a list",
        "write a list: `command: [program, argument]`",
    );
    assert_hint(&sources("\n- ../public"), "a source must be a map", "write `- directory: PATH`");
}

#[test]
fn what_is_no_hash_may_be_one_with_a_word_before_it() {
    let hash = |text: &str| format!("{OWN}assets:\n  https://a.cn/x: {text}\n");
    for own in ["2026-11-30", "12345", "1e5", "0123", "v1.2.3"] {
        assert_hint(&hash(own), "is not a hash", &format!("a version or date of your own is `rev:{own}`"));
    }
    let digits = |number: usize| "1".repeat(number);
    assert_hint(&hash(&digits(64)), "is not a hash", "`blake3:` or `sha256:` or `rev:`");
    assert_hint(&hash(&digits(40)), "is not a hash", "`sha1:` or `rev:`");
}

/// A directory beside the working directory, where the manifest lies in a folder of its own.
#[test]
fn a_path_that_is_seen_from_the_wrong_folder_is_put_right() {
    let source = |source: &str| format!("{OWN}base_url: https://a.cn\nsources:\n- {source}\n");
    let beside =
        "paths are relative to the manifest's own folder: for `public` beside the working directory write `../public`";
    for written in ["public", "./public", "public/"] {
        assert_hint(&source(&format!("directory: {written}")), "manifests/public: does not exist", beside);
    }
    let list = "for `public/index.html` beside the working directory write `../public/index.html`";
    assert_hint(&source("checksums: public/index.html"), "manifests/public/index.html: cannot be read", list);
    assert_hint(
        &source("directory: ..\\public"),
        "does not exist",
        "write `/` between folders, also on Windows: `../public`",
    );
    assert_hint(
        &source("directory: \"..\\public\""),
        "not valid YAML",
        "a backslash in double quotes begins an escape",
    );
    assert_hint(&source("directory: nowhere"), "manifests/nowhere: does not exist", "");
    let bench =
        Bench::new().file("manifests/a/b/site.yaml", source("directory: public")).file("public/index.html", "x");
    bench.run(&["check"]).exits(2).says("write `../../../public`");
    bench.write("manifests/a/b/site.yaml", source("directory: ../../../public"));
    bench.run(&["check"]).exits(0);
}
