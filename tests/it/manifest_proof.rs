//! What manifests ask of origins and edges: `origin`, `wait_for_origin`, `verify` and `upstream`.

use freshen::core::model::Model;
use freshen::core::proof_terms::{Comparison, Origin, ProofTerms, Vantage, Verify};
use freshen::manifest::{BuildOptions, Built, Expand, FileSource, Found, FoundFile, SourceFile, build_with};

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

/// Without a word about it, `etag:` hashes are compared with the ETag and all others by their body.
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
