//! Assets: from paths, URLs and ids with hashes to the entries of the model.
//!
//! Joins paths to `base_url`, matches URLs to providers, merges what is listed twice. Sources are read by what the
//! caller hands in.

mod multiplied;
mod repeats;
mod short_cut;
mod sources;
mod targets;
mod terms;
mod written;

use std::collections::HashSet;

use super::diagnostic::{Diagnostic, Diagnostics, Span};
use super::fields::{self, Fields};
use super::file_source::Expand;
use super::hash;
use super::head::{Head, List};
use super::hints;
use super::hosts::HostRefusal;
use super::node::{Key, Node, Value, described, shown};
use super::priorities::Priorities;
use super::proof_terms::{ManifestTerms, TermsTable};
use super::providers::Providers;
use super::scan;
use super::shape::{self, ASSET, SHORT_ASSET};
use super::source::SourceFile;
use super::url::{self, BaseUrl};
use super::url_forms::{Form, UrlForms};
use crate::core::arena::is_digest;
use crate::core::entries::{Draft, Entries};
use crate::core::model::{Location, Priority};
use crate::core::proof_terms::ProofTerms;
use crate::core::target::{ContentHash, Target};
use multiplied::{Carriers, Multiplied};
use repeats::Repeats;
use short_cut::{PlainHash, Said, ShortCut};
use written::Written;

/// Longest asset id, in bytes.
const MAX_ASSET_ID_BYTES: usize = 256;

/// What the assets of all manifests come to.
#[derive(Default)]
pub(crate) struct Collected {
    /// Unique and in order of provider and target.
    pub(crate) entries: Entries,
    /// Targets that base URLs, providers and further URLs made of assets.
    pub(crate) multiplied: u64,
    /// What is asked of origins and edges, each once.
    pub(crate) proof_terms: Vec<ProofTerms>,
    /// Indexes of what each manifest asks for its assets, in the order of their heads.
    pub(crate) terms: Vec<Option<usize>>,
}

/// Reads the assets of all manifests, then their sources.
///
/// # Errors
/// Files with a list in `lists` that the scanner could not read after all; no source was read then.
pub(crate) fn collect(
    heads: &[Head<'_, '_>],
    (files, lists): (&[SourceFile], &[List]),
    (providers, max_targets): (&Providers, u64),
    expand: &mut dyn Expand,
    report: &mut Diagnostics,
) -> Result<Collected, Vec<usize>> {
    let mut draft = Draft::default();
    let mut multiplied = Multiplied::new(max_targets);
    let mut table = TermsTable::default();
    let mut others = Vec::new();
    let mut owns = Vec::with_capacity(heads.len());
    for head in heads {
        let mut lister = Lister::new(head, providers, report, (&mut draft, &mut multiplied, &mut table));
        match &lists[head.file] {
            List::Yaml => lister.run(head),
            List::PassedOver(_) => {}
            List::Lines(list) => match lister.scan(&files[head.file], list) {
                Ok(()) => {}
                Err(scan::ScanStop::NotSimple) => others.push(head.file),
                Err(scan::ScanStop::Unreadable(cause)) => {
                    lister.report.push(Diagnostic::unplaced(head.file, format!("the file {cause}")));
                }
            },
        }
        owns.push(lister.own);
    }
    if !others.is_empty() {
        return Err(others);
    }
    let mut sources = Vec::new();
    let mut manifests = Vec::with_capacity(owns.len());
    for (head, own) in heads.iter().zip(owns) {
        let mut lister =
            Lister { own, providers, report, draft: &mut draft, multiplied: &mut multiplied, table: &mut table };
        lister.warn_of_browsers();
        lister.refuse_idle_wait();
        sources.extend(lister.sources(head, &files[head.file], expand));
        if !matches!(lists[head.file], List::PassedOver(_)) {
            lister.own.priorities.warn_of_unmatched(head.file, lister.report);
        }
        manifests.push(lister.own);
    }
    if multiplied.is_over() {
        multiplied.tell(heads, report);
        return Ok(Collected { multiplied: multiplied.count(), ..Collected::default() });
    }
    let mut repeats = Repeats::new(&manifests, sources, files, providers);
    let entries = draft.finish(|repeat| repeats.take(repeat, report));
    repeats.tell(expand, report);
    let terms = manifests.iter().map(|own| own.usual_terms).collect();
    Ok(Collected { entries, multiplied: multiplied.count(), proof_terms: table.into_all(), terms })
}

