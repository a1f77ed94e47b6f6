//! The targets of assets, each at the providers that carry it.

use super::{Asset, Chosen, Lister};
use crate::core::entries::Listing;
use crate::core::model::{HostPattern, Location, Matched, ProviderConfig};
use crate::core::target::{Scope, Target};
use crate::manifest::diagnostic::Span;
use crate::manifest::hosts::HostRefusal;
use crate::manifest::node::shown;
use crate::manifest::providers::ProviderDraft;
use crate::manifest::shape;

impl Lister<'_> {
    /// Lists one target at all providers that carry it.
    pub(super) fn list_target(&mut self, asset: &Asset<'_>, span: Span, target: &Target, host: Option<&str>) {
        let (chosen, matched) = match (&asset.chosen, &self.own.chosen) {
            (Chosen::Broken, _) | (Chosen::Open, Chosen::Broken) => return,
            (Chosen::Named(named), _) => (named.clone(), Matched::AssetProvider),
            (Chosen::Open, Chosen::Named(named)) => (named.clone(), Matched::ManifestProvider),
            (Chosen::Open, Chosen::Open) => {
                let Some(host) = host else {
                    let refusal = HostRefusal::new("an asset id without `provider`");
                    return self.refuse(span, refusal.help("name the provider that knows the id"));
                };
                (self.by_host(host, span), Matched::Host)
            }
        };
        for index in chosen {
            if matched != Matched::Host && !self.covers(index, host, span) {
                continue;
            }
            let Some(config) = self.providers.drafts[index].config.as_ref() else { continue };
            let target = at_provider(config, target);
            if let Some(refusal) = refused_by(config, &target) {
                self.refuse_asset(asset, span, refusal);
                continue;
            }
            let Some(hash) = &asset.hash else { continue };
            let place = Location { manifest: self.own.file, line: span.line, column: span.column };
            let packed = self.draft.push(&target.text, hash);
            let scope = target.scope;
            let usual = self.own.priority(asset.name.text());
            let priority = asset.priority.unwrap_or(usual);
            self.draft.list(packed, &Listing { provider: index, scope, priority, place, matched, terms: asset.terms });
        }
    }

    /// The providers whose hosts cover `host`; reports if there are none (U7).
    fn by_host(&mut self, host: &str, span: Span) -> Vec<usize> {
        let drafts = &self.providers.drafts;
        let found: Vec<usize> =
            (0..drafts.len()).filter(|index| drafts[*index].hosts.iter().any(|pattern| pattern.covers(host))).collect();
        let certain = !self.providers.incomplete && drafts.iter().all(|draft| draft.hosts_known);
        if found.is_empty() && certain && self.own.hosts_reported.insert((None, host.to_owned())) {
            let hosts: Vec<String> = drafts
                .iter()
                .filter(|draft| !draft.hosts.is_empty())
                .map(|draft| format!("`{}` carries {}", draft.name, hosts_of(draft)))
                .collect();
            let help = if hosts.is_empty() {
                "add the host to the `hosts` of a provider, or name one with `provider`".to_owned()
            } else {
                format!("add it to the `hosts` of a provider, or name one with `provider`; {}", hosts.join("; "))
            };
            self.refuse(span, HostRefusal::new(format!("no provider carries host `{}`", shown(host))).help(help));
        }
        found
    }

    /// Whether a provider that was named carries the host; reports if not (U7). Without `hosts` it carries any.
    fn covers(&mut self, index: usize, host: Option<&str>, span: Span) -> bool {
        let draft = &self.providers.drafts[index];
        let Some(host) = host else { return true };
        if draft.hosts.is_empty() || draft.hosts.iter().any(|pattern| pattern.covers(host)) {
            return true;
        }
        if draft.hosts_known && self.own.hosts_reported.insert((Some(index), host.to_owned())) {
            let message = format!("provider `{}` does not carry host `{}`", draft.name, shown(host));
            let help = format!("it carries {}; add the host there, or name another provider", hosts_of(draft));
            self.refuse(span, HostRefusal::new(message).help(help));
        }
        false
    }
}

fn hosts_of(draft: &ProviderDraft) -> String {
    const MOST: usize = 5;
    let names: Vec<&str> = draft.hosts.iter().take(MOST).map(HostPattern::as_str).collect();
    let more = draft.hosts.len().saturating_sub(MOST);
    let names = shape::quoted(&names);
    if more > 0 { format!("{names} and {more} more") } else { names }
}

/// The target as the provider knows it: without its query where that plays no part.
fn at_provider(config: &ProviderConfig, target: &Target) -> Target {
    match target.text.split_once('?') {
        Some((bare, _)) if config.ignore_query && target.scope == Scope::Url => Target::url(bare),
        _ => target.clone(),
    }
}

/// Why the provider would not take the target, whatever the account.
pub(super) fn refused_by(config: &ProviderConfig, target: &Target) -> Option<HostRefusal> {
    let capabilities = config.kind.capabilities();
    if capabilities.operation(target.scope).is_none() {
        let message = format!("`{}` ({}) cannot purge by {}", config.name, capabilities.kind, target.scope.word());
        let scopes: Vec<&str> = capabilities.operations.iter().map(|operation| operation.scope.word()).collect();
        return Some(
            HostRefusal::new(message).help(format!("it purges by {}; name another provider", scopes.join(" or "))),
        );
    }
    if let Some(most) = capabilities.max_url_bytes.filter(|most| target.text.len() > *most) {
        let message = format!("{} bytes, more than the {most} that `{}` takes", target.text.len(), config.name);
        return Some(HostRefusal::new(message));
    }
    let problem = config.kind.check_target(target, &config.options).err()?;
    Some(HostRefusal::new(format!("`{}` ({}) refuses it: {problem}", config.name, capabilities.kind)))
}
