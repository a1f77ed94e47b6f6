//! What manifests ask of origins and edges: `origin`, `wait_for_origin`, `verify` and `upstream`.

use freshen::cli::diagnostics::render;
use freshen::core::model::Model;
use freshen::core::proof_terms::{Comparison, Origin, ProofTerms, Vantage, Verify};
use freshen::manifest::{
    BuildOptions, Built, Diagnostic, Expand, FileSource, Found, FoundFile, SourceFile, build_with,
};

use crate::support::cli::Bench;

const PROVIDERS: &str = "providers:
  cdn: {kind: tencent-cdn, hosts: [a.cn]}
  vod: {kind: huawei-vod, hosts: [vod.cn], region: cn-north-4, project_id: 0123456789abcdef0123456789abcdef}
";

fn sha(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn files(text: &str) -> [SourceFile; 2] {
    [SourceFile::whole("site.yaml", text), SourceFile::whole("providers.yaml", PROVIDERS)]
}

/// The one file of each source.
struct OneFile;

impl Expand for OneFile {
    fn expand(&mut self, _source: &FileSource, take: &mut dyn FnMut(Found<'_>)) {
        let algorithm = freshen::core::algorithm::Algorithm::Blake3;
        take(Found::File(FoundFile { path: "index.html", algorithm, digest: &[7; 32], line: None }));
    }
}

fn built(text: &str) -> Built {
    let variables = |name: &str| (name == "ORIGIN").then(|| "10.0.0.11".to_owned());
    let options = BuildOptions { variables: &variables, ..BuildOptions::default() };
    build_with(&files(text), options, &mut OneFile)
}

fn model(text: &str) -> Model {
    let built = built(text);
    built.model.unwrap_or_else(|| panic!("{text}\n{:#?}", built.diagnostics))
}

/// The terms of each target, by its text.
fn terms(model: &Model) -> Vec<(String, Option<&ProofTerms>)> {
    let of = |index| model.entries.terms(index).map(|terms| &model.proof_terms[terms]);
    (0..model.entries.len()).map(|index| (model.entries.text(index).to_string(), of(index))).collect()
}

/// What is asked of the one target of a manifest.
fn asked(keys: &str) -> ProofTerms {
    let model = model(&format!("{keys}\nassets: {{'https://a.cn/x': '{}'}}\n", sha('1')));
    let manifest = model.manifests[0].terms.expect("the manifest asks");
    assert_eq!(model.entries.terms(0), Some(manifest));
    model.proof_terms[manifest].clone()
}

fn verify(keys: &str) -> Verify {
    asked(&format!("origin: http://10.0.0.11\nverify: {keys}")).verify.expect("is verified")
}

fn origin(keys: &str) -> Origin {
    asked(&format!("origin: {keys}")).origin.expect("has an origin")
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn urls(origin: &Origin) -> Vec<String> {
    origin.urls.iter().map(ToString::to_string).collect()
}

#[test]
fn the_short_forms_take_all_defaults() {
    let asked = asked("origin: http://10.0.0.11:8080/site/\nverify: true");
    let origin = asked.origin.expect("has an origin");
    assert_eq!(urls(&origin), ["http://10.0.0.11:8080/site"]);
    assert_eq!((origin.host, origin.headers, origin.samples, origin.rate), (None, Vec::new(), 1, 20));
    assert_eq!((asked.wait_for_origin_ms, asked.normalize), (120_000, Vec::new()));
    let verify = asked.verify.expect("is verified");
    assert_eq!(verify, Verify::default());
    assert_eq!((verify.compare, verify.settle_ms, verify.repurge), (Comparison::Body, 5000, 2));
    assert_eq!((verify.variants, verify.vantage, verify.headers), (None, Vantage::Usual, Vec::new()));
    assert_eq!((verify.max_body, verify.rate, verify.every_ms, verify.share), (64_000_000, 20, None, 100));
}

#[test]
fn the_long_forms_say_everything() {
    let long = origin(
        "{urls: [\"http://10.0.0.11:8080\", 'https://10.0.0.12'], host: 'www.a.cn:81', headers: {X-A: \"${KEY} b\"}, samples: 3, \
         rate: 1000, allow_insecure: true}\nwait_for_origin: 0s",
    );
    assert_eq!(urls(&long), ["http://10.0.0.11:8080", "https://10.0.0.12"]);
    assert_eq!((long.host.as_deref(), long.samples, long.rate), (Some("www.a.cn:81"), 3, 1000));
    assert_eq!(long.headers, [header("X-A", "${KEY} b")]);
    assert_eq!(asked("origin: {urls: https://a.cn}\nwait_for_origin: 1h").wait_for_origin_ms, 3_600_000);
    let long = verify(
        "{match: {header: X-Rev}, settle: 1200ms, repurge: 0, variants: [{}, {Accept-Encoding: gzip}, {Cookie: \"${C}\"}], \
         vantage: [203.0.113.7, '[2001:db8::1]:8443', edge.a.cn], headers: {X-Token: \"${T}\"}, max_body: 1 TB, rate: 1, every: 6h, \
         share: 5%}",
    );
    assert_eq!((long.compare, long.settle_ms, long.repurge), (Comparison::Header("X-Rev".into()), 1200, 0));
    let variants = [Vec::new(), vec![header("Accept-Encoding", "gzip")], vec![header("Cookie", "${C}")]];
    assert_eq!(long.variants.as_deref(), Some(variants.as_slice()));
    let Vantage::At(vantages) = long.vantage else { panic!("vantages") };
    let vantages: Vec<(&str, Option<u16>)> = vantages.iter().map(|at| (at.host.as_str(), at.port)).collect();
    assert_eq!(vantages, [("203.0.113.7", None), ("[2001:db8::1]", Some(8443)), ("edge.a.cn", None)]);
    assert_eq!(long.headers, [header("X-Token", "${T}")]);
    assert_eq!((long.max_body, long.rate, long.every_ms, long.share), (1_000_000_000_000, 1, Some(21_600_000), 5));
    assert_eq!(verify("{match: etag, variants: auto, vantage: all}").vantage, Vantage::All);
    assert_eq!(verify("{}"), Verify::default());
}

#[test]
fn nothing_is_kept_where_nothing_is_asked() {
    for keys in ["", "verify: false", "origin: none", "origin: none\nverify: false"] {
        let text = format!("{keys}\nbase_url: https://a.cn\nassets: {{x: '{}'}}\n", sha('1'));
        let with_sources = text.clone() + "sources: [{directory: public, normalize: ['<!--.*?-->']}]\n";
        for text in [text, with_sources] {
            let model = model(&text);
            assert!(model.proof_terms.is_empty(), "{text}");
            assert!(terms(&model).iter().all(|(_, terms)| terms.is_none()) && model.manifests[0].terms.is_none());
        }
    }
}

/// Each form of the list carries the terms of its manifest, those that the scanner reads too; equal ones are kept once.
#[test]
fn each_form_of_the_list_carries_the_terms_of_its_manifest() {
    let (one, two) = (sha('1'), sha('2'));
    for assets in [
        format!("assets:\n  x: {one}\n  y: {two}\n"),
        format!("assets:\n- path: x\n  hash: {one}\n- url: https://a.cn/y\n  hash: {two}\n"),
        format!("assets: {{x: '{one}', y: {{hash: '{two}'}}}}\n"),
        format!("assets: [{{path: x, hash: '{one}'}}, {{path: y, hash: '{two}'}}]\n"),
    ] {
        let model = model(&format!("base_url: https://a.cn\nverify: true\n{assets}"));
        let found: Vec<Option<usize>> = (0..model.entries.len()).map(|index| model.entries.terms(index)).collect();
        assert_eq!((found, model.proof_terms.len()), (vec![Some(0), Some(0)], 1), "{assets}");
        assert_eq!(model.manifests.iter().map(|manifest| manifest.terms).collect::<Vec<_>>(), [Some(0), None]);
    }
}

#[test]
fn an_origin_of_an_asset_wins_and_none_switches_it_off() {
    let of = |index: usize, model: &Model| {
        let terms = model.entries.terms(index).map(|terms| &model.proof_terms[terms]);
        terms.map(|terms| (terms.origin.as_ref().map(urls), terms.wait_for_origin_ms, terms.verify.is_some()))
    };
    let hash = sha('1');
    for assets in [
        format!(
            "{{a: '{hash}', b: {{hash: '{hash}', origin: 'http://10.0.0.2'}}, c: {{hash: '{hash}', origin: none}}}}"
        ),
        format!(
            "[{{path: a, hash: '{hash}'}}, {{path: b, hash: '{hash}', origin: {{urls: 'http://10.0.0.2'}}}}, {{path: c, hash: '{hash}', origin: none}}]"
        ),
    ] {
        let both = model(&format!(
            "base_url: https://a.cn\norigin: http://10.0.0.1\nwait_for_origin: 5s\nverify: true\nassets: {assets}\n"
        ));
        let at = |url: &str| Some((Some(vec![url.to_owned()]), 5000, true));
        assert_eq!(
            [0, 1, 2].map(|index| of(index, &both)),
            [at("http://10.0.0.1"), at("http://10.0.0.2"), Some((None, 5000, true))]
        );
        let own = model(&format!("base_url: https://a.cn\nwait_for_origin: 5s\nassets: {assets}\n"));
        let at = Some((Some(vec!["http://10.0.0.2".to_owned()]), 5000, false));
        assert_eq!([0, 1, 2].map(|index| of(index, &own)), [None, at, None]);
        assert_eq!((own.manifests[0].terms, own.proof_terms.len()), (None, 1));
    }
}

#[test]
fn equal_terms_are_kept_once_over_all_manifests() {
    let asset = |name: &str, origin: &str| format!("'https://a.cn/{name}': {{hash: '{}', origin: {origin}}}", sha('1'));
    let own =
        [asset("x", "'http://10.0.0.1'"), asset("y", "{urls: 'http://10.0.0.1/'}"), asset("z", "none")].join(", ");
    let one = format!("verify: true\nassets: {{{own}}}\n");
    let two = "origin: http://10.0.0.1\nverify: {match: body, settle: 5000ms}\nassets: {'https://a.cn/w': 'md5:M', 'https://a.cn/v': \
               'md5:M'}\n"
        .replace('M', &"1".repeat(32));
    let files = [&one, &two, PROVIDERS].map(|text| SourceFile::whole(text[..9].to_owned(), text));
    let model = build_with(&files, BuildOptions::default(), &mut OneFile).model.expect("a model");
    let found: Vec<Option<usize>> = (0..model.entries.len()).map(|index| model.entries.terms(index)).collect();
    assert_eq!(model.proof_terms.len(), 2, "{:#?}", model.proof_terms);
    let (without, with) = (model.manifests[0].terms, model.manifests[1].terms);
    assert!(without != with && without.is_some() && with.is_some());
    assert_eq!(found, [with, with, with, with, without]);
}

#[test]
fn sources_carry_the_expressions_that_their_hashes_are_made_with() {
    let model = model(
        "base_url: [https://a.cn/1, https://a.cn/2]\nverify: true\nassets: {}\nsources: [{directory: public, normalize: \
         ['<!--.*?-->', \"t=[0-9]+\"]}]\n",
    );
    let found = terms(&model);
    assert_eq!(found.len(), 2);
    for (_, terms) in found {
        let terms = terms.expect("is verified");
        assert_eq!(terms.normalize, ["<!--.*?-->", "t=[0-9]+"]);
        assert_eq!(terms.verify, Some(Verify::default()));
    }
    assert_eq!(model.proof_terms.len(), 2, "those of the manifest, and those of the source");
    assert!(model.proof_terms[model.manifests[0].terms.expect("is verified")].normalize.is_empty());
}

/// Without a word about it, `etag:` hashes are compared with `ETag` and all others by their body.
#[test]
fn what_is_compared_follows_the_hash_unless_it_is_said() {
    let md5 = format!("md5:{}", "1".repeat(32));
    let compare = |verify: &str, hash: &str| {
        let model = model(&format!("verify: {verify}\nassets: {{'https://a.cn/x': '{hash}'}}\n"));
        let terms = model.entries.terms(0).expect("is verified");
        model.proof_terms[terms].verify.clone().expect("is verified").compare
    };
    assert_eq!(compare("true", "etag:5d"), Comparison::Etag);
    assert_eq!(compare("true", &sha('1')), Comparison::Body);
    assert_eq!(compare("{match: etag}", &md5), Comparison::Etag);
    assert_eq!(compare("{match: {header: X-Rev}}", "rev:7"), Comparison::Header("X-Rev".into()));
    let list = format!("  x1: etag:1\n  x2: {md5}\n  x3: etag:3\n  x4: {md5}\n");
    let mixed = model(&format!("base_url: https://a.cn\nverify: true\nassets:\n{list}"));
    let found: Vec<Option<usize>> = (0..4).map(|index| mixed.entries.terms(index)).collect();
    assert_eq!((found[0], found[1]), (found[2], found[3]));
    let compared =
        [0, 1].map(|index| terms(&mixed)[index].1.and_then(|terms| terms.verify.clone()).map(|it| it.compare));
    assert_eq!((compared, mixed.proof_terms.len()), ([Some(Comparison::Etag), Some(Comparison::Body)], 2));
}

#[test]
fn variables_stand_in_the_urls_of_origins() {
    for keys in ["'http://${ORIGIN}:8080/'", "{urls: ['http://${ORIGIN}:8080']}"] {
        assert_eq!(urls(&origin(keys)), ["http://10.0.0.11:8080"]);
        let text = format!("assets: {{'https://a.cn/x': {{hash: '{}', origin: {keys}}}}}\n", sha('1'));
        let built = built(&text);
        assert!(built.uses_variables);
        let model = built.model.expect("a model");
        assert_eq!(urls(model.proof_terms[0].origin.as_ref().expect("has an origin")), ["http://10.0.0.11:8080"]);
    }
}

/// Checks that a manifest has one problem, at the place that `§` marks; returns what is to be done.
#[track_caller]
fn assert_problem(marked: &str, message: &str) -> String {
    let (before, after) = marked.split_once('§').expect("a marked place");
    let text = format!("{before}{after}\n");
    let built = built(&text);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let place = (before.matches('\n').count() + 1, column);
    let found = |found: &Diagnostic| {
        let span = found.span.unwrap_or_default();
        ((span.line as usize, span.column as usize), found.message.clone())
    };
    assert_eq!(built.diagnostics.iter().map(found).collect::<Vec<_>>(), [(place, message.to_owned())], "{text}");
    assert!(built.model.is_none());
    built.diagnostics[0].help.clone().unwrap_or_default()
}

/// As [`assert_problem`], of keys before a list.
#[track_caller]
fn assert_refused(marked: &str, message: &str, help: &str) {
    let found = assert_problem(&format!("assets: {{}}\n{marked}"), message);
    assert!(found.contains(help), "`{help}` is not in `{found}`");
}

#[test]
fn origins_are_urls_of_servers_and_nothing_else() {
    let write_whole = "write the whole URL, with `https://` or `http://`";
    for (written, message, help) in [
        ("10.0.0.11:8080", "origin: not a whole URL", write_whole),
        ("ftp://a.cn", "origin: URLs with the scheme `ftp` are not purged", write_whole),
        ("http://a.cn/?v=1", "origin: an origin with a query", "write scheme, host, port and, if needed, a path"),
        ("'http://a.cn/#x'", "origin: a URL with a fragment: caches never see what follows `#`", "delete"),
        ("http://u:p@a.cn", "origin: user name or password in a URL", "change the password"),
        ("http://a.cn/../b", "origin: an origin's path in an odd spelling: the path has `.` or `..` segments", ""),
        ("http://127.1", "origin: `127.1` is an odd spelling of an address", "write `127.0.0.1`"),
        ("http://A.cn", "origin: host `A.cn` has upper-case letters", "write `a.cn`"),
        (
            "http://169.254.169.254",
            "origin: `169.254.169.254` is a link-local address, where metadata services live",
            "a server that caches fetch from",
        ),
        ("'http://[fe80::1]'", "origin: `[fe80::1]` is a link-local address", "a server"),
        ("'http://[fd00:ec2::254]'", "origin: `[fd00:ec2::254]` is a metadata service", "a server"),
    ] {
        assert_refused(&format!("origin: §{written}"), message, help);
        assert_refused(&format!("origin: {{urls: §{written}}}"), message, help);
        assert_refused(&format!("origin: {{urls: [https://b.cn, §{written}]}}"), message, help);
        let hash = sha('1');
        let short = format!("assets: {{'https://a.cn/x': {{hash: '{hash}', origin: §{written}}}}}");
        assert_problem(&short, message);
        assert_problem(
            &short.replace("{'https://a.cn/x': {", "[{url: 'https://a.cn/x', ").replace("}}", "}]"),
            message,
        );
    }
    assert_refused("origin: §true", "origin: not a whole URL", write_whole);
    assert_refused("origin§:", "`origin` must be a text or a map, found nothing", "Where caches fetch");
    let several = "write several as `origin: {urls: [URL, URL]}`: each must serve the content";
    assert_refused("origin: §[http://a.cn]", "`origin` must be a text or a map, found a list", several);
    assert_refused("origin: §{host: a.cn}", "`origin` needs `urls`", "each must serve the content");
    assert_refused("origin: {urls: [§none]}", "origin: not a whole URL", write_whole);
    let twice = "origin `http://a.cn` is given twice";
    assert_refused("origin: {urls: ['http://a.cn', §'http://a.cn:80/']}", twice, "keep one of the two");
    assert_refused(
        "origin: {§url: 'http://a.cn', urls: 'http://a.cn'}",
        "`origin` has no key `url`",
        "did you mean `urls`?",
    );
    for bad in ["§a b", "§http://a.cn", "§a.cn/x", "§A.cn", "§'a.cn:0'", "§u@a.cn"] {
        let marked = format!("assets: {{}}\norigin: {{urls: 'http://a.cn', host: {bad}}}");
        let text = marked.replace('§', "");
        let found = built(&text).diagnostics;
        assert!(found.len() == 1 && found[0].message.starts_with("host: "), "{bad}: {found:?}");
    }
    let unset = "the environment has no variable `NOT_SET`";
    assert_refused("origin: §'http://${NOT_SET}/'", unset, "set it where freshen is started");
    assert_refused(
        "origin: {urls: 'http://a.cn', host: §'${ORIGIN}'}",
        "`host`: `${…}` is not replaced here",
        "`origin`",
    );
}

#[test]
fn values_have_their_shape_and_bounds() {
    for (marked, message, help) in [
        (
            "wait_for_origin: §2",
            "`wait_for_origin` must be a duration from 0s to 1h, found `2`",
            "a whole number and a unit",
        ),
        ("wait_for_origin: §61m", "`wait_for_origin` must be a duration from 0s to 1h, found `61m`", "How long"),
        ("verify: §yes", "`verify` must be `true`, `false` or a map, found `yes`", "write `true`"),
        ("verify: {settle: §99ms}", "`settle` must be a duration from 100ms to 10m, found `99ms`", "longest fetch"),
        ("verify: {settle: §11m}", "`settle` must be a duration from 100ms to 10m, found `11m`", "longest fetch"),
        ("verify: {settle: §5 s}", "`settle` must be a duration from 100ms to 10m, found `5 s`", "for example 500ms"),
        ("verify: {repurge: §6}", "`repurge` must be a whole number from 0 to 5, found `6`", "up to 5"),
        ("verify: {rate: §0}", "`rate` must be a whole number from 1 to 1000, found `0`", "up to 1000"),
        ("verify: {rate: §1001}", "`rate` must be a whole number from 1 to 1000, found `1001`", "up to 1000"),
        (
            "verify: {max_body: §64}",
            "`max_body` must be a size up to 1 TB, like `64 MB`, found `64`",
            "for example 64 MB",
        ),
        (
            "verify: {max_body: §2 TB}",
            "`max_body` must be a size up to 1 TB, like `64 MB`, found `2 TB`",
            "Larger bodies",
        ),
        (
            "verify: {max_body: §0 MB}",
            "`max_body` must be a size up to 1 TB, like `64 MB`, found `0 MB`",
            "Larger bodies",
        ),
        ("verify: {every: §59s}", "`every` must be a duration from 1m to 720h, found `59s`", "drift"),
        ("verify: {every: 6h, share: §5}", "`share` must be a share from 0% to 100%, found `5`", "write `5%`"),
        ("verify: {every: 6h, share: §0%}", "share: 0% probes nothing", "delete"),
        ("verify: {§share: 5%}", "share without every", "every: 6h"),
        (
            "verify: {match: §bdy}",
            "`match` must be one of `body`, `etag` or a map, found `bdy`",
            "did you mean `body`?",
        ),
        (
            "verify: {match: §size}",
            "`match` must be one of `body`, `etag` or a map, found `size`",
            "`size` is not supported yet",
        ),
        ("verify: {match: §{}}", "`match` needs `header`", "Name of the header."),
        ("verify: {match: {header: §X Rev}}", "match: not a header name: `X Rev`", "X-Revision"),
        (
            "verify: {variants: §{}}",
            "`variants` must be `auto` or a list of maps of header names and values, found a map",
            "",
        ),
        ("verify: {variants: §[]}", "`variants` is an empty list", "or leave `variants` out"),
        (
            "verify: {variants: [{}, §gzip]}",
            "`variants` must be `auto` or a list of maps of header names and values, found `***`",
            "",
        ),
        ("verify: {variants: [{},{},{},{},{},{},{},{},§{}]}", "variants: 9 of them, more than 8", "ask for most"),
        ("verify: {vantage: §[]}", "`vantage` is an empty list", "or leave `vantage` out"),
        ("verify: {§setle: 5s}", "`verify` has no key `setle`", "did you mean `settle`?"),
        (
            "origin: {urls: 'http://a.cn', samples: §0}",
            "`samples` must be a whole number from 1 to 100, found `0`",
            "1 when",
        ),
        (
            "origin: {urls: 'http://a.cn', rate: §20/s}",
            "`rate` must be a whole number from 1 to 1000, found `20/s`",
            "`20`",
        ),
    ] {
        assert_refused(marked, message, help);
    }
    let several = "assets: {}\nverify: {settle: 1ms, rate: 0, vantage: 127.1}\n";
    assert_eq!(built(several).diagnostics.len(), 3, "all at once");
}

#[test]
fn keys_in_a_wrong_place_are_sent_to_the_right_one() {
    assert_refused("§settle: 5s", "a manifest has no key `settle`", "write it as `verify: {settle: …}`");
    assert_refused("§repurge: 2", "a manifest has no key `repurge`", "write it as `verify: {repurge: …}`");
    assert_refused("§samples: 2", "a manifest has no key `samples`", "write it as `origin: {samples: …}`");
    assert_refused("§verfy: true", "a manifest has no key `verfy`", "did you mean `verify`?");
    let hash = sha('1');
    let asset = |key: &str| format!("assets: {{'https://a.cn/x': {{hash: '{hash}', §{key}}}}}");
    let help = assert_problem(&asset("verify: true"), "an asset has no key `verify`");
    assert_eq!(help, "`verify` belongs to the top of the manifest");
    let help = assert_problem(&asset("orign: none"), "an asset has no key `orign`");
    assert_eq!(help, "did you mean `origin`?");
    // Names that mean something else there are left to it.
    let provider = |key: &str| format!("providers: {{own: {{kind: tencent-cdn, §{key}}}}}");
    let help = assert_problem(&provider("host: a.cn"), "a provider has no key `host`");
    assert_eq!(help, "did you mean `hosts`?");
}

#[test]
fn what_is_not_supported_yet_is_named_with_what_to_do() {
    let hash = sha('1');
    let message = "`check_url` is not supported yet; leave it out: what is named by an id cannot be verified";
    assert_problem(&format!("assets: {{'https://a.cn/x': {{hash: '{hash}', §check_url: x}}}}"), message);
    assert_problem(&format!("assets: [{{asset_id: x, provider: vod, hash: '{hash}', §check_url: x}}]"), message);
    for (key, instead) in [
        ("purge_again: 30s", "leave it out: `verify` of a manifest purges again what is stale"),
        ("prefetch: true", "leave it out: the next visitor fetches the content"),
        ("warm: true", "leave it out: probes of `verify` by body warm the edge"),
        ("repurge_headers: {}", "give `headers` that purge hard: each purge sends them"),
    ] {
        let word = key.split(':').next().expect("a word");
        let marked = format!("providers: {{own: {{kind: tencent-cdn, §{key}}}}}");
        assert_problem(&marked, &format!("`{word}` is not supported yet; {instead}"));
    }
}

#[test]
fn waiting_needs_an_origin() {
    let help = "give `origin`, the URL that caches fetch the content from, or delete it";
    for others in ["", "origin: none\n", "verify: true\n"] {
        assert_refused(&format!("{others}§wait_for_origin: 5s"), "wait_for_origin without origin", help);
    }
    // A simple list is read by another reader.
    let list = format!("assets:\n  https://a.cn/x: {}", sha('1'));
    assert_problem(&format!("§wait_for_origin: 5s\n{list}"), "wait_for_origin without origin");
    let off = format!("§wait_for_origin: 5s\nassets: {{'https://a.cn/x': {{hash: '{}', origin: none}}}}", sha('1'));
    assert_problem(&off, "wait_for_origin without origin");
    // Of an origin that is wrong nothing more is said.
    assert_refused("wait_for_origin: 5s\norigin: §a.cn", "origin: not a whole URL", "");
}

/// A secret may go to another machine in the open only by a word.
#[test]
fn headers_with_variables_need_tls_or_a_word() {
    let long =
        |url: &str, more: &str| format!("origin: {{urls: §'{url}', headers: {{X-Origin-Key: \"${{ORIGIN}}\"}}{more}}}");
    let message = "origin: headers with variables by plain http to `10.0.0.11`";
    assert_refused(&long("http://10.0.0.11", ""), message, "add `allow_insecure: true`");
    for good in [
        long("http://10.0.0.11", ", allow_insecure: true"),
        long("https://10.0.0.11", ""),
        long("http://127.0.0.1:1", ""),
        long("http://10.0.0.11", "").replace("X-Origin-Key", "X-A").replace("${ORIGIN}", "plain"),
    ] {
        model(&format!("assets: {{}}\n{}\n", good.replace('§', "")));
    }
}

#[test]
fn probes_ask_as_visitors_do() {
    for (name, problem, help) in [
        ("Cache-Control", "would change what the cache serves", "must not heal"),
        ("cache-control", "would change what the cache serves", "must not heal"),
        ("Pragma", "would change what the cache serves", "must not heal"),
        ("If-None-Match", "would change what the cache serves", "must not heal"),
        ("if-modified-since", "would change what the cache serves", "must not heal"),
        ("Content-Length", "is set by freshen itself", "delete it"),
        ("Connection", "is set by freshen itself", "delete it"),
        ("Transfer-Encoding", "is set by freshen itself", "delete it"),
        ("Range", "would ask for a part of the content", "proves nothing"),
    ] {
        let refused = |place: &str, before: &str, after: &str| {
            let keys = format!("{before}{{X-A: b, §{name}: c}}{after}");
            assert_refused(&keys, &format!("{place}: {name} {problem}"), help);
        };
        refused("verify.headers", "verify: {headers: ", "}");
        refused("verify.variants", "verify: {variants: [{}, ", "]}");
        refused("origin.headers", "origin: {urls: 'http://a.cn', headers: ", "}");
    }
    let own = "is set by freshen itself";
    assert_refused("verify: {headers: {§Host: a}}", &format!("verify.headers: Host {own}"), "delete it");
    let origin = |name: &str| format!("origin: {{urls: 'http://a.cn', headers: {{§{name}: a}}}}");
    assert_refused(&origin("Host"), &format!("origin.headers: Host {own}"), "give `host` of `origin`");
    let coding = "list it in `variants` of `verify`";
    assert_refused(&origin("Accept-Encoding"), &format!("origin.headers: Accept-Encoding {own}"), coding);
    let headers = "verify: {headers: {§Accept-Encoding: gzip}}";
    assert_refused(headers, &format!("verify.headers: Accept-Encoding {own}"), coding);
}

#[test]
fn headers_of_probes_cannot_forge_others() {
    for place in ["verify: {headers: H}", "verify: {variants: [H]}", "origin: {urls: 'https://a.cn', headers: H}"] {
        let refused = |headers: &str, message: &str| assert_refused(&place.replace('H', headers), message, "");
        refused("{§'X A': b}", "not a header name: `X A`");
        refused("{§'': b}", "not a header name: ``");
        refused("{X-A: b, §x-a: c}", "a header that is given twice: `x-a`");
        refused("{X-A: §\"b\\r\\nX-B: c\"}", "header `X-A`: control character in its value");
        refused("{X-A: §' b'}", "header `X-A`: blanks at the beginning or end of its value");
        refused("{X-A: §é}", "header `X-A`: a character in its value that is not ASCII");
        refused("{X-A: §[b]}", "header `X-A`: its value must be a text");
        refused("{X-A: §'${A-B}'}", "header `X-A`: `${…}` holds something else than the name of a variable");
        refused("{Authorization: §Basic}", "header `Authorization`: secrets must not stand in a manifest");
        refused("{X-Token: §a}", "header `X-Token`: secrets must not stand in a manifest");
    }
}

/// What stands in headers of probes may be a secret: of a line with a problem it is hidden, and messages do not repeat it.
#[test]
fn values_of_headers_are_never_shown() {
    let hash = sha('1');
    for text in [
        "assets: {}\nverify: {headers: {X-A: canary, X-A: canary}}\n".to_owned(),
        "assets: {}\nverify: {headers: {Pragma: canary}}\n".to_owned(),
        "assets: {}\nverify: {variants: [{Authorization: canary}]}\n".to_owned(),
        "assets: {}\nverify: {variants: canary}\n".to_owned(),
        "assets: {}\norigin: {urls: 'https://a.cn', headers: {X-Token: canary}}\n".to_owned(),
        "assets: {}\norigin: {urls: 'https://u:canary@a.cn/?canary'}\n".to_owned(),
        "assets: {}\norigin: https://u:canary@a.cn/\n".to_owned(),
        format!(
            "assets: {{'https://a.cn/x': {{hash: '{hash}', origin: {{urls: 'https://a.cn', headers: {{Host: canary}}}}}}}}\n"
        ),
        format!("assets: [{{url: 'https://a.cn/x', hash: '{hash}', origin: {{headers: {{X-A: canary}}, urls: x}}}}]\n"),
        "providers: {own: {kind: http-purge, endpoints: 'http://127.0.0.1', repurge_headers: {X-A: canary}}}\n"
            .to_owned(),
        "assets: {}\nverify: {variants: [{X-A: canary}]}: [\n".to_owned(),
        "assets: {}\nverify: {setle: 5s} # variants: [{X-A: canary}]\n".to_owned(),
        "assets: {}\norigin: {headers: {X-A: canary}\n".to_owned(),
    ] {
        let built = built(&text);
        assert!(built.model.is_none(), "{text}");
        let shown = render(&files(&text), &built.diagnostics, &built.hidden, false);
        assert!(!shown.contains("canary"), "{text}\n{shown}");
        assert!(!format!("{:?}", built.diagnostics).contains("canary"), "{text}\n{:#?}", built.diagnostics);
    }
}

#[test]
fn variables_of_probes_that_hold_no_value_are_warned_of() {
    let hash = sha('1');
    for keys in [
        "assets: {}\nverify: {headers: {X-Token: '${NOT_SET}'}}\n".to_owned(),
        "assets: {}\nverify: {variants: [{}, {X-Token: '${NOT_SET}'}]}\n".to_owned(),
        "assets: {}\norigin: {urls: 'https://a.cn', headers: {X-Token: '${NOT_SET}'}}\n".to_owned(),
        format!(
            "assets: {{'https://a.cn/x': {{hash: '{hash}', origin: {{urls: 'https://a.cn', headers: {{X-Token: '${{NOT_SET}}'}}}}}}}}\n"
        ),
    ] {
        let built = built(&keys);
        let found: Vec<&str> = built.diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(found, ["header `X-Token`: variable NOT_SET is not set"], "{keys}");
        assert!(built.model.is_some() && !built.uses_variables);
        let help = built.diagnostics[0].help.as_deref().unwrap_or_default();
        assert_eq!(help, "set it where freshen is started; without it no probe is made with it");
    }
}

#[test]
fn vantages_have_one_spelling_and_are_no_metadata_services() {
    for (written, message, help) in [
        ("127.1", "vantage 127.1: write it as 127.0.0.1", "one spelling"),
        ("127.1:80", "vantage 127.1:80: write it as 127.0.0.1:80", "one spelling"),
        ("0x7f000001", "vantage 0x7f000001: write it as 127.0.0.1", "one spelling"),
        ("'2001:db8::1'", "vantage 2001:db8::1: write it as [2001:db8::1]", "one spelling"),
        ("'[2001:DB8:0::1]:8443'", "vantage [2001:DB8:0::1]:8443: write it as [2001:db8::1]:8443", "one spelling"),
        ("'::FFFF:1.2.3.4'", "vantage ::FFFF:1.2.3.4: write it as [::ffff:102:304]", "one spelling"),
        ("256.1.1.1", "vantage: `256.1.1.1` is an odd spelling of an address", "four decimal numbers"),
        (
            "169.254.1.1",
            "vantage: `169.254.1.1` is a link-local address, where metadata services live",
            "an edge of your CDN",
        ),
        ("'[fe80::1]'", "vantage: `[fe80::1]` is a link-local address", "an edge of your CDN"),
        ("'[fd00:ec2::254]:80'", "vantage: `[fd00:ec2::254]` is a metadata service", "an edge of your CDN"),
        (
            "metadata.google.internal",
            "vantage: `metadata.google.internal` is a metadata service",
            "an edge of your CDN",
        ),
        ("https://a.cn", "vantage: `https://a.cn` is more than a host", "write a host or an address"),
        ("a.cn/x", "vantage: `a.cn/x` is more than a host", "write a host or an address"),
        ("'a.cn:99999'", "vantage: `99999` is not a port", "from 1 to 65535"),
        ("u@a.cn", "vantage: user name or password in a URL", ""),
        ("A.cn", "vantage: host `A.cn` has upper-case letters", "write `a.cn`"),
    ] {
        assert_refused(&format!("verify: {{vantage: §{written}}}"), message, help);
        assert_refused(&format!("verify: {{vantage: [10.0.0.1, §{written}]}}"), message, help);
    }
    let all = "vantage: `all` beside others";
    assert_refused("verify: {vantage: [10.0.0.1, §all]}", all, "write `vantage: all`");
    let twice = "vantage `10.0.0.1:80` is given twice";
    assert_refused("verify: {vantage: ['10.0.0.1:80', §'10.0.0.1:80']}", twice, "keep one of the two");
    let many: Vec<String> = (1..=16).map(|last| format!("10.0.0.{last}")).collect();
    let many = many.join(", ");
    assert_refused(&format!("verify: {{vantage: [{many}, §a.cn]}}"), "vantage: 17 of them, more than 16", "stand for");
    model(&format!("assets: {{}}\nverify: {{vantage: [{many}]}}\n"));
}

#[test]
fn hashes_are_compared_with_what_can_show_them() {
    let md5 = format!("md5:{}", "1".repeat(32));
    let site = |keys: &str, hash: &str| format!("{keys}\nassets: {{'https://a.cn/x': §'{hash}'}}");
    let header = "give `match: {header: NAME}`, with a header that holds the text behind `rev:`";
    let origin = "origin: http://10.0.0.1\n";
    for (keys, hash, message, help) in [
        ("verify: true", "rev:7", "verify.match: body cannot be compared with rev:…", header),
        ("verify: {match: etag}", "rev:7", "verify.match: etag cannot be compared with rev:…", header),
        (
            "verify: {match: body}",
            "etag:5d",
            "verify.match: body cannot be compared with etag:…",
            "give `match: etag`, or digests",
        ),
        (
            "verify: {match: etag}",
            &sha('1'),
            "verify.match: etag cannot be compared with sha256:… without origin",
            "give `origin`, which shows the ETag of the content, or `match: body`",
        ),
        (
            "verify: {match: {header: X-Rev}}",
            &md5,
            "verify.match: a header cannot be compared with md5:… without origin",
            "give `origin`, which shows the header of the content, or `rev:` hashes",
        ),
        (
            "verify: {match: {header: X-Rev}}",
            "etag:5d",
            "verify.match: a header cannot be compared with etag:… without origin",
            "give `origin`, which shows the header of the content, or `rev:` hashes",
        ),
    ] {
        assert_eq!(assert_problem(&site(keys, hash), message), help);
        // With an origin it is the origin that shows it, unless nothing can.
        let text = site(&format!("{origin}{keys}"), hash);
        if message.ends_with("without origin") {
            model(&text.replace('§', ""));
            let off = text.replace(&format!("§'{hash}'"), &format!("{{hash: §'{hash}', origin: none}}"));
            assert_problem(&off, message);
        } else {
            assert_problem(&text, message);
        }
        // One says it for all, also where a simple list is read line by line.
        let lines = format!("{keys}\nassets:\n  https://a.cn/x: §{hash}\n  https://a.cn/y: {hash}\n");
        assert_problem(&lines, message);
        let listed = format!("{keys}\nassets:\n- url: https://a.cn/x\n  hash: §{hash}\n");
        assert_problem(&listed, message);
    }
    for (keys, hash) in [
        ("verify: {match: {header: X-Rev}}", "rev:7"),
        ("verify: {match: etag}", "etag:5d"),
        ("verify: {match: etag}", md5.as_str()),
        ("verify: true", "etag:5d"),
        ("origin: http://10.0.0.1", "rev:7"),
        ("verify: false", "rev:7"),
    ] {
        model(&site(keys, hash).replace('§', ""));
    }
    let paths = format!("base_url: https://a.cn\nverify: {{match: etag}}\nassets:\n  x: §{}\n", sha('1'));
    assert_problem(&paths, "verify.match: etag cannot be compared with sha256:… without origin");
    let sources = "base_url: https://a.cn\nverify: {match: etag}\nsources: [{directory: §public}]\n";
    assert_problem(sources, "verify.match: etag cannot be compared with blake3:… without origin");
}

#[test]
fn upstreams_are_providers_and_lead_to_the_origin() {
    let upstreams = |list: &[(&str, &str)]| {
        let provider = |(name, upstream): &(&str, &str)| {
            format!("  {name}: {{kind: http-purge, endpoints: 'http://127.0.0.1', upstream: {upstream}}}\n")
        };
        format!("providers:\n{}", list.iter().map(provider).collect::<String>())
    };
    let good = model(&upstreams(&[("edge", "shield"), ("far", "shield"), ("shield", "cdn")]));
    let found: Vec<Option<&str>> = good.providers.iter().map(|provider| provider.upstream.as_deref()).collect();
    assert_eq!(found, [None, Some("shield"), Some("shield"), Some("cdn"), None]);
    let help = "the one that is next to the origin has no `upstream`";
    for (list, message) in [
        (vec![("edge", "§shield"), ("shield", "edge")], "upstream: edge and shield name each other"),
        (vec![("edge", "§edge")], "upstream: edge names itself"),
        (vec![("a", "§c"), ("b", "a"), ("c", "b")], "upstream: a, c, b name each other in a circle"),
        // What leads into a circle is no part of it.
        (vec![("a", "b"), ("b", "§c"), ("c", "b")], "upstream: b and c name each other"),
    ] {
        assert_eq!(assert_problem(&upstreams(&list), message), help);
    }
    let help =
        assert_problem(&upstreams(&[("edge", "§shild"), ("shield", "cdn")]), "provider `shild` is not configured");
    assert_eq!(help, "did you mean `shield`?");
    assert_problem(&upstreams(&[("edge", "§[shield]")]), "`upstream` must be a text, found a list");
}

#[test]
fn check_takes_the_keys_and_the_digest_of_a_plan_knows_none_of_them() {
    let digest = |provider: &str, keys: &str| {
        let caches = format!(
            "providers:\n  edge: {{kind: http-purge, endpoints: 'http://127.0.0.1:9', hosts: [a.cn]{provider}}}\n  shield: {{kind: \
             http-purge, endpoints: 'http://127.0.0.1:10', hosts: [a.cn]}}\n"
        );
        let site = format!("{keys}assets:\n  https://a.cn/x: {}\n", sha('1'));
        let bench = Bench::new().file("manifests/providers.yaml", caches).file("manifests/site.yaml", site);
        bench.run(&["check"]).exits(0);
        bench.run(&["plan", "--format", "json"]).exits(0).json()["digest"].clone()
    };
    let keys = "origin: http://127.0.0.1:11\nwait_for_origin: 0s\nverify: {settle: 100ms}\n";
    let plain = digest("", "");
    assert!(plain.is_string());
    assert_eq!(digest(", upstream: shield", keys), plain);
}
