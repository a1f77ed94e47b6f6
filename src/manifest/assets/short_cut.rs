//! Plain paths with digests, the bulk of large inventories: listed without a look at each.

use super::targets::refused_by;
use super::{Bases, Chosen, Lister};
use crate::core::algorithm::Algorithm;
use crate::core::arena::origin_len;
use crate::core::entries::{Draft, Listing};
use crate::core::model::{Location, Matched, Priority};
use crate::core::target::{Scope, Target};
use crate::manifest::url::{self, BaseUrl};
use crate::manifest::url_forms::{Form, UrlForms};

/// Every character that names of files keep in URLs, an escape, each form of URLs, and what browsers spell otherwise.
const PROBES: [&str; 5] = ["a-._~!$&'()*+,;=:@/%E4%BD%A0%20", "a/", "", "[|]%5E", "[|]^"];

/// What is the same for all plain paths below a `base_url`.
pub(super) struct ShortCut {
    origin: String,
    /// What stands between origin and path; ends in `/`.
    start: String,
    carriers: Vec<usize>,
    matched: Matched,
    max_path_bytes: usize,
    /// Whether the providers take whatever [`url_path`](crate::manifest::url_path) makes of the name of a file.
    pub(super) takes_names: bool,
}

/// A digest in its canonical form: as a manifest writes it, or of the file of a source.
#[derive(Clone, Copy)]
pub(super) enum PlainHash<'h> {
    Text(&'h str),
    Bytes(Algorithm, &'h [u8]),
}

/// What is said about a path beside its digest.
#[derive(Clone, Copy)]
pub(super) struct Said {
    pub(super) priority: Priority,
    pub(super) place: Location,
    pub(super) terms: Option<usize>,
}

/// The digest of a path, and what else is said about it.
type ListedHash<'h> = (PlainHash<'h>, Said);

impl ShortCut {
    pub(super) fn fits(&self, path: &str) -> bool {
        path.len() <= self.max_path_bytes
    }

    pub(super) fn list(&self, draft: &mut Draft, forms: &UrlForms, path: &str, listed: ListedHash<'_>) {
        let mut list = |form: Form<'_>| match form {
            Form::Below(rest) => self.list_one(draft, &self.start, rest, listed),
            // Without a path of its own, the origin alone is the same request as with a slash.
            Form::Bare if self.start.len() == 1 => {}
            Form::Bare => self.list_one(draft, self.start.trim_end_matches('/'), "", listed),
        };
        match listed.0 {
            PlainHash::Text(_) => forms.each(path, &mut list),
            PlainHash::Bytes(..) => forms.each_of_file(path, &mut list),
        }
    }

    fn list_one(&self, draft: &mut Draft, start: &str, rest: &str, (hash, said): ListedHash<'_>) {
        let packed = match hash {
            PlainHash::Text(hash) => draft.pack_parts(&self.origin, start, rest, hash),
            PlainHash::Bytes(algorithm, digest) => draft.pack_digest(&self.origin, start, rest, (algorithm, digest)),
        };
        let (scope, matched) = (Scope::Url, self.matched);
        let Said { priority, place, terms } = said;
        for &provider in &self.carriers {
            draft.list(packed, &Listing { provider, scope, priority, place, matched, terms });
        }
    }
}

impl Lister<'_> {
    /// How plain paths with digests are listed, one for each `base_url`; none if anything is to be said about them.
    pub(super) fn short_cuts(&self) -> Vec<ShortCut> {
        let Bases::Given(bases) = &self.own.bases else { return Vec::new() };
        if !self.compares_digests() {
            return Vec::new();
        }
        let cuts: Option<Vec<ShortCut>> = bases.iter().map(|base| self.short_cut(base)).collect();
        cuts.unwrap_or_default()
    }

    fn short_cut(&self, base: &BaseUrl) -> Option<ShortCut> {
        let target = Target::url(base.join("a"));
        let host = url::check(&target.text).ok()?.host;
        let covers = |index: &usize| self.providers.drafts[*index].hosts.iter().any(|pattern| pattern.covers(host));
        let (carriers, matched) = match &self.own.chosen {
            Chosen::Broken => return None,
            Chosen::Open => ((0..self.providers.drafts.len()).filter(covers).collect(), Matched::Host),
            Chosen::Named(named) => {
                let carries = |index: &usize| self.providers.drafts[*index].hosts.is_empty() || covers(index);
                (named.iter().copied().all(|index| carries(&index)).then(|| named.clone())?, Matched::ManifestProvider)
            }
        };
        let mut max_bytes = url::MAX_URL_BYTES;
        let mut takes_names = true;
        for &index in &carriers {
            let config = self.providers.drafts[index].config.as_ref()?;
            if refused_by(config, &target).is_some() {
                return None;
            }
            takes_names &= PROBES.iter().all(|probe| refused_by(config, &Target::url(base.join(probe))).is_none());
            max_bytes = max_bytes.min(config.kind.capabilities().max_url_bytes.unwrap_or(max_bytes));
        }
        let start = &target.text[..target.text.len() - 1];
        let (origin, start) = start.split_at(origin_len(start));
        let max_path_bytes = max_bytes.checked_sub(target.text.len())?;
        let (origin, start) = (origin.to_owned(), start.to_owned());
        let cut = ShortCut { origin, start, carriers, matched, max_path_bytes, takes_names };
        (!cut.carriers.is_empty()).then_some(cut)
    }
}
