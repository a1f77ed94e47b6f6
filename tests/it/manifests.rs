//! Manifests as files on a disk would hold them: what is accepted, and what every fault is answered with.

use freshen::cli::diagnostics::{render, to_json};
use freshen::core::model::{CredentialSource, Matched, Model, OnNew, OnRemoved, Priority};
use freshen::core::target::Scope;
use freshen::manifest::{
    BuildOptions, Built, MAX_TARGETS, NoSources, Problem, Severity, SourceFile, build, build_partly, schema,
};
use serde_json::json;

const PROVIDERS: &str = "providers:
  cdn: {kind: tencent-cdn, hosts: [a.cn, '*.b.cn']}
  vod: {kind: tencent-vod, hosts: [vod.cn]}
";

fn sha(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn files(texts: &[&str]) -> Vec<SourceFile> {
    let path = |index: usize| format!("m/{}.yaml", char::from(b'a' + u8::try_from(index).expect("few files")));
    let file = |(index, text): (usize, &&str)| SourceFile::whole(path(index), *text);
    texts.iter().enumerate().map(file).collect()
}

fn built(texts: &[&str]) -> Built {
    build(&files(texts))
}

fn model(texts: &[&str]) -> Model {
    let built = built(texts);
    let shown = render(&files(texts), &built.diagnostics, &built.hidden, false);
    built.model.unwrap_or_else(|| panic!("{shown}"))
}

/// Errors and warnings as `file:line:column message`, without their kind.
fn problems(texts: &[&str]) -> Vec<String> {
    let built = built(texts);
    assert_eq!(built.model.is_none(), built.diagnostics.iter().any(|found| found.severity == Severity::Error));
    let place = |span: freshen::manifest::Span| format!("{}:{}", span.line, span.column);
    let told = |found: &freshen::manifest::Diagnostic| {
        format!(
            "{}:{} {}",
            char::from(b'a' + u8::try_from(found.file).expect("few files")),
            found.span.map_or("-".into(), place),
            found.message
        )
    };
    built.diagnostics.iter().map(told).collect()
}

/// Checks that a manifest beside another one has one problem, at the place that `§` marks.
fn assert_problem_beside(others: &str, marked: &str, message: &str) {
    let (before, after) = marked.split_once('§').expect("a marked place");
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let text = format!("{before}{after}");
    let expected = format!("a:{}:{column} {message}", before.matches('\n').count() + 1);
    let found = problems(&[&text, others]);
    assert_eq!(found, [expected], "{text:?}");
}

fn assert_problem(marked: &str, message: &str) {
    assert_problem_beside(PROVIDERS, marked, message);
}

fn assert_problem_alone(marked: &str, message: &str) {
    assert_problem_beside("assets: {}", marked, message);
}

/// Patterns say which paths go first, in every form of the list; an asset's own word wins.
#[test]
fn priorities_by_pattern_hold_for_every_form_of_the_list() {
    let hash = sha('1');
    let head = "base_url: https://a.cn/\npriority: {high: [index.html, '*/index.html'], low: ['*.map', old/*]}\n";
    for assets in [
        format!("assets:\n  a/b/index.html: {hash}\n  index.html: {hash}\n  x.js: {hash}\n  x.map: {hash}\n"),
        format!("assets: {{a/b/index.html: {hash}, index.html: {hash}, x.js: {hash}, x.map: {hash}}}\n"),
        format!(
            "assets:\n- path: a/b/index.html\n  hash: {hash}\n- path: index.html\n  hash: {hash}\n- path: x.js\n  hash: {hash}\n- path: x.map\n  hash: {hash}\n"
        ),
    ] {
        let model = model(&[&format!("{head}{assets}"), PROVIDERS]);
        let found: Vec<Priority> = model.entries.iter().map(|entry| entry.priority).collect();
        assert_eq!(found, [Priority::High, Priority::High, Priority::Normal, Priority::Low], "{assets}");
    }
    let own = format!("{head}assets: {{index.html: {{hash: '{hash}', priority: low}}, old/index.html: '{hash}'}}\n");
    let found: Vec<Priority> = model(&[&own, PROVIDERS]).entries.iter().map(|entry| entry.priority).collect();
    assert_eq!(found, [Priority::Low, Priority::High]);
    assert_problem("priority: {high: [§'a[']}\nassets: {}", "`a[` in `priority` matches no asset");
    assert_problem("priority: {§first: [a]}\nassets: {}", "`priority` has no key `first`");
    assert_problem("priority: §high\nassets: {}", "`priority` must be a map, found `high`");
}

#[test]
fn the_short_form_is_all_a_small_site_needs() {
    let site = format!(
        "base_url: https://a.cn/\nassets:\n  index.html: {}\n  js/app.js: sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\n  logo.png: {{hash: \"{}\", priority: high}}\n  https://x.b.cn/y: etag:\"5d\"\n",
        sha('1'),
        sha('A'),
    );
    let model = model(&[&site, PROVIDERS]);
    let entries: Vec<_> = model.entries.iter().collect();
    let listed: Vec<(&str, &str, Priority)> =
        entries.iter().map(|entry| (entry.target.text.as_str(), entry.hash.as_str(), entry.priority)).collect();
    let (one, upper) = (sha('1'), sha('a'));
    assert_eq!(
        listed,
        [
            ("https://a.cn/index.html", one.as_str(), Priority::Normal),
            (
                "https://a.cn/js/app.js",
                "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                Priority::Normal
            ),
            ("https://a.cn/logo.png", upper.as_str(), Priority::High),
            ("https://x.b.cn/y", "etag:\"5d\"", Priority::Normal),
        ]
    );
    assert_eq!((model.entries.get(0).place.line, model.entries.get(0).place.column), (3, 3));
    assert!(model.entries.iter().all(|entry| entry.matched == Matched::Host && entry.manifests == [0]));
    assert_eq!(model.providers[0].name, "cdn");
    assert_eq!(model.providers[0].endpoints[0].to_string(), "https://cdn.tencentcloudapi.com");
}

#[test]
fn the_list_form_names_providers_and_further_urls() {
    let site = format!(
        "name: media\non_new: adopt\non_removed: forget\nprovider: [vod]\nassets:\n- {{url: https://vod.cn/a, hash: {one}, extra_urls: [https://vod.cn/b]}}\n- {{url: https://a.cn/c, hash: {one}, provider: cdn, size: 12}}\n",
        one = sha('1')
    );
    let model = model(&[&site, PROVIDERS]);
    let entries: Vec<_> = model.entries.iter().collect();
    let listed: Vec<(&str, Matched)> =
        entries.iter().map(|entry| (entry.target.text.as_str(), entry.matched)).collect();
    assert_eq!(
        listed,
        [
            ("https://a.cn/c", Matched::AssetProvider),
            ("https://vod.cn/a", Matched::ManifestProvider),
            ("https://vod.cn/b", Matched::ManifestProvider)
        ]
    );
    let manifest = &model.manifests[0];
    assert_eq!(
        (manifest.name.as_str(), manifest.on_new, manifest.on_removed),
        ("media", OnNew::Adopt, OnRemoved::Forget)
    );
    assert_eq!(model.manifests[1].name, "m/b.yaml");
}

// R5
#[test]
fn the_same_target_twice_is_one_entry_or_an_error_with_both_places() {
    let one = format!("assets:\n  https://a.cn/x: {{hash: {}, priority: low}}\n", sha('1'));
    let same = format!("assets:\n  https://a.cn/x: {}\n", sha('1'));
    let merged = model(&[&one, &same, PROVIDERS]);
    assert_eq!(merged.entries.len(), 1);
    assert_eq!(
        (merged.entries.get(0).priority, merged.entries.get(0).manifests.as_slice()),
        (Priority::Normal, [0, 1].as_slice())
    );
    let other = format!("assets:\n  https://a.cn/x: {}\n", sha('2'));
    let found = built(&[&one, &other, PROVIDERS]);
    assert_eq!(found.diagnostics.len(), 1);
    assert_eq!(
        found.diagnostics[0].message,
        "`https://a.cn/x` is listed twice for provider `cdn`, with different hashes"
    );
    assert_eq!((found.diagnostics[0].file, found.diagnostics[0].related[0].0), (1, 0));
}

#[test]
fn queries_play_no_part_where_the_provider_says_so() {
    let providers = "providers:\n  cdn: {kind: tencent-cdn, hosts: [a.cn], ignore_query: true}\n";
    let with =
        |second: char| format!("assets:\n  https://a.cn/x?1: {}\n  https://a.cn/x?2: {}\n", sha('1'), sha(second));
    let merged = model(&[&with('1'), providers]);
    assert_eq!(merged.entries.len(), 1);
    assert_eq!(merged.entries.get(0).target.text, "https://a.cn/x");
    let found = built(&[&with('2'), providers]);
    assert!(found.diagnostics[0].help.as_deref().is_some_and(|help| help.contains("without its query")));
}

// Y2
#[test]
fn yaml_that_could_be_misread_is_an_error_with_its_place() {
    for (marked, message) in [
        ("§", "the manifest is empty"),
        ("§# nothing\n", "the manifest is empty"),
        ("§{}", "neither `assets`, `sources` nor `providers` in this manifest"),
        ("§base_url: https://a.cn/\n", "neither `assets`, `sources` nor `providers` in this manifest"),
        ("§- a\n", "a manifest must be a map, found a list"),
        ("assets: {}\n§assets: {}\n", "key `assets` is given twice"),
        ("assets: {}\n§---\nassets: {}\n", "a second YAML document begins here"),
        ("assets: §!foo {}\n", "tags are not supported"),
        ("assets: {}\nversion: §!!int 1\n", "tags are not supported"),
        ("assets: {§<<: {}}\n", "merge keys are not supported"),
        ("assets: {? §[a] : b}\n", "a key must be a text"),
        ("assets:\n\t§https://a.cn/: x\n", "line 2 is indented with a tab"),
        ("assets: {}§\u{0}\n", "control character U+0000 in the file"),
        ("assets: {} # §\u{1b}[31m\n", "control character U+001B in the file"),
        ("assets: {}\n§\u{feff}name: a\n", "control character U+FEFF in the file"),
        ("assets: §[\n", "not valid YAML: unclosed bracket '['"),
        ("assets§:\n", "`assets` must be a map of paths or URLs with their hashes, or a list of maps, found nothing"),
        ("assets: §x\n", "`assets` must be a map of paths or URLs with their hashes, or a list of maps, found `x`"),
        ("§asets: {}\nassets: {}\n", "a manifest has no key `asets`"),
        ("assets: {}\nversion: §2\n", "version 2 of the format is not known"),
        ("assets: {}\nversion: §\"1\"\n", "`version` must be a whole number, at least 1, found the text \"1\""),
        ("assets: {}\nname: §\"\"\n", "`name` is empty"),
        (
            "assets: {}\nname: §../shop\n",
            "`name` is none of a manifest: it leads out of a tree, or is no whole path (`.` or `..`)",
        ),
        ("assets: {}\nname: §' '\n", "`name` is blank"),
        ("assets: {}\nindex: §' '\n", "a blank text in `index`"),
        ("providers: {a: {kind: tencent-cdn, account: §'  '}}\n", "`account` is blank"),
        ("providers: {a: {kind: tencent-cdn, credentials: {file: §' '}}}\n", "`file` is blank"),
        ("providers: {a: {kind: tencent-cdn, credentials: {command: [get, §' ']}}}\n", "a blank text in `command`"),
        ("assets: {}\nbase_url: [§'']\n", "an empty text in `base_url`"),
        ("assets: {}\non_new: §purg\n", "`on_new` must be one of `purge`, `adopt`, found `purg`"),
        ("assets: {}\n§settle: 5s\n", "a manifest has no key `settle`"),
        ("assets: {}\nguard: §{}\n", "`guard` sets no limit"),
        ("assets: {}\nguard: {§max_purge: 1}\n", "`guard` has no key `max_purge`"),
        ("assets: {}\nguard: {max_purges: §30%}\n", "`max_purges` must be a whole number, found `30%`"),
        ("assets: {}\nguard: {max_share: §30}\n", "`max_share` must be a share from 0% to 100%, found `30`"),
        (
            "assets: {}\nguard: {max_removed: §101%}\n",
            "`max_removed` must be a whole number or a share from 0% to 100%, found `101%`",
        ),
        ("assets: {}\nname: §\"a\\nb\"\n", "control character U+000A in `name`"),
        ("assets: {}\nname: §*x\n", "not valid YAML: while parsing node, found unknown anchor"),
    ] {
        assert_problem(marked, message);
    }
    let invalid = build(&[SourceFile::whole("x", *b"assets:\n  a\xff: b")]);
    let span = invalid.diagnostics[0].span.expect("has a place");
    assert_eq!((span.line, span.column, invalid.diagnostics[0].message.as_str()), (2, 4, "byte 0xff is not UTF-8"));
}

// Y2, Y5
#[test]
fn a_byte_order_mark_and_carriage_returns_are_fine_and_an_empty_list_is_one() {
    let site = format!("\u{feff}assets:\r\n  https://a.cn/x: {}\r\n", sha('1'));
    assert_eq!(model(&[&site, PROVIDERS]).entries.get(0).place.line, 2);
    assert!(model(&["assets: {}", PROVIDERS]).entries.is_empty() && model(&["assets: []"]).entries.is_empty());
    assert_eq!(
        model(&["{\"assets\": {\"https://a.cn/\\u0078\": \"etag:1\"}}", PROVIDERS]).entries.get(0).target.text,
        "https://a.cn/x"
    );
}

// Y1
#[test]
fn hostile_yaml_is_refused() {
    let bomb: String = std::iter::once("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned())
        .chain((1..10).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))))
        .collect();
    let deep = format!("assets: {}", "[".repeat(100_000));
    let block = (0..100).fold(String::new(), |text, depth| format!("{text}{}a:\n", " ".repeat(depth)));
    let scalar = format!("assets: {{x: {}}}", "x".repeat(8 << 20));
    let dense = format!("assets: [{}]", "a,".repeat(400_000));
    for (text, expected) in [
        (bomb.as_str(), "anchors and aliases stand for more than 10000 values"),
        (&deep, "nested deeper than 32 levels"),
        (&block, "nested deeper than 32 levels"),
        (&scalar, "a text of 8388608 bytes, more than 65536"),
        (&dense, "too many values for a file of its size"),
        ("assets: &a [*a]", "this alias stands inside its own anchor"),
    ] {
        let found = problems(&[text]);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
    let keys = (0..200_000).fold(String::from("assets:\n"), |text, n| text + "  k" + &n.to_string() + ": v\n");
    let found = problems(&[&keys]);
    assert_eq!(found.len(), 101);
    assert_eq!(found[..2], ["a:2:3 path `k0`, but the manifest has no `base_url`", "a:2:7 `v` is not a hash"]);
    assert_eq!(found[100], "a:- 199901 more errors in this file not shown");
}

