//! `freshen scan`: a directory as a manifest, as a checksum list, or beside manifests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Result;

use super::args::{Format, Global, ScanArgs, ScanForm, ScanLinks};
use super::progress::ProgressMeter;
use super::render::scan as render;
use super::{manifests, terminal};
use crate::core::text::one_line;
use crate::engine::{Exit, Stop, compare};
use crate::host::Host;
use crate::host::tree::{self, StatCache, Tree, TreeProblem, TreeRules};
use crate::manifest::{FilePatterns, Links, Normalizer, PublishedAt, WalkRules, manifest_of};

/// Runs the command.
pub(super) async fn run(host: &Host, global: &Global, args: &ScanArgs) -> Result<Exit> {
    let patterns = FilePatterns::compile(&args.include, &args.exclude)
        .map_err(|problem| Stop::bad_input(format!("the pattern {problem}")))?;
    let links = args.links.map_or(Links::Inside, ScanLinks::as_links);
    let walk = WalkRules { links, temporary: args.temporary };
    let rules = TreeRules { patterns, normalizer: Normalizer::default(), walk };
    let published = args.base_url.as_deref().map(PublishedAt::new).transpose().map_err(bad_input)?;
    // Manifests first: they are read in no time, and may be wrong.
    let listed = match &published {
        Some(published) if !args.against.is_empty() => {
            let desired = manifests::load(host, global, &args.against, args.limits)?;
            Some(compare::listed(&desired.model, published, &rules))
        }
        _ => None,
    };
    let tree = read(&args.directory, rules).await?;
    for pattern in args.include.iter().filter(|pattern| walk.leaves_out_all_of(pattern)) {
        let pattern = one_line(pattern, 300);
        terminal::tell(&format!(
            "warning: `--include {pattern}` names temporary files, which are left out; give `--temporary` to take them\n"
        ));
    }
    for warning in &tree.warnings {
        terminal::tell(&format!("warning: {warning}\n"));
    }
    if let Some(listed) = listed {
        let found = compare::compare(&args.directory, &tree, listed, links).map_err(|problems| unread(&problems))?;
        print_result(global.format, || render::difference(&found), || render::difference_json(&found));
        return Ok(if args.exit_code && found.is_different() { Exit::Changes } else { Exit::Done });
    }
    let text = match args.form {
        ScanForm::Checksums => render::checksums(&tree),
        ScanForm::Manifest => {
            let files = tree.files().map(|file| (file.path, file.hash()));
            manifest_of(published.as_ref(), files).map_err(bad_input)?
        }
    };
    print_result(global.format, || text, || render::files_json(&tree, published.as_ref()));
    Ok(Exit::Done)
}

fn print_result(format: Format, human: impl FnOnce() -> String, json: impl FnOnce() -> serde_json::Value) {
    if format == Format::Json {
        terminal::print_json(&json());
    } else {
        terminal::print_exactly(&human());
    }
}

fn bad_input(problem: impl std::fmt::Display) -> Stop {
    Stop::bad_input(problem.to_string())
}

/// Reads the directory while the progress is shown.
async fn read(directory: &Path, rules: TreeRules) -> Result<Tree> {
    let seen = Arc::new(AtomicU64::new(0));
    let _shown = ProgressMeter::of_files(Arc::clone(&seen));
    let path = directory.to_owned();
    let reading = tokio::task::spawn_blocking(move || tree::scan(&path, &rules, &StatCache::default(), &seen));
    Ok(reading.await?.map_err(|problems| unread(&problems))?)
}

/// Everything that could not be read, a line each.
fn unread(problems: &[TreeProblem]) -> Stop {
    const MOST: usize = 100;
    let mut lines: Vec<String> = problems.iter().take(MOST).map(ToString::to_string).collect();
    if problems.len() > MOST {
        lines.push(format!("{} more", super::render::count(problems.len() - MOST, "problem")));
    }
    Stop::bad_input(lines.join("\nerror: "))
}

impl ScanLinks {
    const fn as_links(self) -> Links {
        match self {
            Self::Follow => Links::Follow,
            Self::Skip => Links::Skip,
        }
    }
}
