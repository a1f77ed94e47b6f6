//! Simple lists are read line by line; what comes of them is what YAML makes of them.

use freshen::core::model::{Entry, Location};
use freshen::manifest::{Built, Pieces, SourceFile, build};
use proptest::prelude::*;

const PROVIDERS: &str = "providers:\n  a: {kind: tencent-cdn, hosts: [a.cn]}\n  b: {kind: http-purge, endpoints: ['http://127.0.0.1:9'], hosts: [a.cn]}\n";

/// A file that comes in pieces of a few bytes.
struct Few(Vec<u8>, usize);

impl Pieces for Few {
    fn each(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), String> {
        self.0.chunks(self.1).all(visit);
        Ok(())
    }
}

fn outcome(built: Built) -> (Option<Vec<Entry>>, Vec<String>) {
    let told = built.diagnostics.iter().map(|found| format!("{found:?}")).collect();
    (built.model.map(|model| model.entries.iter().collect()), told)
}

/// What comes of a manifest beside the providers.
fn by_lines(text: &str, piece: usize) -> (Option<Vec<Entry>>, Vec<String>) {
    let pieces = SourceFile::in_pieces("site.yaml", Box::new(Few(text.as_bytes().to_vec(), piece)));
    outcome(build(&[pieces, SourceFile::whole("providers.yaml", PROVIDERS)]))
}

/// The same, read as YAML: a list in another style is none of the simple ones.
fn by_yaml(text: &str) -> (Option<Vec<Entry>>, Vec<String>) {
    let other = text.replacen("assets:\n", "assets: \n", 1);
    assert_ne!(text, other);
    outcome(build(&[SourceFile::whole("site.yaml", other), SourceFile::whole("providers.yaml", PROVIDERS)]))
}

/// Offsets in the other text are one byte further; nothing else differs.
fn assert_same(text: &str, piece: usize) {
    let (mut lines, mut yaml) = (by_lines(text, piece), by_yaml(text));
    for told in lines.1.iter_mut().chain(&mut yaml.1) {
        *told = without_offsets(told);
    }
    assert_eq!(lines, yaml, "{text:?}");
}

fn without_offsets(told: &str) -> String {
    let mut out = String::new();
    let mut rest = told;
    while let Some(at) = rest.find("start: ") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[rest.find("line: ").unwrap_or(rest.len())..];
    }
    out + rest
}

fn list(items: &str) -> String {
    format!("base_url: https://a.cn/x\nassets:\n{items}")
}

#[test]
fn each_form_is_read_as_yaml_reads_it() {
    let digest = "blake3:".to_owned() + &"0a".repeat(32);
    for items in [
        format!("  a.html: {digest}\n  b/c.html: {digest}"),
        format!("  a.html: {digest}\r\n\r\n  # b\r\n  \u{4e2d}.html: etag:1\r\n"),
        format!("- path: a\n  hash: {digest}\n  size: 12\n\n- hash: rev:1\n  url: https://a.cn/b?c\n"),
        format!("  - path: a\n    hash: {digest}\n  # so\n  - path: a\n    hash: {digest}\n"),
        format!("  b: {digest}\n  a: {digest}\n  https://a.cn/x/c: rev:1\n"),
        // Each of these has something to be said about it, or is none of the simple forms.
        format!("  a: {digest}\n  a: {digest}\n"),
        format!("  b: {digest}\n  a: {digest}\n  b: rev:1\n"),
        format!("- path: a\n  hash: {digest}\n- path: a\n  hash: rev:1\n"),
        format!("- url: a/b.html\n  hash: {digest}\n"),
        format!("  a: {digest}\non_new: adopt\n"),
        format!("  a: {digest}\n b: {digest}\n"),
        format!("  a: {digest}\n   b: {digest}\n"),
        format!("  a: {digest}0\n  ../b: rev:1\n  c/./d: rev:1\n  https:/e: rev:1\n  f: rev\n"),
        format!("  a : {digest}\n"),
        "  a: null\n  b: ~\n  c:\n".to_owned(),
        "  a: rev:1 # b\n  c: 'rev:1'\n  d: {hash: rev:1}\n".to_owned(),
        "- path: null\n  hash: rev:1\n- path: a\n- hash: rev:1\n- path: b\n  path: c\n  hash: rev:1\n".to_owned(),
        "- path: a\n  hash: rev:1\n  size: 007\n- path: b\n  hash: rev:1\n  priority: high\n".to_owned(),
        String::new(),
        "# nothing\n".to_owned(),
    ] {
        for piece in [1, 7, 100_000] {
            assert_same(&list(&items), piece);
        }
    }
    assert_same(&format!("assets:\n  a: {digest}\n"), 9);
    assert_same(&format!("unknown: 1\nassets:\n  a: {digest}\n"), 9);
    assert_same(&format!("base_url: [https://a.cn, https://b.cn]\nassets:\n  a: {digest}\n"), 9);
    assert_same(&format!("base_url: https://a.cn\nprovider: [a, b]\nassets:\n  a: {digest}\n"), 9);
}

#[test]
fn places_are_those_of_the_lines() {
    let (entries, told) = by_lines(&list("  # first\n  a: rev:1\n  b: rev:2\n"), 5);
    let places: Vec<Location> = entries.expect("valid").iter().map(|entry| entry.place).collect();
    assert!(told.is_empty());
    assert_eq!(places[0], Location { manifest: 0, line: 4, column: 3 });
    assert_eq!(places[1], Location { manifest: 0, line: 5, column: 3 });
}

#[test]
fn y5_a_file_that_cannot_be_read_again_is_an_error() {
    struct Gone;
    impl Pieces for Gone {
        fn each(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), String> {
            visit(b"assets:\n  a: rev:1\n");
            Err("changed while it was read".into())
        }
    }
    let built = build(&[SourceFile::in_pieces("site.yaml", Box::new(Gone))]);
    assert!(built.model.is_none());
    assert_eq!(built.diagnostics[0].message, "the file changed while it was read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn lines_of_any_kind_are_read_as_yaml_reads_them(
        lines in prop::collection::vec(("( {0,3})(- )?", "(path|url|hash|size|a/[b-d]|[a-c./~?!&*%@0-9:#-]{1,4}|\u{4e2d}|https://a.cn/[a-c]|null)", "(: ?| : |:)", "(rev:[a-c]|md5:[0-9a-f]{32}|md5:[0-9A-F]{32}|sha256-[a-c=]{1,3}|etag:\"x\"|[0-9a-f:~-]{0,5}|'rev:1'|null|a/[b-d])", "( #x| |\r)?"), 0..7),
        piece in 1..20_usize,
    ) {
        let line = |(indent, key, colon, value, end)| format!("{indent}{key}{colon}{value}{end}\n");
        let text = lines.into_iter().map(line).collect::<Vec<String>>().concat();
        assert_same(&list(&text), piece);
    }
}