// Y2, Y3: YAML has many ways to write nothing.
#[test]
fn what_is_absent_is_never_a_text() {
    let keys = [
        "assets:\n  §: rev:1\n",
        "assets: {§: rev:1}\n",
        "assets: {? §: rev:1}\n",
        "assets:\n  ?§\n  : rev:1\n",
        "assets:\n  §~: rev:1\n",
        "assets:\n  §null: rev:1\n",
        "assets:\n  a: rev:1\n  §: rev:2\n",
        "assets: {a: {hash: rev:1, §: x}}\n",
        "assets: {}\nguard: {§: 1}\n",
        "assets: {}\nproviders: {§: {kind: x}}\n",
        "assets: {}\n§: x\n",
    ];
    for marked in keys {
        let (before, after) = marked.split_once('§').expect("a marked place");
        let found = problems(&[&format!("base_url: https://a.cn/\n{before}{after}"), PROVIDERS]);
        assert!(found.iter().any(|told| told.ends_with(" a key that is empty")), "{marked:?}: {found:?}");
    }
    for text in [
        "assets: {a: &x , b: *x}",
        "assets: {a: !!str }",
        "assets: [{path: , hash: rev:1}]",
        "assets: [{path: &x , hash: rev:1}]",
        "assets: [{path: !!str , hash: rev:1}]",
        "assets: {&x : rev:1}",
        "assets: {!!str : rev:1}",
        "assets: {'': rev:1}",
        "assets: {? '' : rev:1}",
        "assets:\n  ? |\n  : rev:1\n",
        "assets:\n  ? >-\n  : rev:1\n",
        "assets: {}\nname:\n",
        "assets: {}\nindex: [a, ]\nprovider: [cdn, ~]\n",
        "assets: {}\nprovider:\n-\n",
        "sources: [{directory: }]",
        "sources: [{checksums: ~}]",
    ] {
        assert!(built(&[&format!("{text}\nbase_url: https://a.cn/\n"), PROVIDERS]).model.is_none(), "{text}");
    }
    let quoted = format!("base_url: https://a.cn/\nassets: {{'~': {0}, \"null\": {0}}}\n", sha('1'));
    assert_eq!(model(&[&quoted, PROVIDERS]).entries.len(), 2, "in quotes it is a text");
}

