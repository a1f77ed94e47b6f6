//! The manifests' rules for targets and hashes that do not come from a manifest: lines that are imported into a state.
//!
//! Does not know providers or the state.

use std::collections::HashSet;

use super::hosts::HostRefusal;
use super::node::is_invisible;
use super::{assets, hash, providers, url};
use crate::core::provider_key::ProviderKey;
use crate::core::target::{Scope, Target};

/// Longest name of a manifest, in bytes: a path of the system, with a namespace before it.
const MAX_OWNER_BYTES: usize = 4096;

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
        HostRefusal { message, help: Some(help) } => format!("`target`: {message}; {help}"),
        HostRefusal { message, help: None } => format!("`target`: {message}"),
    })?;
    for text in hashes {
        let hash = hash::parse(text).map_err(|problem| format!("{}; {}", problem.message, problem.help))?;
        if hash.as_str() != text {
            return Err(format!("a hash that is not in its canonical form; write `{hash}`"));
        }
    }
    Ok(())
}

/// Checks the key of a provider and the names of manifests that list a target. A manifest may be called by a path with `..`: until format 4
/// of the state, one outside the working directory was.
///
/// # Errors
/// Says what is wrong, without the name: it may be any text.
pub fn check_names(provider: &str, owners: &[String]) -> Result<(), String> {
    let ProviderKey { namespace, name } = ProviderKey::of(provider);
    namespace
        .map_or(Ok(()), check_namespace)
        .map_err(|help| format!("`provider`: not a namespace before `:`; {help}"))?;
    providers::check_spelling(name).map_err(|help| format!("`provider`: not the name of a provider; {help}"))?;
    if let Some(problem) = owners.iter().find_map(|owner| check_owner(owner).err()) {
        return Err(format!("`owners`: not the name of a manifest: {problem}"));
    }
    let each: HashSet<&String> = owners.iter().collect();
    if each.len() < owners.len() { Err("`owners`: a manifest that is named twice".into()) } else { Ok(()) }
}

/// Checks what keeps the manifests of a repository apart from others. It stands before names, with `:` between.
///
/// # Errors
/// Says what can be one.
pub fn check_namespace(text: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(());
    }
    Err("write 1 to 64 letters, digits, `-`, `_`, `.` or `/`, like the name of the repository".to_owned())
}

/// A manifest is called as it says, or as its path.
///
/// # Errors
/// Says what is wrong, without the name.
fn check_owner(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("it is blank".to_owned());
    }
    if name.len() > MAX_OWNER_BYTES {
        return Err(format!("it has {} bytes, more than {MAX_OWNER_BYTES}", name.len()));
    }
    if let Some(bad) = name.chars().find(|c| is_invisible(*c)) {
        return Err(format!("it holds the control character U+{:04X}", u32::from(bad)));
    }
    Ok(())
}

/// Checks the `name` that a manifest gives itself.
///
/// # Errors
/// As [`check_owner`]; also for one that looks like a path from somewhere else.
pub(super) fn check_own_name(name: &str) -> Result<(), String> {
    if name.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("it leads out of a tree, or is no whole path (`.` or `..`)".to_owned());
    }
    check_owner(name)
}

fn ends_in_slash(text: &str) -> Result<(), HostRefusal> {
    if text.ends_with('/') { Ok(()) } else { Err(HostRefusal::new("a directory that does not end in `/`")) }
}
