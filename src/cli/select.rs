//! Patterns and provider names that narrow a command down.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::exit::Stop;
use crate::core::model::Model;

/// Compiles patterns in which `*` stands for any text, `/` included.
///
/// # Errors
/// Bad input for a pattern that is not one.
pub(super) fn patterns(list: &[String]) -> Result<GlobSet, Stop> {
    let bad = |pattern: &str, error: globset::Error| {
        Stop::bad_input(format!("pattern `{pattern}` is not valid: {}", error.kind()))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in list {
        set.add(GlobBuilder::new(pattern).literal_separator(false).build().map_err(|error| bad(pattern, error))?);
    }
    set.build().map_err(|error| bad(&list.join(", "), error))
}

/// Checks that every name is a configured provider.
///
/// # Errors
/// Bad input that lists the configured ones.
pub(super) fn known_providers(model: &Model, names: &[String]) -> Result<(), Stop> {
    for name in names {
        if model.provider_index(name).is_none() {
            let known: Vec<&str> = model.providers.iter().map(|provider| provider.name.as_str()).collect();
            let message = format!("no provider is called `{name}`; configured are: {}", known.join(", "));
            return Err(Stop::bad_input(message));
        }
    }
    Ok(())
}