// Y3, Y4
#[test]
fn hashes_are_taken_as_written_or_refused() {
    for bare in ["123", "1e5", "0123", "0x1F", "no", ".inf", "true", "1_000", "2024-01-01"] {
        assert_problem(&format!("assets: {{https://a.cn/x: §{bare}}}"), &format!("`{bare}` is not a hash"));
        assert_eq!(
            model(&[&format!("assets: [{{url: https://a.cn/x, hash: rev:{bare}}}]"), PROVIDERS])
                .entries
                .get(0)
                .hash
                .as_str(),
            format!("rev:{bare}")
        );
    }
    assert_problem("assets: {§https://a.cn/x: {priority: high}}", "an asset needs `hash`");
    assert_problem("assets: {https://a.cn/x§: }", "`https://a.cn/x` needs a hash, found nothing");
    for (value, message) in [
        ("§null", "`https://a.cn/x` needs a hash, found nothing"),
        ("§~", "`https://a.cn/x` needs a hash, found nothing"),
        ("§\"\"", "`` is not a hash"),
        ("§[a]", "`https://a.cn/x` needs a hash, found a list"),
        ("{hash: §null}", "`hash` must be a text, found nothing"),
        ("§\"sha256:ab\\ncd\"", "control character U+000A in the hash"),
    ] {
        assert_problem(&format!("assets: {{https://a.cn/x: {value}}}"), message);
    }
}

// U1, U3, U5, U7
#[test]
fn bad_urls_paths_and_ids_are_errors_with_their_place() {
    let one = sha('1');
    for (asset, message) in [
        ("{url: §\"https://a.cn/x\\ny\", hash: H}", "control character U+000A in `url`"),
        ("{url: §\"https://a.cn/x \", hash: H}", "a URL with blanks at its beginning or end"),
        ("{url: §https://u:canary@a.cn/x, hash: H}", "user name or password in a URL"),
        ("{url: §https://a.cn/x#y, hash: H}", "a URL with a fragment: caches never see what follows `#`"),
        ("{url: §https://A.cn/x, hash: H}", "host `A.cn` has upper-case letters"),
        ("{url: §https://例子.cn/x, hash: H}", "host `例子.cn` is not written in ASCII"),
        ("{url: §https://c.cn/x, hash: H}", "no provider carries host `c.cn`"),
        ("{url: §https://vod.cn/x, hash: H, provider: cdn}", "provider `cdn` does not carry host `vod.cn`"),
        ("{url: https://a.cn/x, hash: H, provider: §cnd}", "provider `cnd` is not configured"),
        ("{url: https://a.cn/x, hash: H, extra_urls: [§/y]}", "not a whole URL"),
        ("{path: §x, hash: H}", "path `x`, but the manifest has no `base_url`"),
        ("{path: §../x, hash: H}", "a path with `..`"),
        ("{path: §/x, hash: H}", "a path that begins with `/`"),
        ("§{hash: H}", "this asset has no name"),
        ("§{url: https://a.cn/x, path: x, hash: H}", "this asset has several names: `path`, `url`"),
        ("{asset_id: §f488, hash: H}", "an asset id without `provider`"),
        ("{asset_id: §f488, hash: H, provider: cdn}", "`cdn` (tencent-cdn) cannot purge by asset id"),
        ("{asset_id: §f4/88, hash: H, provider: cdn}", "not an asset id"),
        ("{url: https://a.cn/x, hash: H, §sice: 1}", "an asset has no key `sice`"),
        ("{url: https://a.cn/x, hash: H, size: §-1}", "`size` must be a whole number, found `-1`"),
        ("§x", "an asset must be a map, found `x`"),
    ] {
        assert_problem(&format!("assets:\n- {}\n", asset.replace('H', &one)), message);
    }
    for nearly in ["http:/a.cn/x", "https:a.cn/x", "HTTPS:/a.cn/x", "https:"] {
        let text = format!("base_url: https://a.cn/\nassets: {{\"x\": etag:1, §\"{nearly}\": etag:1}}\n");
        assert_problem(&text, "a path that begins like a URL: a URL with a slash missing?");
    }
    assert_problem("base_url: §https://u@a.cn/\nassets: {x: etag:1}\n", "user name or password in a URL");
    for (manifest, key) in [
        ("base_url: §[]\nassets: {x: etag:1}\n", "base_url"),
        ("provider: §[]\nassets: {https://a.cn/x: etag:1}\n", "provider"),
        ("assets: [{url: https://a.cn/x, hash: etag:1, extra_urls: §[]}]\n", "extra_urls"),
        ("base_url: https://a.cn\nassets: {}\nindex: §[]\n", "index"),
        ("base_url: https://a.cn\nsources: [{directory: x, include: §[]}]\n", "include"),
        ("base_url: https://a.cn\nsources: [{directory: x, exclude: §[]}]\n", "exclude"),
    ] {
        assert_problem(manifest, &format!("`{key}` is an empty list"));
    }
}

