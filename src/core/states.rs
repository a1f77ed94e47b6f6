//! Where each change of a run stands, in four bytes each: most share a word and a reason.

use std::collections::HashMap;

use super::event::ItemState;

/// The states of changes, by their index.
#[derive(Clone, Debug, Default)]
pub struct States {
    rows: Vec<u32>,
    values: Vec<ItemState>,
    known: HashMap<ItemState, u32>,
}

impl States {
    /// Where the change at `index` stands.
    pub fn get(&self, index: usize) -> &ItemState {
        &self.values[self.rows[index] as usize]
    }

    /// Sets where the change at `index` stands.
    pub fn set(&mut self, index: usize, state: &ItemState) {
        self.rows[index] = self.number(state);
    }

    /// What was deferred is due now: pending, with nothing gone wrong.
    pub fn no_longer_deferred(&mut self, index: usize) {
        if matches!(self.get(index), ItemState::Deferred(..)) {
            self.set(index, &ItemState::Pending(None));
        }
    }

    /// All states, in order of the changes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ItemState> {
        self.rows.iter().map(|&number| &self.values[number as usize])
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn number(&mut self, state: &ItemState) -> u32 {
        if let Some(&known) = self.known.get(state) {
            return known;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(state.clone());
        self.known.insert(state.clone(), number);
        number
    }
}

impl FromIterator<ItemState> for States {
    fn from_iter<I: IntoIterator<Item = ItemState>>(states: I) -> Self {
        let mut table = Self::default();
        for state in states {
            let number = table.number(&state);
            table.rows.push(number);
        }
        table
    }
}
