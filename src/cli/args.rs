//! The command line: verbs, arguments and their help.

mod verify;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::command_line::CommandLine;
use crate::core::duration;
use crate::core::guard::Allowed;
use crate::engine::Selection;
use crate::engine::stat_caches::Own;
use crate::manifest::{MAX_TARGETS, check_namespace};
use crate::state::{self, Backend};
pub use verify::{VerifyArgs, WaitFor};

/// Where the state is unless `--state` says otherwise.
pub(super) const STATE: &str = ".freshen/state.db";

/// Keeps CDN caches true to what was published.
///
/// Manifests list assets and the hash of their content. freshen compares them with what it recorded after the last
/// run and purges, through the matching provider, only the URLs whose hash changed; only then does it record the hash.
#[derive(Debug, Parser)]
#[command(name = "freshen", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// Options of all commands.
    #[command(flatten)]
    pub global: Global,
}

/// Options of all commands.
#[derive(Args, Debug)]
pub struct Global {
    /// State file: recorded hashes, pending work, quota ledger and runs
    #[arg(
        long,
        global = true,
        env = "FRESHEN_STATE",
        hide_env_values = true,
        default_value = STATE,
        value_name = "FILE"
    )]
    pub state: PathBuf,
    /// Keeps the manifests apart from those of other repositories in the same state: letters, digits and -_./, at most 64
    #[arg(long, global = true, env = "FRESHEN_NAMESPACE", hide_env_values = true, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<String>,
    /// How results are printed on standard output
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// What messages offer.
    #[arg(skip)]
    pub commands: CommandLine,
}

impl Global {
    /// The place of the state.
    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        state::at(&self.state)
    }

    /// The files of the state, which no source may publish.
    pub(super) fn own<'p>(&'p self, backend: &'p dyn Backend) -> Own<'p> {
        Own { backend, state: &self.state, audit: None }
    }
}

/// What a variable that is not set leaves of an argument.
const EMPTY: &str = "empty; is a variable not set?";

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err(EMPTY.to_owned()) } else { Ok(text.to_owned()) }
}

fn operand(text: OsString) -> Result<PathBuf, String> {
    if text.is_empty() { Err(EMPTY.to_owned()) } else { Ok(text.into()) }
}

fn namespace(text: &str) -> Result<String, String> {
    check_namespace(text).map(|()| text.to_owned())
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// For programs: versioned, stable in order.
    Json,
    /// A comment on a pull request (plan, apply and check).
    Markdown,
    /// Workflow commands of GitHub Actions, which annotate the manifests' lines (plan, apply and check).
    Github,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show what would be purged: changes with reasons, calls, quota and time; reads only
    Plan(PlanArgs),
    /// Purge what changed, then record it
    Apply(ApplyArgs),
    /// Stay up and purge what changes, retry what is pending, go on with what was deferred
    Watch(WatchArgs),
    /// Probe edges, and show where they serve something else than what is recorded; with --repair purge that
    Verify(VerifyArgs),
    /// Record the manifests' hashes as fresh without purging (first run, lost state)
    Adopt(AdoptArgs),
    /// Validate manifests; with --online also credentials, clock and quota at each provider
    Check(CheckArgs),
    /// Show what is recorded, pending, deferred and rejected, the last runs and the quota, from the state alone; with
    /// --refresh also what the providers say of accepted purges; with a URL all about that, as explain does
    Status(StatusArgs),
    /// Show all about one URL or asset id: manifest and line, provider and why, hashes, last purge, what would happen now
    Explain(ExplainArgs),
    /// List, export, import or forget what the state holds
    #[command(subcommand)]
    State(StateVerb),
    /// Print a manifest or a checksum list of a directory, or how the directory differs from manifests
    Scan(ScanArgs),
    /// List the kinds of providers with their limits and options
    Providers(ProvidersArgs),
    /// Print the JSON Schema of manifests
    Schema,
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page (roff)
    Man,
}

/// Where manifests are, unless a command says otherwise.
const MANIFESTS: &str = "manifests";

/// Which manifests.
#[derive(Args, Clone, Debug)]
pub struct ManifestArgs {
    /// Manifests: files, or folders with all *.yaml, *.yml and *.json below them
    #[arg(default_value = MANIFESTS, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// What they may come to.
    #[command(flatten)]
    pub limits: ManifestLimits,
}

