//! Dice of single traits of a world: a further trait changes no other one.

use fastrand::Rng;

/// A trait with dice of its own.
#[derive(Clone, Copy)]
pub(crate) enum Axis {
    /// Providers on one account, each with a limit of its own.
    OwnLimits = 1,
    /// Assets that are named by the vendor's ids besides URLs.
    AssetIds = 2,
    /// Keys that are issued for a while, each with an id of its own.
    TemporaryKeys = 3,
    /// Vendors that refuse whatever is sent for a while, or all of one host.
    Refusals = 4,
    /// Providers that are configured otherwise: endpoints, `require`, limits, keys.
    Configuration = 5,
    /// A guard of the manifest's own.
    Guard = 6,
    /// Runs that read the manifests before another one comes and goes.
    EarlyReading = 7,
    /// Several manifests that share targets, are renamed, taken away and taken back; one may be hidden.
    Manifests = 8,
}

impl Axis {
    pub(crate) fn dice(self, seed: u64) -> Rng {
        Rng::with_seed(seed.wrapping_mul(64).wrapping_add(self as u64).rotate_left(32))
    }
}
