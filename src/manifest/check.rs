//! All manifests of a run to one model, or to everything that is wrong with them.
//!
//! Reads each file's own keys; providers and assets have modules of their own.

use super::assets::{self, Collected};
use super::collapse;
use super::diagnostic::{Diagnostic, Diagnostics, Hidden, Span};
use super::fields;
use super::file_source::{Expand, NoSources};
use super::guard;
use super::head::{Head, List};
use super::load;
use super::nearest::nearest;
use super::node::{Document, Node, Value};
use super::providers::Providers;
use super::recorded::check_own_name;
use super::redact::redact;
use super::scan;
use super::shape::{self, MANIFEST};
use super::source::SourceFile;
use super::variables::{self, Variables};
use crate::core::model::{Manifest, Model, OnNew, OnRemoved};
use crate::vendor::{VENDORS, Vendors};

/// The version of the format that is read.
const VERSION: u64 = 1;
const LISTS_NOTHING: &str = "neither `assets`, `sources` nor `providers` in this manifest";
const LIST_SOMETHING: &str = "list `assets`, or delete the file; to say that there are none write `assets: {}`";
/// Longest name of a manifest, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// How the assets of a file were come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListReading {
    /// The whole file was read as YAML.
    Yaml,
    /// They are a simple list at its end, read line by line.
    Lines,
    /// They are a simple list that was passed over.
    PassedOver,
}

/// What building a model takes from outside of manifests.
#[derive(Clone, Copy)]
pub struct BuildOptions<'o> {
    /// Most targets that base URLs, providers and further URLs may make of assets.
    pub max_targets: u64,
    /// What stands for `${NAME}`.
    pub variables: Variables<'o>,
    /// Which kinds of providers there are.
    pub vendors: Vendors,
}

/// [`BuildOptions::max_targets`] where nothing else is asked for.
pub const MAX_TARGETS: u64 = 1_000_000;

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        Self { max_targets: MAX_TARGETS, variables: &|_| None, vendors: VENDORS }
    }
}

/// What came of some manifests.
#[derive(Default)]
pub struct Built {
    /// The model; `None` if and only if some diagnostic is an error.
    pub model: Option<Model>,
    /// How the assets of each file were come by.
    pub lists: Vec<ListReading>,
    /// Whether values of variables play a part.
    pub uses_variables: bool,
    /// Targets that base URLs, providers and further URLs made of assets.
    pub multiplied: u64,
    /// All problems, in order of file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// Texts that look like secrets and must not be shown with the diagnostics.
    pub hidden: Vec<Hidden>,
}

/// As [`build_with`], for manifests without `sources`.
pub fn build(files: &[SourceFile]) -> Built {
    build_with(files, BuildOptions::default(), &mut NoSources)
}

/// As [`build_with`], but the assets of files in `passed_over` are left out where they are a simple list: for files of which
/// [`ListReading::Lines`] was returned when they had the same bytes.
pub fn build_partly(
    files: &[SourceFile],
    passed_over: &[bool],
    options: BuildOptions<'_>,
    expand: &mut dyn Expand,
) -> Built {
    let list = |(source, &is_passed_over)| match scan::head(source) {
        Some(head) if is_passed_over => List::PassedOver(head),
        Some(head) => List::Lines(head),
        None => List::Yaml,
    };
    let mut lists: Vec<List> = files.iter().zip(passed_over).map(list).collect();
    // Simple lists are read by the scanner. Where one turns out to be anything else, all begins anew without it.
    loop {
        match attempt(files, &lists, options, expand) {
            Ok(built) => return built,
            Err(others) => others.into_iter().for_each(|file| lists[file] = List::Yaml),
        }
    }
}

impl List {
    const fn reading(&self) -> ListReading {
        match self {
            Self::Yaml => ListReading::Yaml,
            Self::Lines(_) => ListReading::Lines,
            Self::PassedOver(_) => ListReading::PassedOver,
        }
    }
}

/// Checks all manifests together. Their order is kept; entries and providers are sorted. `sources` are read by `expand`,
/// each once unless a URL is listed twice.
pub fn build_with(files: &[SourceFile], options: BuildOptions<'_>, expand: &mut dyn Expand) -> Built {
    build_partly(files, &vec![false; files.len()], options, expand)
}

/// Reads the files; those with a list in `lists` by the scanner. Or the files that it could not read.
fn attempt(
    files: &[SourceFile],
    lists: &[List],
    options: BuildOptions<'_>,
    expand: &mut dyn Expand,
) -> Result<Built, Vec<usize>> {
    let mut report = Diagnostics::default();
    let mut others = Vec::new();
    let mut trees: Vec<Option<Document<'_>>> = Vec::with_capacity(files.len());
    for (file, source) in files.iter().enumerate() {
        let errors = report.errors();
        match &lists[file] {
            List::Yaml => trees.push(whole(file, source, &mut report)),
            List::Lines(head) | List::PassedOver(head) => {
                trees.push(load::load(file, head.text.as_bytes(), &mut report));
                if report.errors() > errors {
                    others.push(file);
                }
            }
        }
    }
    if !others.is_empty() {
        return Err(others);
    }
    let mut uses_variables = false;
    for (file, tree) in trees.iter_mut().enumerate() {
        let Some(tree) = tree else { continue };
        uses_variables |= variables::replace(file, &mut tree.root, options, &mut report);
    }
    let read = files.iter().zip(&trees).enumerate();
    let heads: Vec<Head<'_, '_>> =
        read.filter_map(|(file, (source, tree))| head(file, source, &tree.as_ref()?.root, &mut report)).collect();
    check_names(&heads, &mut report);
    let providers = Providers::collect(&heads, heads.len() < files.len(), options.vendors, &mut report);
    let assets = assets::collect(&heads, (files, lists), (&providers, options.max_targets), expand, &mut report)?;
    let Collected { entries, multiplied, proof_terms, terms } = assets;
    collapse::check_providers(&heads, &providers, &entries, &mut report);
    let manifests = heads.into_iter().zip(terms).map(|(head, terms)| Manifest { terms, ..head.manifest });
    let model = (!report.has_errors()).then(|| Model {
        manifests: manifests.collect(),
        providers: providers.drafts.into_iter().filter_map(|draft| draft.config).collect(),
        entries,
        proof_terms,
    });
    let mut diagnostics = report.finish();
    let hidden = redact(files, &trees, &mut diagnostics);
    let lists = lists.iter().map(List::reading).collect();
    Ok(Built { model, lists, uses_variables, multiplied, diagnostics, hidden })
}