/// Which providers are asked for by name.
enum Chosen {
    /// No name is given: matching by host.
    Open,
    /// Some name is wrong, which is reported already.
    Broken,
    /// These.
    Named(Vec<usize>),
}

/// What an asset is called.
#[derive(Clone, Copy)]
enum Name<'n> {
    Path(&'n str),
    Url(&'n str),
    Id(&'n str),
}

impl<'n> Name<'n> {
    const fn text(&self) -> &'n str {
        match self {
            Self::Path(text) | Self::Url(text) | Self::Id(text) => text,
        }
    }
}

/// One asset of a manifest.
struct Asset<'n> {
    name: Name<'n>,
    span: Span,
    /// `None` if it is wrong, which is reported already.
    hash: Option<ContentHash>,
    /// `None`: as patterns say.
    priority: Option<Priority>,
    chosen: Chosen,
    /// Texts of further URLs.
    extra_urls: &'n [Node<'n>],
    /// What messages call the file of a source that it is.
    file: Option<String>,
    /// Index of what is asked of its origin and edges.
    terms: Option<usize>,
}

impl<'n> Asset<'n> {
    const fn new(name: Name<'n>, span: Span) -> Self {
        Self { name, span, hash: None, priority: None, chosen: Chosen::Open, extra_urls: &[], file: None, terms: None }
    }
}

/// `base_url` of a manifest.
enum Bases {
    Missing,
    Broken,
    Given(Vec<BaseUrl>),
}

/// What holds for all assets of one manifest.
struct OwnAssets {
    file: usize,
    bases: Bases,
    chosen: Chosen,
    forms: UrlForms,
    priorities: Priorities,
    /// What is asked of origins and edges, unless an asset says otherwise; and its index.
    proof: ManifestTerms,
    usual_terms: Option<usize>,
    /// The index for `etag:` hashes, as far as it is known.
    etag_terms: Option<usize>,
    /// What hashes cannot be compared with, as far as it is reported already.
    hashes_reported: HashSet<String>,
    /// Hosts whose lack of a provider is reported already, by the provider that was named.
    hosts_reported: HashSet<(Option<usize>, String)>,
    base_reported: bool,
    /// Names that browsers may spell otherwise.
    written: Written,
    /// How often paths are listed whose asset names no provider.
    carriers: Carriers,
}

impl OwnAssets {
    /// The priority of an asset that has none of its own.
    fn priority(&self, name: &str) -> Priority {
        self.priorities.of(name).unwrap_or_default()
    }

    /// Shows `each` every URL below the bases for a path; for that of a file, also as browsers spell it.
    fn urls(&self, path: &str, is_file: bool, each: &mut dyn FnMut(String)) {
        let Bases::Given(bases) = &self.bases else { return };
        for base in bases {
            let mut join = |form: Form<'_>| match form {
                Form::Below(rest) => each(base.join(rest)),
                Form::Bare => base.bare().into_iter().for_each(|bare| each(bare.to_owned())),
            };
            if is_file {
                self.forms.each_of_file(path, &mut join);
            } else {
                self.forms.each(path, &mut join);
            }
        }
    }
}

/// Lists the entries of one manifest.
struct Lister<'r> {
    own: OwnAssets,
    providers: &'r Providers,
    report: &'r mut Diagnostics,
    draft: &'r mut Draft,
    multiplied: &'r mut Multiplied,
    table: &'r mut TermsTable,
}

