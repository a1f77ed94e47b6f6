//! Why a run of the watch could not be made.

use crate::core::command_line::CommandLine;
use crate::state::StateError;

/// What kept a run from being made.
#[derive(Clone)]
pub(super) enum CycleError {
    /// Another run has the state, which is no fault.
    Locked(String),
    Other(String),
}

impl CycleError {
    /// Without advice about options of a single run.
    pub(super) fn of(error: &anyhow::Error, commands: &CommandLine) -> Self {
        match error.downcast_ref::<StateError>() {
            Some(StateError::Locked { location, holder }) => {
                Self::Locked(format!("state `{location}` is locked by another run: {holder}"))
            }
            Some(other) => Self::Other(other.with_way_on(commands)),
            None => Self::Other(format!("{error:#}")),
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Locked(text) | Self::Other(text) => text,
        }
    }

    /// Whether it is the same trouble, whichever the other run is by now.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Locked(_), Self::Locked(_)) => true,
            (Self::Other(one), Self::Other(other)) => one == other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R1: the runs that have the state follow one another, which is no news.
    #[test]
    fn whoever_has_the_state_it_is_locked() {
        let of = |text: &str| [CycleError::Locked(text.into()), CycleError::Other(text.into())];
        let ([locked, other], [locked_again, another]) = (of("process 1"), of("process 2"));
        assert!(locked.is_like(&locked_again) && other.is_like(&other.clone()));
        assert!(!other.is_like(&another) && !locked.is_like(&other));
    }
}