/// Reads a file as YAML.
fn whole<'a>(file: usize, source: &'a SourceFile, report: &mut Diagnostics) -> Option<Document<'a>> {
    match source.text() {
        Ok(text) => load::load(file, text, report),
        Err(cause) => {
            report.push(Diagnostic::unplaced(file, format!("the file {cause}")));
            None
        }
    }
}

fn head<'n, 'a>(
    file: usize,
    source: &SourceFile,
    tree: &'n Node<'a>,
    report: &mut Diagnostics,
) -> Option<Head<'n, 'a>> {
    if !shows_manifest(tree) {
        report.push_only(no_manifest(file, tree));
        return None;
    }
    let entries = fields::entries(file, "a manifest", tree, report)?;
    let fields = fields::read(file, &MANIFEST, Some(&[]), tree.span, entries, report);
    // A file that says nothing must not pass for one that lists nothing (Y5); `assets: {}` says so.
    if !entries.iter().any(|(key, _)| ["assets", "providers", "sources"].contains(&key.text.as_ref())) {
        report.push(Diagnostic::error(file, tree.span, LISTS_NOTHING).help(LIST_SOMETHING));
    }
    if let Some(version) = fields.integer("version").filter(|version| *version != VERSION) {
        let span = fields.node("version").map_or(tree.span, |node| node.span);
        report.push(
            Diagnostic::error(file, span, format!("version {version} of the format is not known"))
                .help(format!("this freshen reads version {VERSION}; use a newer one")),
        );
    }
    let (name, name_span) = match fields.text("name") {
        Some((name, span)) => (name, span),
        None => (source.tree.path.as_str(), tree.span),
    };
    if name.len() > MAX_NAME_BYTES && fields.has("name") {
        let message = format!("a name of {} bytes, more than {MAX_NAME_BYTES}", name.len());
        report.push(Diagnostic::error(file, name_span, message).help("shorten it"));
    }
    if let Some(problem) = check_own_name(name).err().filter(|_| fields.has("name")) {
        report.push(Diagnostic::error(file, name_span, format!("`name` is none of a manifest: {problem}")));
    }
    let manifest = Manifest {
        name: name.to_owned(),
        path: source.path.clone(),
        namespace: None,
        tree: source.tree.clone(),
        on_new: if fields.text("on_new").is_some_and(|(word, _)| word == "adopt") {
            OnNew::Adopt
        } else {
            OnNew::Purge
        },
        on_removed: if fields.text("on_removed").is_some_and(|(word, _)| word == "forget") {
            OnRemoved::Forget
        } else {
            OnRemoved::Purge
        },
        guard: guard::of(file, &fields, report),
        collapse: collapse::of(file, &fields, report),
        terms: None,
    };
    Some(Head { file, fields, manifest, name_span })
}

/// Whether a tree has a key at its top that manifests have, and other files do not.
fn shows_manifest(tree: &Node<'_>) -> bool {
    matches!(&tree.value, Value::Map(entries) if entries.iter().any(|(key, _)| load::shows_manifest(key, tree.span)))
}

/// What is wrong with a file of any other kind, without its text: it may hold secrets.
fn no_manifest(file: usize, tree: &Node<'_>) -> Diagnostic {
    let point = Span { end: tree.span.start, ..tree.span };
    let (message, keys) = match &tree.value {
        Value::Map(entries) => (LISTS_NOTHING, entries.as_slice()),
        Value::List(_) => ("a manifest must be a map, found a list", &[][..]),
        Value::Scalar { .. } | Value::Null => ("a manifest must be a map, found a text", &[][..]),
    };
    let known = || MANIFEST.keys.iter().map(|spec| spec.key).filter(|key| shape::is_of_manifests(key));
    let help = match keys.iter().find_map(|(key, _)| nearest(&key.text, known())) {
        Some(word) if keys.iter().any(|(key, _)| key.text == word) => {
            format!("`{word}` must begin a line: a manifest has its keys there, without anything before them")
        }
        Some(word) => format!("did you mean `{word}`? {LIST_SOMETHING}"),
        None => LIST_SOMETHING.to_owned(),
    };
    Diagnostic::error(file, point, message).help(help).concealed()
}

/// The state knows manifests by name, so no two may share one.
fn check_names(heads: &[Head<'_, '_>], report: &mut Diagnostics) {
    let mut first = std::collections::HashMap::new();
    for head in heads {
        if let Some(earlier) = first.insert(head.manifest.name.as_str(), head) {
            let name = super::node::shown(&head.manifest.name);
            report.push(
                Diagnostic::error(head.file, head.name_span, format!("two manifests are called `{name}`"))
                    .label("called so again")
                    .help("give each a `name` of its own")
                    .related(earlier.file, earlier.name_span, "first called so here"),
            );
        }
    }
}
