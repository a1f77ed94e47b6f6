//! What changed since a run after which nothing was left: read from the manifests that differ, and from nothing else.
//!
//! All that the other manifests list is recorded, so what the changed ones list is compared with its own rows only. Where
//! that does not show everything, it says so, and all manifests are read.

use std::collections::HashSet;

use super::Desired;
use crate::core::diff::{Differ, Difference};
use crate::core::model::{Manifest, Model};
use crate::core::recorded::Inputs;
use crate::state::{StateError, Store};

/// What an earlier run noted, and which manifests are known by it alone.
pub(super) struct Incremental {
    noted: Inputs,
    /// Names of manifests whose lists were passed over.
    passed_over: HashSet<String>,
    /// A run has compared it before and has left work, and no other one has used the state since.
    is_tried: bool,
}

impl Incremental {
    /// `passed_over` by index of the manifest.
    pub(super) fn new(noted: Inputs, model: &Model, passed_over: &[bool]) -> Self {
        let passed_over = model.manifests.iter().zip(passed_over).filter(|(_, passed_over)| **passed_over);
        Self { noted, passed_over: passed_over.map(|(manifest, _)| manifest.name.clone()).collect(), is_tried: false }
    }

    /// Goes on with what a run has left.
    pub(super) fn go_on(&mut self) {
        self.is_tried = true;
    }

    /// The difference; `None` if all manifests have to be read for it.
    pub(super) fn compare(
        &self,
        desired: &Desired,
        store: Option<&dyn Store>,
        mut differ: Differ<'_>,
    ) -> Result<Option<Difference>, StateError> {
        let Some(store) = store else { return Ok(None) };
        // Another run may have come between.
        if !self.is_tried && (store.has_work()? || store.inputs()?.as_ref() != Some(&self.noted)) {
            return Ok(None);
        }
        let mut rows: u64 = 0;
        let mut is_shared = false;
        store.look_up(&desired.model, &mut |row| {
            rows += 1;
            is_shared |= row.owners.iter().any(|owner| self.passed_over.contains(owner));
            differ.row(row);
        })?;
        let mut difference = differ.finish();
        let mut read = desired.model.manifests.iter().filter(|manifest| !self.passed_over.contains(&manifest.name));
        // What was recorded meanwhile was not noted.
        if is_shared || !(self.is_tried || read.all(|manifest| self.lists_all(manifest, &difference))) {
            return Ok(None);
        }
        let others = self.noted.targets.saturating_sub(rows);
        difference.unchanged += usize::try_from(others).unwrap_or(usize::MAX);
        Ok(Some(difference))
    }

    /// Whether a manifest still lists all that it listed: as many of its targets were found.
    fn lists_all(&self, manifest: &Manifest, difference: &Difference) -> bool {
        let found = difference.removals.iter().find(|removals| removals.manifest == manifest.name);
        let noted = self.noted.files.iter().find(|file| file.path == manifest.path);
        noted.map(|file| file.targets) == Some(found.map_or(0, |removals| removals.recorded as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::core::model::Priority;
    use crate::core::owners::{Reach, Unread};
    use crate::core::recorded::{ChangeKind, InputFile, Progress, Standing, Work};
    use crate::core::target::{ContentHash, Target};
    use crate::core::time::Timestamp;
    use crate::engine::{Choice, Prepared, prepare};
    use crate::manifest::{BuildOptions, NoSources, SourceFile, build, build_partly};
    use crate::state::SqliteStore;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);
    const PROVIDER: &str =
        "providers: {own: {kind: http-purge, hosts: [a.cn], endpoints: [\"http://127.0.0.1:9\"]}}\nassets: {}\n";

    fn files(first: &str) -> [SourceFile; 3] {
        let list = |name: &str, hash: &str| format!("base_url: https://a.cn/{name}/\nassets:\n  x: {hash}\n");
        let list = |name: &str, hash: &str| SourceFile::whole(format!("{name}.yaml"), list(name, hash));
        [list("1", first), list("2", "rev:1"), SourceFile::whole("p.yaml", PROVIDER)]
    }

    fn inputs(targets: [u64; 3]) -> Inputs {
        let file = |(path, targets): (&str, u64)| InputFile {
            path: path.to_owned(),
            digest: String::new(),
            targets,
            is_simple: true,
        };
        Inputs {
            files: ["1.yaml", "2.yaml", "p.yaml"].into_iter().zip(targets).map(file).collect(),
            ..Inputs::default()
        }
    }

    /// A state in which both lists are recorded and noted.
    fn recorded() -> (SqliteStore, Inputs) {
        let mut store = SqliteStore::scratch(Path::new("/nowhere/state.db"), "test").unwrap();
        let desired = Desired::new(build(&files("rev:1")).model.unwrap(), Reach::default()).known_by(inputs([0, 0, 0]));
        store.adopt(&desired.model, &[0, 1], &Unread::default(), NOW).unwrap();
        let noted = desired.inputs().unwrap().clone();
        store.note_inputs(&noted).unwrap();
        (store, noted)
    }

    /// The plan after the first list changed, with the second one passed over.
    fn changed(store: &SqliteStore, noted: &Inputs) -> Option<Prepared> {
        let passed_over = [false, true, false];
        let model = build_partly(&files("rev:2"), &passed_over, BuildOptions::default(), &mut NoSources).model.unwrap();
        let desired = Desired::new(model, Reach::default()).known_since(inputs([0, 1, 0]), noted.clone(), &passed_over);
        prepare(&desired.unwrap(), Some(store), &Choice::default(), &["account".to_owned()], NOW).unwrap()
    }

    #[test]
    fn a_list_that_changed_tells_what_is_to_be_done() {
        let (store, noted) = recorded();
        let Prepared { difference, .. } = changed(&store, &noted).unwrap();
        let targets: Vec<String> = difference.changes.iter().map(|change| change.target.text).collect();
        assert_eq!((difference.unchanged, targets), (1, vec!["https://a.cn/1/x".to_owned()]));
        assert_eq!(difference.inputs.unwrap().targets, 2);
    }

    // S2: what another run did meanwhile may concern lists that were passed over.
    #[test]
    fn nothing_is_told_of_lists_that_another_run_compared_or_left_work_of() {
        let (mut store, noted) = recorded();
        store.note_inputs(&Inputs { digest: "another".into(), ..noted.clone() }).unwrap();
        assert!(changed(&store, &noted).is_none());
        store.note_inputs(&noted).unwrap();
        assert!(changed(&store, &noted).is_some());
        let mut row = store.recorded_of("https://a.cn/2/x").unwrap().remove(0);
        row.work = Some(Work {
            desired: Some(ContentHash::from_canonical("rev:3")),
            kind: ChangeKind::Changed,
            priority: Priority::Normal,
            since: NOW,
            standing: Standing::fresh(),
            progress: Progress::Seen,
            in_doubt: false,
            may_have_been_purged: false,
            accepted_at: Vec::new(),
        });
        store.import(&[row]).unwrap();
        store.note_inputs(&noted).unwrap();
        assert!(changed(&store, &noted).is_none());
        assert_eq!(store.forget(&[("own".into(), Target::url("https://a.cn/2/x"))]).unwrap(), 1);
        assert!(changed(&store, &noted).is_none());
    }
}