// U4
#[test]
fn unusual_spellings_warn_and_are_sent_as_written() {
    let site =
        "base_url: https://a.cn:443\nassets: {a%62.js: etag:1, https://a.cn/%e4: etag:2, https://a.cn/x: etag:3}\n";
    let found = built(&[site, PROVIDERS]);
    let told: Vec<(u32, &str)> = found
        .diagnostics
        .iter()
        .map(|found| {
            (
                found.span.expect("a place").column,
                found.help.as_deref().and_then(|help| help.rsplit(' ').next()).expect("help"),
            )
        })
        .collect();
    assert_eq!(told, [(11, "`https://a.cn/`"), (10, "`ab.js`"), (27, "`https://a.cn/%E4`")]);
    let texts: Vec<String> =
        found.model.expect("only warnings").entries.iter().map(|entry| entry.target.text).collect();
    assert_eq!(texts, ["https://a.cn/%e4", "https://a.cn/x", "https://a.cn:443/a%62.js"]);
}

// U9
#[test]
fn a_star_is_a_plain_character() {
    let found = built(&["assets: {https://a.cn/*: etag:1}", PROVIDERS]);
    let texts: Vec<String> = found.model.expect("valid").entries.iter().map(|entry| entry.target.text).collect();
    assert_eq!(texts, ["https://a.cn/*"]);
}