/// What manifests may come to.
#[derive(Args, Clone, Copy, Debug)]
pub struct ManifestLimits {
    /// Most targets that base URLs, providers and further URLs may make of assets; assets that are one target each do not
    /// count
    #[arg(long, value_name = "N", default_value_t = MAX_TARGETS)]
    pub max_targets: u64,
}

/// Which changes.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectionArgs {
    /// Only targets that match this pattern; `*` stands for any text, may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = not_empty)]
    pub only: Vec<String>,
    /// Only this provider; may be repeated
    #[arg(long = "provider", value_name = "NAME", value_parser = not_empty)]
    pub providers: Vec<String>,
    /// Purge targets that match this pattern even if their hash is recorded; `*` stands for any text, may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = not_empty)]
    pub force: Vec<String>,
    /// This manifest, which is not there any more and was not where this run looks, has vanished: purge what only it lists; may
    /// be repeated
    #[arg(long, value_name = "MANIFEST")]
    pub vanished: Vec<String>,
    /// Leave out manifests that a guard refuses, with those that targets moved to or from, and go on with the others; the exit code
    /// is 5 all the same
    #[arg(long)]
    pub except_refused: bool,
}

impl SelectionArgs {
    /// What the engine is asked for.
    pub(super) fn selection(&self) -> Selection {
        let Self { only, providers, force, vanished, except_refused } = self.clone();
        Selection { only, providers, force, vanished, except_refused }
    }
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Which changes.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Exit with 3 if there are changes
    #[arg(long)]
    pub exit_code: bool,
}

/// Arguments of `apply`.
#[derive(Args, Debug)]
pub struct ApplyArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Which changes.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Show the plan and stop, as `freshen plan` does
    #[arg(long, conflicts_with_all = ["rehearse", "expect"])]
    pub dry_run: bool,
    /// Rehearse: the real run against strict emulators inside the program, on a scratch copy of the state; nothing
    /// leaves the machine and no account is needed
    #[arg(long)]
    pub rehearse: bool,
    /// Apply only if the plan still has this digest, as `freshen plan` printed it
    #[arg(long, value_name = "DIGEST", value_parser = not_empty)]
    pub expect: Option<String>,
    /// Start nothing new after this time, for example 90s, 10m or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub deadline: Option<u64>,
    /// How long one call may take, from connecting to the last byte of the answer; then it is repeated or left pending
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse_positive)]
    pub timeout: u64,
    /// Do not ask origins: purge also what they may not serve yet
    #[arg(long)]
    pub no_origin: bool,
    /// What the run waits for: until purges are accepted, or until edges were seen to serve the content of what asks for
    /// `verify`, purging again what is stale
    #[arg(long, env = "FRESHEN_WAIT", hide_env_values = true, value_name = "WHAT", default_value = "accepted")]
    pub wait: WaitFor,
    /// How the run ends.
    #[command(flatten)]
    pub ending: EndingArgs,
    /// Append a line of JSON for each call to this file; rehearsals write none
    #[arg(long, env = "FRESHEN_AUDIT", hide_env_values = true, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// What the run is allowed.
    #[command(flatten)]
    pub allowed: AllowedArgs,
    /// How to lock the state.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// How a run ends, and what it lists.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct EndingArgs {
    /// Exit with 0 in place of 4 where all that is left waits for quota
    #[arg(long)]
    pub deferred_ok: bool,
    /// List all that was purged, not only the first 20
    #[arg(long, short)]
    pub verbose: bool,
}

/// Arguments of `watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// How often everything is read anew, whether files seem to have changed or not
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::parse_positive)]
    pub resync: u64,
    /// Look at files every so often and do not rely on events of the system, for file systems that report none; done
    /// without being asked where the system refuses to watch
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "10s",
        value_parser = duration::parse_positive)]
    pub poll: Option<u64>,
    /// How long calls under way get to end after SIGTERM or SIGINT; a second signal ends the program at once
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration::parse)]
    pub grace: u64,
    /// Make a single run and end as `apply` does, with its output; options of a program that stays up are not taken
    #[arg(long, conflicts_with_all = ["listen", "resync", "poll", "grace", "log_format"])]
    pub once: bool,
    /// How long one call may take, from connecting to the last byte of the answer; then it is repeated or left pending
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse_positive)]
    pub timeout: u64,
    /// Append a line of JSON for each call to this file
    #[arg(long, env = "FRESHEN_AUDIT", hide_env_values = true, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Where it shows how it is.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// What each run is allowed.
    #[command(flatten)]
    pub allowed: AllowedArgs,
    /// How records of the log look on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,
    /// Which records of the log are written
    #[arg(long, value_enum, env = "FRESHEN_LOG", default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

