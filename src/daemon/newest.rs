//! The newest state that this process has seen: a copy of it that is older is not taken for it.
//!
//! The stamp beside a state says the same, unless it was restored as well.

use crate::state::{Identity, StateError};

/// What was seen, and what was refused for it.
#[derive(Default)]
pub struct Newest {
    seen: Option<Identity>,
    refused: Option<Identity>,
}

impl Newest {
    /// Takes the state that is there for the newest one. One that somebody went on with since it was refused is meant.
    ///
    /// # Errors
    /// It is an older copy.
    pub fn check(&mut self, location: &str, found: Identity) -> Result<(), StateError> {
        let went_on = self.refused.as_ref().is_some_and(|refused| *refused != found);
        if let Some(known) = self.seen.as_ref().filter(|known| found.is_older_than(known) && !went_on) {
            self.refused = Some(found.clone());
            return Err(StateError::NotLast { location: location.to_owned(), found, known: known.clone() });
        }
        self.note(found);
        Ok(())
    }

    /// This is the state now.
    pub fn note(&mut self, found: Identity) {
        self.refused = None;
        self.seen = Some(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S10: an older copy is refused until somebody goes on with it; a state that was made anew is another matter.
    #[test]
    fn an_older_copy_is_refused_until_somebody_goes_on_with_it() {
        let mut newest = Newest::default();
        let mut takes =
            |lineage: &str, serial| newest.check("state.db", Identity { lineage: lineage.into(), serial }).is_ok();
        assert!(takes("a", 5) && takes("a", 7));
        assert!(!takes("a", 5) && !takes("a", 5));
        assert!(takes("a", 7), "put back");
        assert!(!takes("a", 5) && takes("a", 6) && takes("a", 6));
        assert!(!takes("a", 5) && takes("b", 1));
    }
}
