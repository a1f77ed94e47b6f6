//! Why runs are made.

/// Why a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunReason {
    /// It is the first one.
    Start,
    /// Files may have changed.
    Changed,
    /// It is time to look at everything again.
    Resync,
    /// What is pending or deferred is due.
    Retry,
    /// Origins are asked again whether they serve what waits for them.
    Origin,
    /// Edges are to be probed for what was purged.
    Proof,
    /// The user asked for it: SIGHUP.
    Reload,
}

impl RunReason {
    /// The word for it in output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Changed => "changed",
            Self::Resync => "resync",
            Self::Retry => "retry",
            Self::Origin => "origin",
            Self::Proof => "proof",
            Self::Reload => "reload",
        }
    }
}
