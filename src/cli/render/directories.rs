//! Directories of a plan that are purged in place of URLs: what each stands for and what it purges besides.

use serde_json::{Value, json};

use super::{count, shown};
use crate::core::collapse::Directory;
use crate::core::model::Model;
use crate::core::plan::Plan;

/// A line for each directory, also for those that are not purged because no quota is left.
pub(super) fn lines(model: &Model, plan: &Plan) -> impl Iterator<Item = String> {
    let purged = plan.jobs.iter().flat_map(|job| &job.directories).map(move |directory| {
        let (head, urls) = head(model, directory);
        let besides = match directory.others {
            0 => "all else that the CDN keeps below it is".to_owned(),
            others => format!("{} and all else that the CDN keeps below it are", count(others, "other listed URL")),
        };
        format!("{head}: one purge in place of {urls}; {besides} fetched anew as well")
    });
    let one_by_one = plan.one_by_one.iter().map(move |directory| {
        let (head, urls) = head(model, directory);
        let why = if plan.without_directories.contains(&directory.provider) {
            "directories were refused within the last day, with these credentials and this configuration"
        } else {
            "no quota of directories is left today"
        };
        format!("{head}: {why}, so {urls} below it go one by one")
    });
    purged.chain(one_by_one)
}

fn head(model: &Model, directory: &Directory) -> (String, String) {
    let provider = &model.providers[directory.provider].name;
    (format!("directory {} at {provider}", shown(&directory.target.text)), count(directory.changes.len(), "URL"))
}

/// A directory for programs.
pub(super) fn json(model: &Model, directory: &Directory) -> Value {
    json!({
        "provider": model.providers[directory.provider].name,
        "directory": directory.target.text,
        "changes": directory.changes.len(),
        "others": directory.others,
    })
}
