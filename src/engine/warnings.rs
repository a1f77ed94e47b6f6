//! What to look at although purges were accepted.

use super::Desired;
use super::executor::Outcome;
use crate::core::event::RefusedDirectory;
use crate::core::http::Endpoint;
use crate::core::text::one_line;

/// Longest name or reason in a warning, in characters.
const LONGEST: usize = 300;

/// What is to be looked at although targets were accepted, a text each.
pub fn warnings(desired: &Desired, outcome: &Outcome) -> Vec<String> {
    let refused = outcome.stops.iter().zip(&desired.model.providers).filter_map(|(stop, provider)| {
        let RefusedDirectory { operation, reason } = stop.directories.as_ref()?;
        let (name, reason) = (shown(&provider.name), shown(reason));
        Some(format!("provider `{name}`: {operation} of a directory was refused, so its URLs go one by one: {reason}"))
    });
    refused.chain(never_cached(desired, outcome)).collect()
}

/// What to check where an endpoint held nothing of what it was to drop.
fn never_cached(desired: &Desired, outcome: &Outcome) -> Vec<String> {
    let name = |provider: usize| &desired.model.providers[provider].name;
    let text = |(provider, endpoint, targets): (usize, &Endpoint, u64)| {
        format!(
            "provider `{}`: none of the {targets} targets purged at {} was in the cache; unless it is empty, check that its key \
             has the scheme, host and port of these URLs, and that a cache answers there",
            shown(name(provider)),
            shown(&endpoint.to_string())
        )
    };
    outcome.answers.never_cached().map(text).collect()
}

fn shown(text: &str) -> String {
    one_line(text, LONGEST)
}