// X3, U6, U8, Y6, R22
#[test]
fn faulty_providers_are_errors_with_their_place() {
    for (marked, message) in [
        ("{kind: §tencent-cnd}", "`tencent-cnd` is not a kind of provider"),
        ("{kind: tencent-cdn, §hots: [a.cn]}", "a provider has no key `hots`"),
        ("{kind: tencent-cdn, hosts: [§A.cn]}", "`hosts`: host `A.cn` has upper-case letters"),
        ("{kind: tencent-cdn, hosts: [§'*']}", "`hosts`: `*`: `*` stands only at the beginning, as `*.`"),
        ("{kind: tencent-cdn, area: §moon}", "`area` must be one of `mainland`, `overseas`, found `moon`"),
        ("{kind: tencent-cdn, url_encode: §yes}", "`url_encode` must be `true` or `false`, found `yes`"),
        (
            "{kind: tencent-cdn, limits: {urls_per_day: §0}}",
            "`urls_per_day` must be a whole number, at least 1, found `0`",
        ),
        (
            "{kind: tencent-cdn, limits: {quota_day: §8}}",
            "`quota_day` must be an offset from UTC like `+08:00`, found `8`",
        ),
        (
            "{kind: tencent-cdn, limits: {quota_day: §\"+14:01\"}}",
            "`quota_day` must be an offset from UTC like `+08:00`, found the text \"+14:01\"",
        ),
        ("{kind: tencent-cdn, limits: {§url_per_day: 1}}", "`limits` has no key `url_per_day`"),
        ("{kind: tencent-cdn, endpoint: §http://x.cn}", "`endpoint`: plain http to `x.cn`, another machine"),
        (
            "{kind: tencent-cdn, endpoint: §https://169.254.169.254}",
            "`endpoint`: `169.254.169.254` is a link-local address, where metadata services live",
        ),
        ("{kind: tencent-cdn, endpoint: §http://127.1}", "`endpoint`: `127.1` is an odd spelling of an address"),
        ("{kind: tencent-cdn, endpoint: §'https://${H}'}", "the environment has no variable `H`"),
        ("{kind: tencent-cdn, §endpoints: [https://x.cn]}", "`tencent-cdn` has one endpoint"),
        ("{kind: tencent-cdn, require: §2}", "`require: 2`, but there is 1 endpoint"),
        ("{kind: tencent-cdn, §secret_key: canary}", "`secret_key`: secrets must not stand in a manifest"),
        ("{§SecretId: canary, kind: tencent-vod}", "`SecretId`: secrets must not stand in a manifest"),
        ("{kind: tencent-cdn, credentials: {§password: canary}}", "`password`: secrets must not stand in a manifest"),
        ("{kind: tencent-cdn, credentials: §canary}", "`credentials` must be a map, found `***`"),
        ("{kind: tencent-cdn, credentials: §{}}", "`credentials` needs exactly one source, found 0"),
        (
            "{kind: tencent-cdn, credentials: §{file: a, env_prefix: B_}}",
            "`credentials` needs exactly one source, found 2",
        ),
        ("{kind: tencent-cdn, credentials: {env_prefix: §A-}}", "`env_prefix` cannot begin the name of a variable"),
        ("{kind: tencent-cdn, credentials: {command: §[]}}", "`command` is an empty list"),
        ("{kind: tencent-cdn, hosts: §[]}", "`hosts` is an empty list"),
        ("{kind: http-purge, endpoints: §[]}", "`endpoints` is an empty list"),
        ("§tencent-cdn", "provider `p` must be a map, found `***`"),
    ] {
        let marked = format!("providers:\n  p: {marked}\n");
        let text = marked.replace('§', "");
        assert_problem_alone(&marked, message);
        let all = built(&[&text]);
        let shown = render(&files(&[&text]), &all.diagnostics, &all.hidden, false);
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert_problem_alone("providers: {§p: {hosts: [a.cn]}}", "a provider needs `kind`");
    let twice = "providers: {cdn: {kind: tencent-cdn}}\n";
    assert_eq!(problems(&[twice, twice]), ["b:1:13 provider `cdn` is configured twice"]);
    assert_eq!(problems(&["providers: {C: {kind: tencent-cdn}}\n"]), ["a:1:13 `C` cannot be the name of a provider"]);
    assert_eq!(problems(&["name: x\nassets: {}", "name: x\nassets: {}"]), ["b:1:7 two manifests are called `x`"]);
}

// A missing provider may stand in the file that does not parse; to blame the others would mislead.
#[test]
fn one_broken_file_hides_no_problem_and_invents_none() {
    let site = "assets: {https://a.cn/x: 123, https://a.cn/y: etag:1}\n";
    assert_eq!(
        problems(&[site, "providers: [\n", "asset: {}\n"]),
        [
            "a:1:26 `123` is not a hash",
            "b:1:12 not valid YAML: unclosed bracket '['",
            "c:1:1 neither `assets`, `sources` nor `providers` in this manifest",
        ]
    );
}

// X3
#[test]
fn a_secret_in_a_file_that_does_not_parse_is_not_shown() {
    for text in [
        "providers:\n  p: {secret_key: \"canary\n",
        "secret_key: canary: x\n",
        "a: [https://u:canary@a.cn\n",
        "secret_key: @canary\n",
    ] {
        let found = built(&[text]);
        let shown = render(&files(&[text]), &found.diagnostics, &found.hidden, false);
        assert!(!shown.contains("canary") && shown.contains("not valid YAML"), "{shown}");
    }
}

#[test]
fn problems_are_shown_with_their_line_and_a_caret() {
    let site = format!(
        "base_url: https://a.cn/\nasets: {{}}\nassets:\n  index.html: 123\n  b%61.html: etag:1\n  logo.png: {}\n  https://u:canary@a.cn/: etag:1\n  logo.png: etag:1\n",
        sha('1')
    );
    let texts = [site.as_str(), PROVIDERS];
    let found = built(&texts);
    let shown = render(&files(&texts), &found.diagnostics, &found.hidden, false);
    assert_eq!(shown, include_str!("manifests_shown.txt"), "\n{shown}");
    let json = to_json(&Problem::of(&files(&texts), &found.diagnostics));
    assert_eq!(json[0]["message"], "a manifest has no key `asets`");
    assert_eq!((&json[0]["file"], &json[0]["line"], &json[0]["column"]), (&"m/a.yaml".into(), &2.into(), &1.into()));
}

// X5
#[test]
fn what_is_shown_of_a_file_is_cut_and_cleaned() {
    let long = format!("assets: {{https://a.cn/x: etag:1, {}: \u{202e}123}} ##[add-mask]x\n", "x".repeat(5000));
    let found = built(&[&long, PROVIDERS]);
    let shown = render(&files(&[&long, PROVIDERS]), &found.diagnostics, &found.hidden, false);
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    assert!(!shown.contains('\u{202e}'), "{shown}");
    let text = "guard: {}\nnmae: 1 ##[error]x\n";
    let command = render(&files(&[text]), &built(&[text]).diagnostics, &[], false);
    assert!(command.contains("error]x") && !command.contains("##["), "{command}");
}

#[test]
fn ten_thousand_assets_are_listed_in_order() {
    let list = (0..10_000).fold(String::from("base_url: [https://a.cn, https://x.b.cn]\nassets:\n"), |text, n| {
        text + &format!("  p/{}.html: etag:{n}\n", 10_000 - n)
    });
    let entries: Vec<_> = model(&[&list, PROVIDERS]).entries.iter().collect();
    assert_eq!(entries.len(), 20_000);
    assert!(entries.windows(2).all(|pair| (pair[0].provider, &pair[0].target) < (pair[1].provider, &pair[1].target)));
}

/// What is multiplied is counted before it is made, whatever multiplies it.
#[test]
fn more_targets_than_somebody_wrote_need_a_word() {
    let bases = |count: usize| (0..count).map(|n| format!("https://b{n}.b.cn")).collect::<Vec<_>>().join(", ");
    let paths = |count: usize| (0..count).fold(String::new(), |text, n| format!("{text}  p{n:04}/i.h: rev:1\n"));
    let providers = "providers:\n  one: {kind: tencent-cdn, hosts: ['*.b.cn']}\n  two: {kind: tencent-cdn, hosts: ['*.b.cn', c.cn]}\n";
    let counted = |text: &str, max_targets: u64| {
        let files = files(&[text, providers]);
        let options = BuildOptions { max_targets, ..BuildOptions::default() };
        build_partly(&files, &[false, false], options, &mut NoSources)
    };
    for (text, count) in [
        (format!("base_url: [{}]\nassets:\n{}", bases(3), paths(2)), 12),
        (format!("base_url: [{}]\nassets: \n{}", bases(3), paths(2)), 12),
        (format!("base_url: [{}]\nprovider: one\nassets:\n{}", bases(3), paths(2)), 6),
        (format!("base_url: https://c.cn\nindex: i.h\nassets:\n{}", paths(3)), 6),
        (
            format!(
                "base_url: https://c.cn\nindex: i.h\nslashless: true\nstrip_extension: [.h]\nassets:\n{}",
                paths(3)
            ),
            12,
        ),
        (
            "base_url: https://c.cn\nassets: {a: {hash: rev:1, extra_urls: [https://c.cn/b, https://c.cn/c]}}\n"
                .to_owned(),
            3,
        ),
        ("assets: {https://b.b.cn/: rev:1}\n".to_owned(), 2),
        ("assets: [{asset_id: a, hash: rev:1, provider: [one, two]}]\n".to_owned(), 2),
        ("base_url: https://b.b.cn\nassets: {a: {hash: rev:1, provider: [one, two]}}\n".to_owned(), 2),
    ] {
        let over = counted(&text, count - 1);
        let message = format!("base URLs, providers and further URLs make {count} targets, more than {}", count - 1);
        assert!(over.diagnostics.iter().any(|found| found.message == message), "{text}: {:?}", over.diagnostics);
        let within = counted(&text, count);
        assert!(!within.diagnostics.iter().any(|found| found.message.contains("further URLs make")), "{text}");
        assert_eq!(within.multiplied, count);
    }
    let plain = format!("base_url: https://c.cn\nassets:\n{}", paths(50));
    assert_eq!(counted(&plain, 0).model.expect("what is not multiplied does not count").entries.len(), 50);
    let many = format!("base_url: [{}]\nassets:\n{}", bases(3000), paths(3000));
    let found = counted(&many, 1000);
    assert_eq!(
        found.diagnostics[0].message,
        "base URLs, providers and further URLs make 18000000 targets, more than 1000"
    );
    assert!(found.diagnostics[0].help.as_deref().is_some_and(|help| help.contains("--max-targets 18000000")));
    assert_eq!(MAX_TARGETS, 1_000_000);
}

/// Variables are replaced once, before the text is checked, and their values are never shown.
#[test]
fn variables_stand_for_themselves_where_they_are_taken() {
    let variables = |name: &str| {
        Some(match name {
            "HOST" => "h.example".to_owned(),
            "PORT" => "6081".to_owned(),
            "REGION" => "cn-north-4".to_owned(),
            "AGAIN" => "${HOST}".to_owned(),
            "LINE" => "canary\r\nX: y".to_owned(),
            "BLANK" => "can ary".to_owned(),
            "USER" => "canary:canary@h.example".to_owned(),
            "UPPER" => "CANARY.example".to_owned(),
            "EMPTY" => String::new(),
            _ => return None,
        })
    };
    let read = |text: &str| {
        let options = BuildOptions { variables: &variables, ..BuildOptions::default() };
        build_partly(&files(&[text]), &[false], options, &mut NoSources)
    };
    let site = "base_url: [\"https://${HOST}/a\", 'https://www.${HOST}']\nassets:\n  x: rev:1\nproviders:\n  \
        own: {kind: http-purge, hosts: ['${HOST}', '*.${HOST}'], endpoints: ['http://127.0.0.1:${PORT}']}\n  \
        vod: {kind: huawei-vod, region: '${REGION}', project_id: 0123456789abcdef0123456789abcdef, endpoint: 'https://${HOST}'}\n";
    let built = read(site);
    assert!(built.uses_variables);
    let model = built.model.unwrap_or_else(|| panic!("{:?}", built.diagnostics));
    let urls: Vec<String> = model.entries.iter().map(|entry| entry.target.text).collect();
    assert_eq!(urls, ["https://h.example/a/x", "https://www.h.example/x"]);
    assert_eq!(model.providers[0].endpoints[0].to_string(), "http://127.0.0.1:6081");
    assert_eq!(model.providers[1].endpoints[0].to_string(), "https://h.example");
    let ok = "providers: {own: {kind: http-purge, endpoints: ['http://127.0.0.1']}}\nprovider: own\nassets: {}\n";
    for name in ["LINE", "BLANK", "USER", "UPPER", "EMPTY", "AGAIN", "MISSING"] {
        for (text, column) in [
            (format!("base_url: 'https://${{{name}}}/'\n{ok}"), 11),
            (format!("base_url: ['https://a.cn', 'https://${{{name}}}/']\n{ok}"), 28),
            (format!("providers: {{a: {{kind: http-purge, endpoints: ['http://${{{name}}}']}}}}\n"), 47),
            (format!("providers: {{a: {{kind: tencent-cdn, endpoint: 'https://${{{name}}}'}}}}\n"), 46),
            (format!("providers: {{a: {{kind: tencent-cdn, hosts: ['${{{name}}}']}}}}\n"), 44),
        ] {
            let built = read(&text);
            let shown = render(&files(&[&text]), &built.diagnostics, &built.hidden, false);
            assert!(built.model.is_none() && !shown.to_ascii_lowercase().contains("canary"), "{text}: {shown}");
            assert_eq!(built.diagnostics.len(), 1, "{text}: {shown}");
            let span = built.diagnostics[0].span.expect("a place");
            assert_eq!((span.line, span.column), (1, column), "{text}: {shown}");
        }
    }
    for (text, said) in [
        ("assets: {'https://${HOST}/x': rev:1}\nprovider: own\n", "`${…}` is not replaced here"),
        ("sources: [{directory: '${HOST}'}]\nbase_url: https://a.cn\n", "`directory`: `${…}` is not replaced here"),
        ("assets: {}\nname: '${HOST}'\n", "`name`: `${…}` is not replaced here"),
        (
            "providers: {a: {kind: tencent-cdn, credentials: {file: '${HOST}/x'}}}\n",
            "`file`: `${…}` is not replaced here",
        ),
        ("assets: {'https://a.cn/': 'rev:${HOST}'}\nprovider: own\n", "`hash`: `${…}` is not replaced here"),
        ("assets: {'https://a.cn/': {hash: 'etag:${HOST}'}}\nprovider: own\n", "`hash`: `${…}` is not replaced here"),
        ("assets: [{asset_id: '${HOST}', hash: rev:1}]\nprovider: own\n", "`asset_id`: `${…}` is not replaced here"),
        ("assets: {}\nindex: ['${HOST}']\n", "`index`: `${…}` is not replaced here"),
        ("providers: {a: {kind: tencent-cdn, account: '${HOST}'}}\n", "`account`: `${…}` is not replaced here"),
        (
            "providers: {a: {kind: tencent-cdn, credentials: {command: [sh, -c, 'get ${A}', '${B}']}}}\n",
            "`command`: `${…}` is not replaced here",
        ),
        ("base_url: 'https://${HO ST}'\nassets: {}\n", "`${…}` holds something else than the name of a variable"),
    ] {
        let built = read(text);
        assert!(built.diagnostics.iter().any(|found| found.message.contains(said)), "{text}: {:?}", built.diagnostics);
    }
    let script = read("providers: {a: {kind: tencent-cdn, credentials: {command: [sh, -ec, 'get ${A}', b]}}}\n");
    assert!(script.diagnostics.is_empty(), "what a shell replaces is its own: {:?}", script.diagnostics);
    let path = read("base_url: https://a.cn\nprovider: own\nassets: {'${HOST}/x': rev:1}\n");
    assert!(
        path.diagnostics.iter().any(|found| found.message.contains("is not replaced here")),
        "{:?}",
        path.diagnostics
    );
}

/// A header without its variable keeps one provider from its purges, and the manifest shows where.
#[test]
fn variables_of_headers_that_hold_no_value_are_warned_of() {
    let variables = |name: &str| match name {
        "SET" => Some("canary".to_owned()),
        "EMPTY" => Some(String::new()),
        "LINE" => Some("can\nary".to_owned()),
        _ => None,
    };
    let text = "providers:\n  own:\n    kind: http-purge\n    endpoints: ['http://127.0.0.1:9']\n    headers:\n      \
                X-A: 'a ${SET}${NOPE}'\n      X-B: ${EMPTY}\n      X-C: ${LINE}\n      X-D: ${SET}\n";
    let options = BuildOptions { variables: &variables, ..BuildOptions::default() };
    let built = build_partly(&files(&[text]), &[false], options, &mut NoSources);
    let shown = render(&files(&[text]), &built.diagnostics, &built.hidden, false);
    assert!(built.model.is_some() && !shown.contains("canary"), "{shown}");
    let found: Vec<String> =
        built.diagnostics.iter().map(|one| format!("{} {}", one.span.expect("a place").line, one.message)).collect();
    assert_eq!(
        found,
        [
            "6 header `X-A`: variable NOPE is not set",
            "7 header `X-B`: variable EMPTY is set to nothing",
            "8 header `X-C`: variable LINE holds a control character",
        ]
    );
}

// U6, U8, Y6, X3
#[test]
fn options_of_every_kind_are_checked() {
    for (marked, message) in [
        ("{kind: http-purge}", "`http-purge` needs `endpoints`"),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1:1, §http://10.0.0.1:2]}",
            "`endpoints`: plain http to `10.0.0.1`, another machine",
        ),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1, §http://127.0.0.1:80/]}",
            "endpoint `http://127.0.0.1` is given twice",
        ),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1], headers: {X-Token: §canary}}",
            "header `X-Token`: secrets must not stand in a manifest",
        ),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1], headers: {X-A: §'${B-canary}'}}",
            "header `X-A`: `${…}` holds something else than the name of a variable",
        ),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1], headers: {X-A: §\"b\\r\\nc\"}}",
            "header `X-A`: control character in its value",
        ),
        ("{kind: http-purge, endpoints: [http://127.0.0.1], headers: {§'a b': c}}", "not a header name: `a b`"),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1], headers: §[canary]}",
            "`headers` must be a map of header names and values, found a list",
        ),
        (
            "{kind: http-purge, endpoints: [http://127.0.0.1], §credentials: {env_prefix: A_}}",
            "`http-purge` has no account and takes no `credentials`",
        ),
        ("{kind: huawei-vod, region: cn-north-4}", "this kind of provider needs `project_id`"),
    ] {
        let marked = if marked.contains('§') { format!("p: {marked}") } else { format!("§p: {marked}") };
        assert_problem_alone(&format!("providers:\n  {marked}\n"), message);
        let text = format!("providers:\n  {}\n", marked.replace('§', ""));
        let all = built(&[&text]);
        assert!(!render(&files(&[&text]), &all.diagnostics, &all.hidden, false).contains("canary"));
    }
}