impl<'r> Lister<'r> {
    fn new(
        head: &Head<'_, '_>,
        providers: &'r Providers,
        report: &'r mut Diagnostics,
        (draft, multiplied, table): (&'r mut Draft, &'r mut Multiplied, &'r mut TermsTable),
    ) -> Self {
        let proof = ManifestTerms::read(head.file, &head.fields, report);
        let usual_terms = table.index(proof.usual.clone());
        let own = OwnAssets {
            file: head.file,
            bases: Bases::Missing,
            chosen: Chosen::Open,
            forms: UrlForms::read(head.file, &head.fields, report),
            priorities: Priorities::read(head.file, &head.fields, report),
            proof,
            usual_terms,
            etag_terms: None,
            hashes_reported: HashSet::new(),
            hosts_reported: HashSet::new(),
            base_reported: false,
            written: Written::default(),
            carriers: Carriers::default(),
        };
        let mut new = Self { own, providers, report, draft, multiplied, table };
        new.own.bases = new.bases(&head.fields);
        new.own.chosen = new.chosen(&head.fields);
        new.own.carriers = new.usual_carriers();
        new
    }

    fn run(&mut self, head: &Head<'_, '_>) {
        match head.fields.node("assets").map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.iter().for_each(|(key, node)| self.short(key, node)),
            Some(Value::List(list)) => list.iter().for_each(|node| self.long(node)),
            _ => {}
        }
    }

    /// Reads a simple list.
    fn scan(&mut self, source: &SourceFile, list: &scan::ListHead) -> Result<(), scan::ScanStop> {
        let short_cuts = self.short_cuts();
        scan::each(source, list, &mut |item| {
            let (name, span) = item.name;
            let (hash, hash_span) = item.hash;
            let is_path = item.word == "path" && !short_cuts.is_empty();
            if is_path && url::is_plain_path(name) && is_digest(hash) {
                if self.multiplied.is_over() {
                    self.multiplied.admits(self.own.file, self.own.carriers.targets(&self.own.forms, name, false));
                    return;
                }
                let place = Location { manifest: self.own.file, line: span.line, column: span.column };
                if short_cuts.iter().all(|cut| cut.fits(name)) {
                    let forms = &self.own.forms;
                    if !self.multiplied.admits(self.own.file, self.own.carriers.targets(forms, name, false)) {
                        return;
                    }
                    let said = Said { priority: self.own.priority(name), place, terms: self.own.usual_terms };
                    let listed = (PlainHash::Text(hash), said);
                    let mut list = |cut: &ShortCut| cut.list(self.draft, forms, name, listed);
                    return short_cuts.iter().for_each(&mut list);
                }
            }
            if !item.is_listed {
                return self.short_hash(name, span, hash, hash_span);
            }
            let hash = self.hash(hash, hash_span);
            let terms = self.terms(hash.as_ref(), hash_span);
            let name = if item.word == "url" { Name::Url(name) } else { Name::Path(name) };
            self.list(&Asset { hash, terms, ..Asset::new(name, span) });
        })
    }

