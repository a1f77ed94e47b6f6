//! Many targets at a glance: how many there are in each folder of each provider, and examples of all of them.

use std::collections::BTreeMap;

use crate::core::changes::Changes;
use crate::core::model::Model;
use crate::core::target::Scope;

/// Most rows of a table; the largest are kept.
const ROWS: usize = 12;
/// Most folders below a host that are told apart.
const DEEPEST: usize = 2;

/// A folder of a provider.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FolderRow {
    /// Name of the provider.
    pub provider: String,
    /// URL of the folder.
    pub folder: String,
    /// How many of its changes count in each column.
    pub numbers: Vec<usize>,
}

/// The largest folders in order of provider and URL, and how many others there are. `column` says where a change counts.
pub(super) fn rows(
    model: &Model,
    changes: &Changes,
    columns: usize,
    column: impl Fn(usize) -> usize,
) -> (Vec<FolderRow>, usize) {
    let mut groups: BTreeMap<(usize, String), Vec<usize>> = BTreeMap::new();
    for index in 0..changes.len() {
        let target = changes.target(index);
        let folder = if target.scope == Scope::AssetId { "asset ids" } else { folder(&target.text, DEEPEST) };
        let group = (changes.provider(index), folder.to_owned());
        groups.entry(group).or_insert_with(|| vec![0; columns])[column(index)] += 1;
    }
    for depth in (0..DEEPEST).rev() {
        if groups.len() <= ROWS {
            break;
        }
        for ((provider, name), numbers) in std::mem::take(&mut groups) {
            let group = groups.entry((provider, folder(&name, depth).to_owned())).or_insert_with(|| vec![0; columns]);
            group.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        }
    }
    let mut largest: Vec<_> = groups.into_iter().collect();
    largest.sort_by_key(|(_, numbers)| std::cmp::Reverse(numbers.iter().sum::<usize>()));
    let left_out = largest.len().saturating_sub(ROWS);
    largest.truncate(ROWS);
    largest.sort_unstable();
    let row = |((provider, folder), numbers): ((usize, String), Vec<usize>)| FolderRow {
        provider: model.providers[provider].name.clone(),
        folder,
        numbers,
    };
    (largest.into_iter().map(row).collect(), left_out)
}

/// The folder of a URL, at most `depth` below its host.
fn folder(url: &str, depth: usize) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['?', '#']).map_or(url.len(), |at| host + at);
    let slashes = url[host..end].match_indices('/').take(depth + 1);
    slashes.last().map_or(url, |(at, _)| &url[..=host + at])
}

/// At most `most` of these changes: as many of each provider as there is room for, from all of its folders, in their order.
pub(super) fn examples(changes: &Changes, of: &[usize], most: usize) -> Vec<usize> {
    let mut by_provider: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &index in of {
        by_provider.entry(changes.provider(index)).or_default().push(index);
    }
    let mut room = most;
    let mut lists: Vec<Vec<usize>> = by_provider.into_values().collect();
    // Small ones first: what they leave is for the others.
    lists.sort_by_key(Vec::len);
    let number = lists.len();
    let mut chosen = Vec::with_capacity(most.min(of.len()));
    for (at, list) in lists.iter().enumerate() {
        let share = (room / (number - at)).min(list.len());
        chosen.extend((0..share).map(|nth| list[nth * list.len() / share]));
        room -= share;
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_ends_with_its_slash_and_knows_no_query() {
        let at = |depth| folder("https://a.cn/x/y/z.js?q=/1/", depth);
        assert_eq!(
            [0, 1, 2, 3].map(at),
            ["https://a.cn/", "https://a.cn/x/", "https://a.cn/x/y/", "https://a.cn/x/y/"]
        );
        assert_eq!((folder("https://a.cn", 2), folder("https://a.cn/?x/y", 2)), ("https://a.cn", "https://a.cn/"));
    }
}
