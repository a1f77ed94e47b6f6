//! Exit codes and the failures that lead to them, as commands use them.

pub(super) use crate::engine::{Exit, Stop, exit_of as of};
