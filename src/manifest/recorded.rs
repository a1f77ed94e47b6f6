//! The manifests' rules for targets and hashes that do not come from a manifest: lines that are imported into a state.
//!
//! Does not know providers or the state.

use super::hosts::Refusal;
use super::{assets, hash, url};
use crate::core::target::{Scope, Target};

/// Checks a target and hashes of it as a manifest would have to spell them; hashes in their canonical form only.
///
/// # Errors
/// Says what is wrong and, where that helps, what to do. Nothing of a URL that holds `@` is repeated: it may be a password.
pub fn check_recorded<'a>(target: &Target, hashes: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    match target.scope {
        Scope::Url => url::check(&target.text).map(drop),
        Scope::Directory => url::check(&target.text).and_then(|_| ends_in_slash(&target.text)),
        Scope::AssetId => assets::check_id(&target.text),
    }
    .map_err(|refusal| match refusal {
        _ if target.text.contains('@') => "`target`: not a URL that can be purged, or one with a password".to_owned(),
        Refusal { message, help: Some(help) } => format!("`target`: {message}; {help}"),
        Refusal { message, help: None } => format!("`target`: {message}"),
    })?;
    for text in hashes {
        let hash = hash::parse(text).map_err(|problem| format!("{}; {}", problem.message, problem.help))?;
        if hash.as_str() != text {
            return Err(format!("a hash that is not in its canonical form; write `{hash}`"));
        }
    }
    Ok(())
}

fn ends_in_slash(text: &str) -> Result<(), Refusal> {
    if text.ends_with('/') { Ok(()) } else { Err(Refusal::new("a directory that does not end in `/`")) }
}