/// Where a program that stays up shows how it is.
#[derive(Args, Clone, Debug)]
#[group(id = "listener")]
pub struct ListenArgs {
    /// Show over HTTP how it is, for reading only: a page at /, /metrics, /healthz and /readyz. 127.0.0.1:9464 is for this
    /// machine alone; an address that others can reach needs --listen-token-file
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// File with the token that readers have to send, at least 16 characters; only its owner may read it
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub listen_token_file: Option<PathBuf>,
    /// Another name or address of this machine by which readers may ask, as the Host header of their requests has it,
    /// without a port; may be repeated
    #[arg(long, value_name = "NAME", requires = "listen", value_parser = listen_host)]
    pub listen_host: Vec<String>,
    /// How long targets may be pending at a provider, and a run may read files, before /readyz says no
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse_positive)]
    pub ready_within: u64,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, like 127.0.0.1:9464 or [::1]:9464".to_owned())
}

/// A name in lower case, or an address in its usual form without brackets.
fn listen_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write one name or address without a port, like watch.example.org, 10.0.0.7 or ::1; no pattern is taken"
        .to_owned())
}

/// What guards get to know.
#[derive(Args, Clone, Debug)]
pub struct AllowedArgs {
    /// Allow a first run to purge more than 100 targets
    #[arg(long)]
    pub purge_all: bool,
    /// Allow more than 30 % of a manifest's recorded targets to be removed, or more than its guard says
    #[arg(long)]
    pub allow_removals: bool,
    /// Most purges of each manifest's targets in one run, in place of `max_purges` and `max_share` of its guard
    #[arg(long, value_name = "N")]
    pub max_purges: Option<u64>,
}

impl AllowedArgs {
    /// What the guards get to know.
    pub(super) const fn allowed(&self) -> Allowed {
        Allowed { purge_all: self.purge_all, removals: self.allow_removals, max_purges: self.max_purges }
    }
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

/// Which records are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What needs somebody's attention.
    Error,
    /// And what goes wrong and is tried again.
    Warn,
    /// And what is done.
    Info,
    /// And each run and call.
    Debug,
}

/// How to lock the state.
#[derive(Args, Debug)]
pub struct LockArgs {
    /// How long to wait for another run to end, for example 0s, 30s or 5m
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    pub lock_timeout: u64,
}

/// Arguments of `adopt`.
#[derive(Args, Debug)]
pub struct AdoptArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Only targets that match this pattern; `*` stands for any text, may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = not_empty)]
    pub only: Vec<String>,
    /// Only this provider; may be repeated
    #[arg(long = "provider", value_name = "NAME", value_parser = not_empty)]
    pub providers: Vec<String>,
    /// How to lock the state.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
    /// Ask each provider for its quota, where the vendor has a query for it: shows whether credentials and clock are
    /// right; purges nothing and costs no quota
    #[arg(long)]
    pub online: bool,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Ask the providers what became of accepted purges: those that failed later are pending again
    #[arg(long)]
    pub refresh: bool,
    /// A URL or asset id, and manifests: the same as `freshen explain`. With --refresh manifests alone, files or folders,
    /// which configure the providers; `manifests` when left out
    #[arg(value_name = "URL|PATH", value_parser = OsStringValueParser::new().try_map(operand))]
    pub operands: Vec<PathBuf>,
    /// How to lock the state.
    #[command(flatten)]
    pub lock: LockArgs,
    /// What the manifests may come to.
    #[command(flatten)]
    pub limits: ManifestLimits,
    /// Exit with 4 if anything is left to do: all of it where there is no state
    #[arg(long)]
    pub exit_code: bool,
    /// With --exit-code: only if it was first seen at least this long ago, for example 15m
    #[arg(long, value_name = "DURATION", requires = "exit_code", value_parser = duration::parse)]
    pub older_than: Option<u64>,
    /// How many of the last runs to show; the newest 1000 are kept
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub runs: usize,
}