#[test]
fn providers_are_configured_as_written() {
    let text = "providers:
  own:
    kind: http-purge
    hosts: [www.a.cn]
    endpoints: [http://127.0.0.1:6081, http://127.0.0.1:6082/p/]
    require: 1
    headers: {Authorization: 'Bearer ${TOKEN}'}
  media:
    kind: huawei-vod
    region: cn-north-4
    project_id: 0123456789abcdef0123456789abcdef
    limits: {calls_per_second: 2, urls_per_day: 50, urls_per_call: 3, quota_day: -05:30}
    credentials: {command: [get-keys, prod]}
assets:
- {asset_id: f488337c31c8e4622f1590735b134c65, hash: md5:0cc175b9c0f1b6a831c399e269772661, provider: media}
";
    let model = model(&[text]);
    let [media, own] = model.providers.as_slice() else { panic!("two providers") };
    assert_eq!(media.endpoints[0].to_string(), "https://vod.cn-north-4.myhuaweicloud.com");
    assert_eq!(media.credentials, CredentialSource::Command(vec!["get-keys".into(), "prod".into()]));
    let limits = media.limits_of(Scope::AssetId).expect("has the operation");
    assert_eq!(
        (limits.targets_per_call, limits.calls, limits.targets_per_day),
        (3, freshen::core::contract::Rate::per_second(2), Some(50))
    );
    assert_eq!((media.quota_day_offset_minutes(), own.quota_day_offset_minutes()), (-330, 480));
    let endpoints: Vec<String> = own.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["http://127.0.0.1:6081", "http://127.0.0.1:6082/p"]);
    assert_eq!((own.required(), own.options.headers("headers")[0].1.as_str()), (1, "Bearer ${TOKEN}"));
    assert_eq!(model.entries.get(0).target.scope, Scope::AssetId);
    assert_eq!(model.entries.get(0).hash.as_str(), "md5:0cc175b9c0f1b6a831c399e269772661");
}

