//! Arguments about what edges serve.

use clap::{Args, ValueEnum};

use super::{AllowedArgs, LockArgs, ManifestArgs, not_empty};
use crate::core::duration;

/// What a run waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// The provider took the purge.
    #[default]
    Accepted,
    /// Edges were seen to serve the content.
    Verified,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Only targets that match this pattern; `*` stands for any text, may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = not_empty)]
    pub only: Vec<String>,
    /// Only this provider; may be repeated
    #[arg(long = "provider", value_name = "NAME", value_parser = not_empty)]
    pub providers: Vec<String>,
    /// Only targets that were purged and not seen since
    #[arg(long)]
    pub due: bool,
    /// Purge what is stale, under the same guards as `apply`, and probe it again
    #[arg(long)]
    pub repair: bool,
    /// Exit with 4 also for targets that no probe can tell anything of
    #[arg(long)]
    pub strict: bool,
    /// Start nothing new after this time, for example 90s, 10m or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub deadline: Option<u64>,
    /// How long a probe may take to connect and until its first byte, at most 10s; with --repair also how long a call may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse_positive)]
    pub timeout: u64,
    /// What --repair is allowed.
    #[command(flatten)]
    pub allowed: AllowedArgs,
    /// How to lock the state.
    #[command(flatten)]
    pub lock: LockArgs,
}