impl StatusArgs {
    /// `status URL` in the words of `explain`; else the manifests.
    pub(super) fn explained(&self) -> Result<ExplainArgs, Vec<PathBuf>> {
        let of = |paths: &[PathBuf]| if paths.is_empty() { vec![PathBuf::from(MANIFESTS)] } else { paths.to_vec() };
        match self.operands.as_slice() {
            [target, paths @ ..] if !self.refresh => {
                let manifests = ManifestArgs { paths: of(paths), limits: self.limits };
                Ok(ExplainArgs { target: target.to_string_lossy().into_owned(), manifests })
            }
            paths => Err(of(paths)),
        }
    }
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The URL, with or without its scheme, its path, or the asset id
    #[arg(value_parser = not_empty)]
    pub target: String,
    /// Which manifests.
    #[command(flatten)]
    pub manifests: ManifestArgs,
}

/// Verbs of `state`.
#[derive(Debug, Subcommand)]
pub enum StateVerb {
    /// List the targets that the state knows
    List {
        /// Only targets that match this pattern; `*` stands for any text
        #[arg(value_name = "PATTERN")]
        pattern: Option<String>,
    },
    /// Print everything that is recorded as JSON lines
    Export,
    /// Read JSON lines as `state export` prints them and put them in place of what is known of their targets
    Import {
        /// The file; `-` for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How to lock the state.
        #[command(flatten)]
        lock: LockArgs,
    },
    /// Drop everything known of the targets that match, without purging: they are new to the next run
    Forget {
        /// Which targets; `*` stands for any text
        #[arg(value_name = "PATTERN")]
        pattern: String,
        /// Only of this provider; with `--namespace`, of none of another namespace
        #[arg(long, value_name = "NAME", value_parser = not_empty)]
        provider: Option<String>,
        /// Only what this manifest lists; what others list as well is theirs alone from then on
        #[arg(long, value_name = "NAME")]
        manifest: Option<String>,
        /// How to lock the state.
        #[command(flatten)]
        lock: LockArgs,
    },
}

/// Arguments of `scan`.
#[derive(Args, Debug)]
pub struct ScanArgs {
    /// The directory; hidden files and what .gitignore names are read like the others, symbolic links are followed while they
    /// stay in it
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// URL that the directory is published at
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Only files whose path matches this pattern; `**` stands for any folders, `*` ends at `/`; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// No files whose path matches this pattern, for example `drafts/**`; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Follow symbolic links also where they leave the directory, which is an error otherwise, or skip all
    #[arg(long, value_enum, value_name = "HOW")]
    pub links: Option<ScanLinks>,
    /// Also temporary files of editors and transfers
    #[arg(long)]
    pub temporary: bool,
    /// What to print
    #[arg(long = "as", value_enum, default_value_t = ScanForm::Manifest, value_name = "FORM")]
    pub form: ScanForm,
    /// Show how the directory differs from what these manifests list below the base URL; a file or folder, may be
    /// repeated
    #[arg(long, value_name = "PATH", requires = "base_url", conflicts_with = "form")]
    pub against: Vec<PathBuf>,
    /// With --against: what the manifests may come to.
    #[command(flatten)]
    pub limits: ManifestLimits,
    /// With --against: exit with 3 if there are differences
    #[arg(long, requires = "against")]
    pub exit_code: bool,
}

/// What becomes of symbolic links in a scanned directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScanLinks {
    /// Followed wherever they lead.
    Follow,
    /// Left out.
    Skip,
}

/// Forms of a scanned directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScanForm {
    /// Paths of URLs and BLAKE3 hashes, to be applied.
    Manifest,
    /// Paths of files and BLAKE3 hashes, as `b3sum` writes and checks them in the directory.
    Checksums,
}

/// Arguments of `providers`.
#[derive(Args, Debug)]
pub struct ProvidersArgs {
    /// Show all about this kind
    pub kind: Option<String>,
}
