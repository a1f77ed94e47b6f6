//! How many targets base URLs, providers and further URLs make of assets: counted before any is made.

use std::collections::BTreeMap;

use super::{Asset, Bases, Chosen, Lister, Name};
use crate::manifest::diagnostic::{Diagnostic, Diagnostics};
use crate::manifest::fields::texts_of;
use crate::manifest::head::Head;
use crate::manifest::url;
use crate::manifest::url_forms::{Form, UrlForms};

/// Targets that are made of assets with more than one. An asset that is one target does not count, so that lists may be
/// as long as they are.
pub(super) struct Multiplied {
    most: u64,
    count: u64,
    by_file: BTreeMap<usize, u64>,
}

impl Multiplied {
    pub(super) const fn new(most: u64) -> Self {
        Self { most, count: 0, by_file: BTreeMap::new() }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Whether there are too many; the others are counted and not made.
    pub(super) const fn is_over(&self) -> bool {
        self.count > self.most
    }

    /// Counts the targets of an asset of a file; says whether they may be made.
    pub(super) fn admits(&mut self, file: usize, targets: u64) -> bool {
        if targets > 1 {
            self.count = self.count.saturating_add(targets);
            *self.by_file.entry(file).or_default() += targets;
        }
        self.count <= self.most
    }

    /// Reports that there are too many, in the manifest that makes the most of them.
    pub(super) fn tell(&self, heads: &[Head<'_, '_>], report: &mut Diagnostics) {
        let largest = self.by_file.iter().max_by_key(|(_, count)| **count).map_or(0, |(file, _)| *file);
        let head = heads.iter().find(|head| head.file == largest);
        let span = head.and_then(|head| {
            ["base_url", "provider", "assets", "sources"].into_iter().find_map(|key| head.fields.key_span(key))
        });
        let count = self.count;
        let message = format!("base URLs, providers and further URLs make {count} targets, more than {}", self.most);
        let help = format!("make fewer of them, or allow for them with `--max-targets {count}`");
        report.push(Diagnostic::error(largest, span.unwrap_or_default(), message).help(help));
    }
}

/// How often a URL below `base_url` is listed, and one that is `base_url` without its slash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carriers {
    pub(super) below: u64,
    pub(super) bare: u64,
}

impl Carriers {
    /// Targets of a path with these forms.
    pub(super) fn targets(self, forms: &UrlForms, path: &str, is_file: bool) -> u64 {
        let mut targets = 0;
        let mut count = |form: Form<'_>| {
            targets += match form {
                Form::Below(_) => self.below,
                Form::Bare => self.bare,
            }
        };
        if is_file {
            forms.each_of_file(path, &mut count);
        } else {
            forms.each(path, &mut count);
        }
        targets
    }
}

impl Lister<'_> {
    /// Which providers carry paths whose asset names no provider.
    pub(super) fn usual_carriers(&self) -> Carriers {
        let Bases::Given(bases) = &self.own.bases else { return Carriers::default() };
        let mut carriers = Carriers::default();
        for base in bases {
            let text = base.join("");
            let by_host = || url::check(&text).map_or(0, |parts| self.carriers_of(parts.host));
            let count = match &self.own.chosen {
                Chosen::Open => by_host(),
                Chosen::Broken => 0,
                Chosen::Named(named) => named.len() as u64,
            };
            carriers.below += count;
            carriers.bare += base.bare().map_or(0, |_| count);
        }
        carriers
    }

    /// Whether an asset may be listed, by the number of targets that it makes.
    pub(super) fn admits(&mut self, asset: &Asset<'_>) -> bool {
        let named = match (&asset.chosen, &self.own.chosen) {
            (Chosen::Named(named), _) | (Chosen::Open, Chosen::Named(named)) => Some(named.len() as u64),
            (Chosen::Broken, _) | (Chosen::Open, Chosen::Broken) => Some(0),
            (Chosen::Open, Chosen::Open) => None,
        };
        let of_url =
            |text: &str| named.unwrap_or_else(|| url::check(text).map_or(0, |parts| self.carriers_of(parts.host)));
        let own = match (asset.name, named, &self.own.bases) {
            (Name::Id(_), named, _) => named.unwrap_or(0),
            (Name::Url(text), ..) => of_url(text),
            (Name::Path(path), Some(named), Bases::Given(bases)) => {
                let bare = bases.iter().filter(|base| base.bare().is_some()).count() as u64;
                let carriers = Carriers { below: bases.len() as u64 * named, bare: bare * named };
                carriers.targets(&self.own.forms, path, asset.file.is_some())
            }
            (Name::Path(path), ..) => self.own.carriers.targets(&self.own.forms, path, asset.file.is_some()),
        };
        let further: u64 = texts_of(asset.extra_urls).map(|(text, _)| of_url(text)).sum();
        self.multiplied.admits(self.own.file, own + further)
    }

    fn carriers_of(&self, host: &str) -> u64 {
        let drafts = &self.providers.drafts;
        drafts.iter().filter(|draft| draft.hosts.iter().any(|pattern| pattern.covers(host))).count() as u64
    }
}