#[test]
fn schema_and_check_agree() {
    let validator = jsonschema::validator_for(&schema(freshen::vendor::VENDORS)).expect("a valid schema");
    let hash = sha('1');
    let good = [
        json!({"assets": {}}),
        json!({"assets": {}, "guard": {"max_purges": 5000, "max_share": "30%", "max_removed": 0}}),
        json!({"assets": {}, "guard": {"max_removed": "100%"}}),
        json!({"version": 1, "name": "n", "base_url": ["https://a.cn/"], "assets": {"x": hash, "y": {"hash": "etag:1", "priority": "low"}}}),
        json!({"provider": ["cdn"], "assets": [{"url": "https://a.cn/x", "hash": hash, "size": 1, "extra_urls": "https://a.cn/y"}]}),
        json!({"base_url": "https://a.cn", "assets": {}, "index": ["index.html"], "slashless": true, "strip_extension": ".html"}),
        json!({"providers": {"own": {"kind": "http-purge", "endpoints": ["http://127.0.0.1"], "headers": {"X-A": "b"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "area": "mainland", "limits": {"urls_per_day": 1}, "credentials": {"file": "x"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": "+14:00"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": "-09:30"}}}}),
        json!({"assets": {}, "collapse": {"directory": "/", "above": 0}}),
        json!({"assets": {}, "priority": {"high": ["index.html"], "low": "*.map"}}),
        json!({"assets": {}, "origin": "http://10.0.0.1:8080", "wait_for_origin": "0s", "verify": true}),
        json!({"assets": {}, "origin": "none", "verify": false}),
        json!({"assets": {}, "origin": {"urls": ["http://10.0.0.1"], "host": "a.cn", "headers": {"X-A": "b"}, "samples": 3, "rate": 1000, "allow_insecure": true}}),
        json!({"assets": {"https://a.cn/x": {"hash": hash, "origin": "none"}}}),
        json!({"assets": [{"url": "https://a.cn/x", "hash": hash, "origin": {"urls": "https://10.0.0.1"}}]}),
        json!({"assets": {}, "verify": {"match": "etag", "settle": "1200ms", "repurge": 0, "variants": "auto", "vantage": "all", "max_body": "64 MB", "rate": 20, "every": "6h", "share": "5%"}}),
        json!({"assets": {}, "verify": {"match": {"header": "X-Rev"}, "variants": [{}, {"Accept-Encoding": "gzip"}], "vantage": ["203.0.113.7", "[2001:db8::1]:8443"], "headers": {"X-A": "b"}, "max_body": "512GiB"}}),
        json!({"providers": {"edge": {"kind": "tencent-cdn", "upstream": "shield"}, "shield": {"kind": "tencent-cdn"}}}),
        json!({"assets": {}, "collapse": [{"directory": "/a/b%20c/", "above": 5}, {"directory": "/a/", "above": 500}]}),
    ];
    let bad = [
        json!({}),
        json!([]),
        json!({"name": "n"}),
        json!({"assets": null}),
        json!({"assets": {}, "version": 2}),
        json!({"assets": {}, "nmae": "x"}),
        json!({"assets": {}, "on_new": "x"}),
        json!({"assets": {}, "guard": {}}),
        json!({"assets": {}, "settle": "5s"}),
        json!({"assets": {}, "origin": true}),
        json!({"assets": {}, "origin": ["http://10.0.0.1"]}),
        json!({"assets": {}, "origin": {"host": "a.cn"}}),
        json!({"assets": {}, "origin": {"urls": []}}),
        json!({"assets": {}, "origin": {"urls": "http://10.0.0.1", "samples": 0}}),
        json!({"assets": {}, "origin": {"urls": "http://10.0.0.1", "rate": 1001}}),
        json!({"assets": {"https://a.cn/x": {"hash": hash, "verify": true}}}),
        json!({"assets": {"https://a.cn/x": {"hash": hash, "check_url": "https://a.cn/x"}}}),
        json!({"assets": {}, "origin": "http://10.0.0.1", "wait_for_origin": "2 min"}),
        json!({"assets": {}, "origin": "http://10.0.0.1", "wait_for_origin": 120}),
        json!({"assets": {}, "verify": "true"}),
        json!({"assets": {}, "verify": {"match": "size"}}),
        json!({"assets": {}, "verify": {"match": {}}}),
        json!({"assets": {}, "verify": {"settle": 5}}),
        json!({"assets": {}, "verify": {"repurge": 6}}),
        json!({"assets": {}, "verify": {"variants": []}}),
        json!({"assets": {}, "verify": {"variants": ["gzip"]}}),
        json!({"assets": {}, "verify": {"vantage": []}}),
        json!({"assets": {}, "verify": {"max_body": "64"}}),
        json!({"assets": {}, "verify": {"every": "6h", "share": 5}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "upstream": ["q"]}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "warm": true}}}),
        json!({"assets": {}, "priority": {"high": []}}),
        json!({"assets": {}, "priority": {"first": ["a"]}}),
        json!({"assets": {}, "collapse": []}),
        json!({"assets": {}, "collapse": {}}),
        json!({"assets": {}, "collapse": {"directory": "/a/"}}),
        json!({"assets": {}, "collapse": {"above": 5}}),
        json!({"assets": {}, "collapse": {"directory": "/a", "above": 5}}),
        json!({"assets": {}, "collapse": {"directory": "a/", "above": 5}}),
        json!({"assets": {}, "collapse": {"directory": "/a/*/", "above": 5}}),
        json!({"assets": {}, "collapse": {"directory": "/a/?x=/", "above": 5}}),
        json!({"assets": {}, "collapse": {"directory": "/a//b/", "above": 5}}),
        json!({"assets": {}, "collapse": {"directory": "/a/", "above": "5"}}),
        json!({"assets": {}, "collapse": {"directory": "/a/", "above": -1}}),
        json!({"assets": {}, "collapse": {"directory": "/a/", "above": 5, "max": 1}}),
        json!({"assets": {}, "guard": {"max_share": 30}}),
        json!({"assets": {}, "guard": {"max_removed": "130%"}}),
        json!({"base_url": "https://a.cn", "sources": []}),
        json!({"base_url": "https://a.cn", "sources": [{}]}),
        json!({"base_url": "https://a.cn", "sources": [{"directory": "x", "include": []}]}),
        json!({"base_url": "https://a.cn", "sources": [{"directory": "x", "exclude": []}]}),
        json!({"base_url": "https://a.cn", "sources": [{"directory": "x", "normalize": []}]}),
        json!({"base_url": "https://a.cn", "assets": {}, "index": []}),
        json!({"base_url": [], "assets": {}}),
        json!({"base_url": "https://a.cn", "sources": [{"directory": "x", "algorithm": "md5"}]}),
        json!({"base_url": "https://a.cn", "sources": [{"checksums": "x", "include": ["y"]}]}),
        json!({"assets": {"https://a.cn/x": "123"}}),
        json!({"assets": {"https://a.cn/x": 123}}),
        json!({"assets": {"https://a.cn/x": {"priority": "high"}}}),
        json!({"assets": [{"url": "https://a.cn/x"}]}),
        json!({"assets": [{"url": "https://a.cn/x", "path": "x", "hash": hash}]}),
        json!({"assets": [{"hash": hash}]}),
        json!({"providers": {"P": {"kind": "tencent-cdn"}}}),
        json!({"providers": {"p": {"hosts": ["a.cn"]}}}),
        json!({"providers": {"p": {"kind": "x"}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "area": "moon"}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "aera": "mainland"}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "url_encode": "true"}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "project_id": "x"}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"urls_per_day": 0}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": "+8:00"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": "+14:01"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": "08:00"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": "+08:60"}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "limits": {"quota_day": 480}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "credentials": {}}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "endpoints": ["https://x.cn"]}}}),
        json!({"providers": {"p": {"kind": "http-purge"}}}),
        json!({"providers": {"p": {"kind": "http-purge", "endpoints": []}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "hosts": []}}}),
        json!({"providers": {"p": {"kind": "tencent-cdn", "credentials": {"command": []}}}}),
        json!({"providers": {"p": {"kind": "huawei-vod"}}}),
    ];
    for (examples, expected) in [(&good[..], true), (&bad[..], false)] {
        for example in examples {
            let text = example.to_string();
            assert_eq!(built(&[&text, PROVIDERS]).model.is_some(), expected, "check: {text}");
            assert_eq!(validator.is_valid(example), expected, "schema: {text}");
        }
    }
}