    fn refuse(&mut self, span: Span, refusal: HostRefusal) {
        let diagnostic = Diagnostic::error(self.own.file, span, refusal.message);
        self.report.push(match refusal.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    /// As [`Lister::refuse`]; names the file, or the line of a list, where many stand at one place.
    fn refuse_asset(&mut self, asset: &Asset<'_>, span: Span, refusal: HostRefusal) {
        let message = match &asset.file {
            Some(file) => format!("{file}: {}", refusal.message),
            None => refusal.message,
        };
        self.refuse(span, HostRefusal { message, ..refusal });
    }

    fn bases(&mut self, fields: &Fields<'_, '_>) -> Bases {
        let Some(texts) = fields.texts("base_url") else {
            return if fields.is_broken("base_url") { Bases::Broken } else { Bases::Missing };
        };
        let mut sound = true;
        let mut bases = Vec::new();
        for (text, span) in texts {
            match BaseUrl::check(text) {
                Ok(base) => {
                    self.warn_spelling(span, &base.join(""));
                    bases.push(base);
                }
                Err(refusal) => {
                    sound = false;
                    self.refuse(span, refusal);
                }
            }
        }
        if sound { Bases::Given(bases) } else { Bases::Broken }
    }

    fn chosen(&mut self, fields: &Fields<'_, '_>) -> Chosen {
        let Some(names) = fields.texts("provider") else {
            return if fields.is_broken("provider") { Chosen::Broken } else { Chosen::Open };
        };
        let count = names.len();
        let mut found: Vec<usize> =
            names.into_iter().filter_map(|name| self.providers.named(self.own.file, name, self.report)).collect();
        if found.len() < count {
            return Chosen::Broken;
        }
        found.sort_unstable();
        found.dedup();
        Chosen::Named(found)
    }

    /// An asset of the short form: a key and a hash, or a key and a map.
    fn short(&mut self, key: &Key<'_>, node: &Node<'_>) {
        let text = key.text.as_ref();
        if let Value::Scalar { text: hash, .. } = &node.value {
            return self.short_hash(text, key.span, hash, node.span);
        }
        let Some(name) = self.short_name(text, key.span) else { return };
        let mut asset = Asset::new(name, key.span);
        if let Value::Map(entries) = &node.value {
            let fields = fields::read(self.own.file, &SHORT_ASSET, Some(&[]), key.span, entries, self.report);
            self.common(&fields, &mut asset);
        } else {
            let message = format!("`{}` needs a hash, found {}", shown(text), described(node));
            self.refuse(node.span, HostRefusal::new(message).help("write for example `sha256:` and 64 hex digits"));
        }
        self.list(&asset);
    }

    /// An asset of the short form with nothing but a hash.
    fn short_hash(&mut self, text: &str, span: Span, hash: &str, hash_span: Span) {
        let Some(name) = self.short_name(text, span) else { return };
        let hash = self.hash(hash, hash_span);
        let terms = self.terms(hash.as_ref(), hash_span);
        self.list(&Asset { hash, terms, ..Asset::new(name, span) });
    }

    /// What a key of the short form names, unless it is wrong.
    fn short_name<'n>(&mut self, text: &'n str, span: Span) -> Option<Name<'n>> {
        if url::looks_like_url(text) {
            return Some(Name::Url(text));
        }
        if text.is_empty() {
            let help = "write the whole URL if you mean `base_url` itself";
            self.refuse(span, HostRefusal::new("a path that is empty").help(help));
            return None;
        }
        if url::is_nearly_url(text) {
            let refusal = HostRefusal::new("a path that begins like a URL: a URL with a slash missing?")
                .help("write the whole URL, with `https://` or `http://`; a path like this is given with `path`");
            self.refuse(span, refusal);
            return None;
        }
        Some(Name::Path(text))
    }

    /// An asset of the list form.
    fn long(&mut self, node: &Node<'_>) {
        let Some(entries) = fields::entries_or(self.own.file, "an asset", node, Some(hints::ASSET_FORMS), self.report)
        else {
            return;
        };
        if hints::is_short_asset(entries) {
            let help = "leave the `-` out, or write `- {url: URL, hash: HASH}`";
            let message = "an asset of the short form in a list of maps";
            return self.refuse(node.span, HostRefusal::new(message).help(help));
        }
        let fields = fields::read(self.own.file, &ASSET, Some(&[]), node.span, entries, self.report);
        let named: Vec<&str> = ["path", "url", "asset_id"].into_iter().filter(|key| fields.has(key)).collect();
        if named.len() != 1 {
            let message = match named.as_slice() {
                [] => "this asset has no name".to_owned(),
                several => format!("this asset has several names: {}", shape::quoted(several)),
            };
            let help = "give exactly one of `path`, `url` and `asset_id`; further URLs go into `extra_urls`";
            self.refuse(node.span, HostRefusal::new(message).help(help));
        }
        let name = fields
            .text("path")
            .map(|(text, span)| (Name::Path(text), span))
            .or_else(|| fields.text("url").map(|(text, span)| (Name::Url(text), span)))
            .or_else(|| fields.text("asset_id").map(|(text, span)| (Name::Id(text), span)));
        let sound = named.len() == 1 && name.is_some();
        let (name, span) = name.unwrap_or((Name::Path("-"), node.span));
        let mut asset = Asset::new(name, span);
        self.common(&fields, &mut asset);
        if sound {
            self.list(&asset);
        }
    }

