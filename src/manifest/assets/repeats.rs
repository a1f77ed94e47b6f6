//! What is listed twice: which of it is a mistake, and the names of the files where a source lists it.
//!
//! Sources are read once more for the names, since nothing of them is kept but the entries.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::OwnAssets;
use crate::core::entries::Repeat;
use crate::core::model::Location;
use crate::core::target::{ContentHash, Scope};
use crate::manifest::checksums::ChecksumProblem;
use crate::manifest::diagnostic::{Diagnostic, Diagnostics};
use crate::manifest::file_source::{Expand, FileSource, Found, FoundFile};
use crate::manifest::file_url::url_path;
use crate::manifest::load;
use crate::manifest::node::shown;
use crate::manifest::providers::Providers;
use crate::manifest::source::SourceFile;

/// Most that are looked into; the others are reported without the names of files.
const MAX_KEPT: usize = 1000;
/// Most files that are kept of one URL.
const MAX_NAMESAKES: usize = 8;

/// Everything that is listed twice and that a source has a part in.
pub(super) struct Repeats<'c> {
    owns: &'c [OwnAssets],
    files: &'c [SourceFile],
    providers: &'c Providers,
    sources: BTreeMap<Location, FileSource>,
    kept: Vec<Repeat>,
}

/// A file that a source lists under a URL.
struct Namesake {
    path: String,
    line: Option<u64>,
    hash: ContentHash,
}

/// The files of sources, by place and URL.
type Namesakes = BTreeMap<Location, HashMap<String, Vec<Namesake>>>;

impl<'c> Repeats<'c> {
    pub(super) fn new(
        owns: &'c [OwnAssets],
        sources: Vec<FileSource>,
        files: &'c [SourceFile],
        providers: &'c Providers,
    ) -> Self {
        let sources = sources.into_iter().map(|source| (source.place, source)).collect();
        Self { owns, files, providers, sources, kept: Vec::new() }
    }

    /// Takes what is listed twice; reports it at once where no source has a part in it.
    pub(super) fn take(&mut self, repeat: Repeat, report: &mut Diagnostics) {
        let has_source = [repeat.first.place, repeat.again.place].iter().any(|place| self.sources.contains_key(place));
        if has_source && self.kept.len() < MAX_KEPT {
            self.kept.push(repeat);
        } else if repeat.is_conflict() {
            report.push(self.conflict(&repeat, None, None));
        }
    }

    /// Reports the others, with the names of their files.
    pub(super) fn tell(self, expand: &mut dyn Expand, report: &mut Diagnostics) {
        if self.kept.is_empty() {
            return;
        }
        let namesakes = self.namesakes(expand);
        let mut told = HashSet::new();
        for repeat in &self.kept {
            if let Some(diagnostic) = self.told(repeat, &namesakes)
                && told.insert((repeat.again.place, diagnostic.message.clone()))
            {
                report.push(diagnostic);
            }
        }
    }

    fn namesakes(&self, expand: &mut dyn Expand) -> Namesakes {
        let mut namesakes = Namesakes::new();
        for Repeat { first, again } in &self.kept {
            for place in [first.place, again.place].into_iter().filter(|place| self.sources.contains_key(place)) {
                namesakes.entry(place).or_default().entry(again.target.text.clone()).or_default();
            }
        }
        for (place, wanted) in &mut namesakes {
            let own = self.owns.iter().find(|own| own.file == place.manifest);
            let (Some(own), Some(source)) = (own, self.sources.get(place)) else { continue };
            expand.expand(source, &mut |found| {
                // Problems were reported when it was read first.
                let Found::File(file) = found else { return };
                let Ok(file) = source.published(file) else { return };
                own.urls(&url_path(file.path), true, &mut |url| {
                    if let Some(known) = wanted.get_mut(&url).filter(|known| known.len() < MAX_NAMESAKES) {
                        known.push(Namesake::of(&file));
                    }
                });
            });
        }
        namesakes
    }

    fn told(&self, repeat: &Repeat, namesakes: &Namesakes) -> Option<Diagnostic> {
        let Repeat { first, again } = repeat;
        let of =
            |place| namesakes.get(place).and_then(|urls| urls.get(&again.target.text)).map_or(&[][..], Vec::as_slice);
        let (before, here) = (of(&first.place), of(&again.place));
        let pairs =
            || here.iter().enumerate().flat_map(|(at, one)| here[at + 1..].iter().map(move |other| (one, other)));
        if let Some((one, other)) = pairs().find(|(one, other)| one.path == other.path) {
            return Some(self.repeated(again.place, one, other));
        }
        if !repeat.is_conflict() {
            return None;
        }
        match pairs().find(|(one, other)| one.hash != other.hash) {
            Some((one, other)) if first.place == again.place => Some(self.shared(repeat, one, other)),
            _ => Some(self.conflict(repeat, before.first(), here.first())),
        }
    }

    /// A list names a file twice.
    fn repeated(&self, place: Location, one: &Namesake, other: &Namesake) -> Diagnostic {
        let (first_line, line) = (one.line.unwrap_or_default(), other.line.unwrap_or_default());
        let problem = ChecksumProblem::repeated(first_line, line, one.hash == other.hash);
        let list = self.sources.get(&place).map_or("", |source| source.path.as_str());
        let message = format!("{}:{line}: {}", shown(list), problem.message);
        Diagnostic::error(place.manifest, self.span(place), message).help(problem.help)
    }

    /// Two files of a source have a URL in common.
    fn shared(&self, repeat: &Repeat, one: &Namesake, other: &Namesake) -> Diagnostic {
        let (place, url) = (repeat.again.place, shown(&repeat.again.target.text));
        let (one, other) = (one.shown(), other.shown());
        let message = format!("{one} and {other} are both published at `{url}`, with different hashes");
        Diagnostic::error(place.manifest, self.span(place), message)
            .help("leave one of them out, or correct `index`, `slashless` and `strip_extension`")
    }

    fn conflict(&self, repeat: &Repeat, before: Option<&Namesake>, here: Option<&Namesake>) -> Diagnostic {
        let Repeat { first, again } = repeat;
        let draft = &self.providers.drafts[again.provider];
        let ignores_query = draft.config.as_ref().is_some_and(|config| config.ignore_query);
        let target = shown(&again.target.text);
        let message = format!("`{target}` is listed twice for provider `{}`, with different hashes", draft.name);
        let help = if ignores_query && again.target.scope == Scope::Url {
            "the provider ignores queries, so these are one target; list the URL once, without its query"
        } else {
            "delete the one that is out of date"
        };
        let named = |label: &str, file: Option<&Namesake>| match file {
            Some(file) => format!("{label}: {}", file.shown()),
            None => label.to_owned(),
        };
        Diagnostic::error(again.place.manifest, self.span(again.place), message)
            .label(named("another hash", here))
            .help(help)
            .related(first.place.manifest, self.span(first.place), named("first listed here", before))
    }

    fn span(&self, place: Location) -> crate::manifest::Span {
        load::mark(self.files[place.manifest].text().unwrap_or_default(), place.line, place.column)
    }
}

impl Namesake {
    /// As messages call it: of a list they give the line, never its text.
    fn shown(&self) -> String {
        self.line.map_or_else(|| format!("file `{}`", shown(&self.path)), |line| format!("line {line}"))
    }

    fn of(file: &FoundFile<'_>) -> Self {
        Self { path: file.path.to_owned(), line: file.line, hash: file.algorithm.hash(file.digest) }
    }
}