#[test]
fn the_schema_describes_every_kind() {
    let schema = schema(freshen::vendor::VENDORS);
    assert!(schema["properties"]["assets"].is_object() && schema["properties"]["settle"].is_null());
    for kind in freshen::vendor::VENDORS.all() {
        let name = kind.capabilities().kind;
        let branches = schema["$defs"]["provider"]["allOf"].as_array().expect("branches");
        let branch = branches.iter().find(|branch| branch["if"]["properties"]["kind"]["const"] == name).expect(name);
        for option in kind.capabilities().options {
            assert!(branch["then"]["properties"][option.key]["description"].is_string(), "{name} {}", option.key);
        }
    }
}

// U9: a directory is named as it stands in URLs, and nothing that a vendor could take for more than that.
#[test]
fn a_directory_to_collapse_is_a_plain_path_from_slash_to_slash() {
    for (marked, message) in [
        ("collapse: §5", "`collapse` must be a map or a list of maps, found `5`"),
        ("collapse: §[]", "`collapse` names no directory"),
        ("collapse: [§/a/]", "an item of `collapse` must be a map, found `/a/`"),
        ("collapse: §{above: 5}", "`collapse` needs `directory`"),
        ("collapse: §{directory: /a/}", "`collapse` needs `above`"),
        ("collapse: {directory: /a/, above: §many}", "`above` must be a whole number, found `many`"),
        ("collapse: {directory: /a/, above: §-1}", "`above` must be a whole number, found `-1`"),
        ("collapse: {directory: /a/, above: 5, §abvoe: 5}", "`collapse` has no key `abvoe`"),
        ("collapse: {above: 5, directory: §a/}", "`directory`: `a/` does not begin with `/`"),
        ("collapse: {above: 5, directory: §/a}", "`directory`: `/a` does not end in `/`"),
        (
            "collapse: {above: 5, directory: §/a/*/}",
            "`directory`: `*` in `/a/*/`: patterns and queries are no directories",
        ),
        (
            "collapse: {above: 5, directory: §'/a/?b/'}",
            "`directory`: `?` in `/a/?b/`: patterns and queries are no directories",
        ),
        (
            "collapse: {above: 5, directory: §'/a#b/'}",
            "`directory`: `#` in `/a#b/`: patterns and queries are no directories",
        ),
        ("collapse: {above: 5, directory: §/a/../b/}", "`directory`: `/a/../b/` has a part that is empty, `.` or `..`"),
        ("collapse: {above: 5, directory: §/./}", "`directory`: `/./` has a part that is empty, `.` or `..`"),
        ("collapse: {above: 5, directory: §//a/}", "`directory`: `//a/` has a part that is empty, `.` or `..`"),
        ("collapse: {above: 5, directory: §'/a\\b/'}", "`directory`: a URL with a backslash"),
        ("collapse: {above: 5, directory: §\"/a\\n/\"}", "control character U+000A in `directory`"),
        ("collapse: {above: 5, directory: §https://a.cn/a/}", "`directory`: a path, not a URL, is wanted here"),
        ("collapse: [{directory: /a/, above: 5}, {directory: §/a/, above: 6}]", "directory `/a/` is given twice"),
    ] {
        assert_problem(&format!("assets: {{}}\n{marked}\n"), message);
    }
    let site = format!("collapse: {{directory: /a/, above: 5}}\nassets:\n  https://a.cn/a/x: {}\n", sha('1'));
    let collapse = &model(&[&site, PROVIDERS]).manifests[0].collapse;
    assert_eq!((collapse.len(), collapse[0].directory.as_str(), collapse[0].above), (1, "/a/", 5));
}

// U9: where nobody could do it the manifest says something else than will happen; where somebody can it is fine.
#[test]
fn collapse_needs_a_provider_that_purges_directories() {
    let none = "§collapse: {directory: /a/, above: 5}\nassets:\n  https://vod.cn/a/x: rev:1\n";
    assert_problem(none, "`collapse`: none of this manifest's providers purges directories: `vod`");
    let some =
        "collapse: {directory: /a/, above: 5}\nassets:\n  https://vod.cn/a/x: rev:1\n  https://a.cn/a/x: rev:1\n";
    assert_eq!(model(&[some, PROVIDERS]).entries.len(), 2);
    let other_sort = "providers:\n  ali: {kind: alibaba-vod, hosts: [a.cn], object_type: Regex}\n";
    let site = "§collapse: {directory: /a/, above: 5}\nassets:\n  https://a.cn/a/x: rev:1\n";
    let message = "`collapse`: none of this manifest's providers purges directories: `ali`";
    assert_problem_beside(other_sort, site, message);
    let nothing = "collapse: {directory: /a/, above: 5}\nassets: {}\n";
    assert!(model(&[nothing, PROVIDERS]).entries.is_empty(), "what is not there yet needs no provider");
}