    /// The keys that both forms share.
    fn common<'n>(&mut self, fields: &Fields<'n, '_>, asset: &mut Asset<'n>) {
        let (hash, hash_span) = fields.text("hash").unzip();
        let hash_span = hash_span.unwrap_or(asset.span);
        asset.hash = hash.and_then(|text| self.hash(text, hash_span));
        asset.terms = self.terms_of_asset(fields, asset.hash.as_ref(), hash_span);
        asset.priority = fields.text("priority").map(|(word, _)| match word {
            "high" => Priority::High,
            "low" => Priority::Low,
            _ => Priority::Normal,
        });
        asset.chosen = self.chosen(fields);
        asset.extra_urls = fields.items("extra_urls");
    }

    fn hash(&mut self, text: &str, span: Span) -> Option<ContentHash> {
        match hash::parse_written(text) {
            Ok(hash) => Some(hash),
            Err(problem) => {
                self.refuse(span, HostRefusal::new(problem.message).help(problem.help));
                None
            }
        }
    }

    /// Lists all targets of an asset.
    fn list(&mut self, asset: &Asset<'_>) {
        if !self.admits(asset) {
            return;
        }
        match asset.name {
            Name::Id(id) => self.list_id(asset, id),
            Name::Url(text) => self.list_url(asset, text, asset.span),
            Name::Path(path) => self.list_path(asset, path),
        }
        for (text, span) in fields::texts_of(asset.extra_urls) {
            self.list_url(asset, text, span);
        }
    }

    fn list_path(&mut self, asset: &Asset<'_>, path: &str) {
        if let Err(refusal) = url::check_path(path) {
            return match asset.file {
                Some(_) => self.refuse_asset(asset, asset.span, refusal),
                None => self.refuse(asset.span, refusal),
            };
        }
        match &self.own.bases {
            Bases::Given(_) => {}
            Bases::Broken => return,
            Bases::Missing => {
                if !std::mem::replace(&mut self.own.base_reported, true) {
                    let message = format!("path `{}`, but the manifest has no `base_url`", shown(path));
                    self.refuse(asset.span, HostRefusal::new(message).help("give `base_url`, or write the whole URL"));
                }
                return;
            }
        }
        if asset.file.is_none() {
            self.warn_path_spelling(asset.span, path);
            self.own.written.take(asset.span, path);
        }
        let mut urls = Vec::new();
        self.own.urls(path, asset.file.is_some(), &mut |url| urls.push(url));
        for text in urls {
            match url::check(&text) {
                Ok(parts) => self.list_target(asset, asset.span, &Target::url(text.as_str()), Some(parts.host)),
                Err(refusal) => return self.refuse_asset(asset, asset.span, refusal),
            }
        }
    }

    fn list_url(&mut self, asset: &Asset<'_>, text: &str, span: Span) {
        match url::check(text) {
            Ok(parts) => {
                self.warn_spelling(span, text);
                self.own.written.take(span, text);
                self.list_target(asset, span, &Target::url(text), Some(parts.host));
            }
            Err(refusal) => self.refuse(span, refusal),
        }
    }

    fn list_id(&mut self, asset: &Asset<'_>, id: &str) {
        if let Err(refusal) = check_id(id) {
            return self.refuse(asset.span, refusal);
        }
        self.list_target(asset, asset.span, &Target::asset_id(id), None);
    }
}

/// Checks a vendor's asset id.
pub(super) fn check_id(id: &str) -> Result<(), HostRefusal> {
    let is_sound = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\'));
    if is_sound && id.len() <= MAX_ASSET_ID_BYTES {
        return Ok(());
    }
    let help =
        format!("copy the id from the vendor: visible ASCII without slashes, {MAX_ASSET_ID_BYTES} bytes at most");
    Err(HostRefusal::new("not an asset id").help(help))
}
