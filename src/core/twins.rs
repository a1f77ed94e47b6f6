//! Targets that a vendor cannot tell apart: the first of them travels for all.

use std::collections::{BTreeMap, HashMap};

use super::changes::Changes;
use super::model::ProviderConfig;

/// Changes that travel with another one, by that one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Twins(BTreeMap<usize, Vec<usize>>);

impl Twins {
    /// Takes those out of `indexes` that travel with one before them.
    pub fn take_out(&mut self, config: &ProviderConfig, changes: &Changes, indexes: &mut Vec<u32>) {
        let mut first: HashMap<String, usize> = HashMap::new();
        indexes.retain(|&index| {
            let index = index as usize;
            let Some(key) = config.kind.wire_key(&changes.target(index), &config.options) else { return true };
            let known = *first.entry(key).or_insert(index);
            if known != index {
                self.0.entry(known).or_default().push(index);
            }
            known == index
        });
    }

    /// Those that travel with this one.
    pub fn of(&self, index: usize) -> &[usize] {
        self.0.get(&index).map_or(&[], Vec::as_slice)
    }

    /// These, each with those that travel with it.
    pub fn with(&self, mut items: Vec<usize>) -> Vec<usize> {
        if !self.0.is_empty() {
            items = items.into_iter().flat_map(|index| [&[index], self.of(index)].concat()).collect();
        }
        items
    }
}
