//! How many targets fit into one call.

use std::collections::BTreeSet;

use super::changes::Changes;
use super::model::OperationLimits;

/// How many of `list`, from the first on, one call of at most `most` targets holds. A target that is too large goes alone.
pub fn call_size(list: &[u32], most: usize, limits: &OperationLimits, changes: &Changes) -> usize {
    let most = most.min(limits.targets_per_call.max(1)).min(list.len());
    if !is_special(limits) {
        return most;
    }
    let (mut bytes, mut hosts) = (0, BTreeSet::new());
    let fits = |index: &&u32| {
        let target = changes.target(**index as usize);
        bytes += json_bytes(&target.text);
        hosts.extend(target.host().map(str::to_ascii_lowercase));
        limits.bytes_per_call.is_none_or(|most| bytes <= most)
            && limits.hosts_per_call.is_none_or(|most| hosts.len() <= most)
    };
    list[..most].iter().take_while(fits).count().max(most.min(1))
}

/// Whether numbers of targets alone do not say where calls are cut.
pub const fn is_special(limits: &OperationLimits) -> bool {
    limits.bytes_per_call.is_some() || limits.hosts_per_call.is_some()
}

/// Bytes of a text in a JSON list: with quotes, escapes and a comma. Targets hold no control characters.
fn json_bytes(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_measured_as_they_are_sent() {
        for text in ["https://a/", "https://a/\"\\x", "https://é/"] {
            assert_eq!(json_bytes(text), serde_json::to_string(text).expect("JSON").len() + 1, "{text}");
        }
    }
}
