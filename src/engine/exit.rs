//! Exit codes, and which one wins when several apply.

use crate::state::StateError;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is recorded, or there was nothing to do.
    Done = 0,
    /// Failed for a reason without its own number.
    Failed = 1,
    /// Bad usage or bad input.
    BadInput = 2,
    /// `plan --exit-code`, `scan --exit-code`: there are changes.
    Changes = 3,
    /// Some targets are pending, deferred or rejected.
    NotAllDone = 4,
    /// Refused by a guard.
    Refused = 5,
    /// State locked, damaged or newer than this program.
    State = 6,
    /// Credentials refused by a provider.
    Credentials = 7,
}

impl Exit {
    /// The number for the shell.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it is about, for programs; `None`: all is done. Missing credentials end as bad input does and are another thing.
    pub const fn kind(self, credentials_missing: bool) -> Option<&'static str> {
        Some(match self {
            Self::Done => return None,
            Self::Failed => "failed",
            Self::BadInput if credentials_missing => "credentials_missing",
            Self::BadInput => "input",
            Self::Changes => "changes",
            Self::NotAllDone => "not_all_done",
            Self::Refused => "guard",
            Self::State => "state",
            Self::Credentials => "credentials_refused",
        })
    }

    /// The one that wins: the first of 2, 6, 5, 7, 1, 4; 0 if none applies.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        const ORDER: [Exit; 8] = [
            Exit::BadInput,
            Exit::State,
            Exit::Refused,
            Exit::Credentials,
            Exit::Failed,
            Exit::NotAllDone,
            Exit::Changes,
            Exit::Done,
        ];
        let rank = |exit: &Exit| ORDER.iter().position(|known| known == exit).unwrap_or(ORDER.len());
        all.into_iter().min_by_key(rank).unwrap_or(Exit::Done)
    }

    /// The code of a state that cannot be used, from the start or in the middle of a run.
    pub const fn of_state(error: &StateError) -> Self {
        match error {
            StateError::Io { .. } => Self::Failed,
            StateError::Damaged { .. }
            | StateError::Foreign { .. }
            | StateError::Newer { .. }
            | StateError::Misplaced { .. }
            | StateError::NotLast { .. }
            | StateError::Locked { .. }
            | StateError::Overtaken { .. }
            | StateError::Replaced { .. } => Self::State,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_documented_order_decides() {
        assert_eq!(Exit::worst([Exit::NotAllDone, Exit::Failed, Exit::Credentials]), Exit::Credentials);
        assert_eq!(Exit::worst([Exit::NotAllDone, Exit::Failed]), Exit::Failed);
        assert_eq!(Exit::worst([Exit::State, Exit::Refused, Exit::BadInput]), Exit::BadInput);
        assert_eq!(Exit::worst([]), Exit::Done);
    }
}
