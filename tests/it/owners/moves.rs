//! Manifests in all layouts, behind all links and through all releases: what none that is read asks for any more is purged or
//! named, and nothing else is purged.

use std::path::PathBuf;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    ToFile,
    Chain,
    ToFolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    InPlace,
    Checkout,
    /// A copy that has a mark of a repository where the first has none, or the reverse.
    Export,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The next list is in its place.
    Swapped,
    Removed,
    RemovedWithItsFolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Folder,
    WorkingDirectory,
    /// A service begins there without a shell.
    UnshownWorkingDirectory,
    Absolute,
    Files,
}

/// One course of events.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Course {
    is_repository: bool,
    is_named: bool,
    /// A run by the file's own path comes before the release.
    reads_own_path: bool,
    /// A run comes between the copy and the step.
    settles: bool,
    keeps_old: bool,
    link: Link,
    release: Release,
    step: Step,
    given: [Given; 2],
}

const GIVEN: [Given; 5] =
    [Given::Folder, Given::WorkingDirectory, Given::UnshownWorkingDirectory, Given::Absolute, Given::Files];

/// How many courses there are.
const COURSES: usize = 32 * 4 * 3 * 3 * 25;

impl Course {
    fn of(mut number: usize) -> Self {
        let mut choose = |of: usize| {
            let chosen = number % of;
            number /= of;
            chosen
        };
        let link = [Link::None, Link::ToFile, Link::Chain, Link::ToFolder][choose(4)];
        let release = [Release::InPlace, Release::Checkout, Release::Export][choose(3)];
        let step = [Step::Swapped, Step::Removed, Step::RemovedWithItsFolder][choose(3)];
        let mut given = [GIVEN[choose(5)], GIVEN[choose(5)]];
        let mut flag = || choose(2) == 1;
        let (is_repository, is_named, reads_own_path) = (flag(), flag(), flag());
        let (settles, keeps_old) = (flag(), flag());
        // Where no run saw the link, nothing is known of it.
        if link == Link::ToFolder && given[0] == Given::UnshownWorkingDirectory {
            given.rotate_left(1);
            given[0] = if given[0] == Given::UnshownWorkingDirectory { Given::Folder } else { given[0] };
        }
        Self { is_repository, is_named, reads_own_path, settles, keeps_old, link, release, step, given }
    }

    fn text(self, assets: &[(&str, u32)]) -> String {
        format!("{}{}", if self.is_named { "name: shop\n" } else { "" }, listing(assets))
    }
}

/// Where a course takes place.
struct Place<'a> {
    course: Course,
    site: &'a Site,
    base: PathBuf,
    tree: PathBuf,
}

impl Place<'_> {
    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.tree.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn link(&self, at: &str, to: &str) {
        let at = self.tree.join(at);
        drop(fs::remove_file(&at));
        fs::create_dir_all(at.parent().expect("a folder")).expect("made");
        symlink(to, at).expect("linked");
    }

    fn lay(&self) {
        let provider = self.site.bench.read("manifests/provider-own.yaml").expect("a provider");
        let first = [provider, listing(&[("k", 1)]).into_bytes()].concat();
        let lists = [self.course.text(&[("a", 1), ("secret", 1)]), self.course.text(&[("a", 1)])];
        if self.course.link == Link::ToFolder {
            for (release, list) in ["1", "2"].iter().zip(&lists) {
                self.write(&format!("store/{release}/0.yaml"), &first);
                self.write(&format!("store/{release}/eu/m.yaml"), list);
            }
            return self.link("current", "store/1");
        }
        self.write("manifests/0.yaml", &first);
        for (release, list) in ["1", "2"].iter().zip(&lists) {
            self.write(&format!("store/{release}.yaml"), list);
        }
        match self.course.link {
            Link::ToFile => self.link("manifests/eu/m.yaml", "../../store/1.yaml"),
            Link::Chain => {
                self.link("store/latest.yaml", "1.yaml");
                self.link("manifests/eu/m.yaml", "../../store/latest.yaml");
            }
            _ => self.write("manifests/eu/m.yaml", &lists[0]),
        }
    }

    fn copy(&mut self) {
        let Course { release, is_repository, keeps_old, .. } = self.course;
        if release == Release::InPlace {
            return;
        }
        let next = self.base.join("r2");
        let copied = std::process::Command::new("cp").arg("-a").args([&self.tree, &next]).status().expect("started");
        assert!(copied.success());
        let old = std::mem::replace(&mut self.tree, next);
        match (release, is_repository) {
            (Release::Export, true) => fs::remove_dir(self.tree.join(".git")).expect("removed"),
            (Release::Export, false) => fs::create_dir(self.tree.join(".git")).expect("made"),
            _ => {}
        }
        if !keeps_old {
            fs::remove_dir_all(old).expect("removed");
        }
    }

    fn step(&self) {
        let Course { link, step, .. } = self.course;
        let folder = if link == Link::ToFolder { "store/2/eu" } else { "manifests/eu" };
        match step {
            Step::Removed => fs::remove_file(self.tree.join(folder).join("m.yaml")).expect("removed"),
            Step::RemovedWithItsFolder => fs::remove_dir_all(self.tree.join(folder)).expect("removed"),
            Step::Swapped => match link {
                Link::None => self.write("manifests/eu/m.yaml", self.course.text(&[("a", 1)])),
                Link::ToFile => self.link("manifests/eu/m.yaml", "../../store/2.yaml"),
                Link::Chain => self.link("store/latest.yaml", "2.yaml"),
                Link::ToFolder => {}
            },
        }
        if link == Link::ToFolder {
            self.link("current", "store/2");
        }
    }

    fn folder(&self) -> &'static str {
        if self.course.link == Link::ToFolder { "current" } else { "manifests" }
    }

    fn run(&self, given: Given, more: &[&str]) -> Ran {
        let folder = self.tree.join(self.folder());
        let absolute = folder.to_str().expect("UTF-8").to_owned();
        let files = ["0.yaml", "eu/m.yaml"].map(|file| format!("{}/{file}", self.folder()));
        let files: Vec<String> = files.into_iter().filter(|file| self.tree.join(file).exists()).collect();
        let (at, paths) = match given {
            Given::Folder => (self.tree.clone(), vec![self.folder().to_owned()]),
            Given::WorkingDirectory | Given::UnshownWorkingDirectory => (folder, vec![".".to_owned()]),
            Given::Absolute => (PathBuf::from("/"), vec![absolute]),
            Given::Files => (self.tree.clone(), files),
        };
        self.run_at(&at, given != Given::UnshownWorkingDirectory, &paths, more)
    }

    fn run_at(&self, at: &Path, is_shown: bool, paths: &[String], more: &[&str]) -> Ran {
        let state = self.base.join("s.db");
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let arguments =
            [&["apply", "--state", state.to_str().expect("UTF-8"), "--allow-removals"], more, &paths].concat();
        let mut command = self.site.bench.command(&arguments);
        if is_shown {
            command.env("PWD", at)
        } else {
            command.env_remove("PWD")
        };
        Ran::of(&command.current_dir(at).output().expect("started"))
    }

    /// Runs before anything changes.
    fn begin(&self) {
        self.lay();
        self.run(self.course.given[0], &[]).exits(0);
        if self.course.reads_own_path {
            let paths = match self.course.link {
                Link::None => ["manifests/0.yaml", "manifests/eu/m.yaml"],
                Link::ToFolder => ["store/1/0.yaml", "store/1/eu/m.yaml"],
                Link::ToFile | Link::Chain => ["manifests/0.yaml", "store/1.yaml"],
            };
            self.run_at(&self.tree, true, &paths.map(str::to_owned), &[]).exits(0);
        }
        assert_eq!(self.site.purged(), ["a", "k", "secret"], "{:?}", self.course);
    }
}

fn take(site: &Site, number: usize) -> Result<(), String> {
    let course = Course::of(number);
    let base = site.bench.path(&format!("course-{number}"));
    let mut place = Place { course, site, tree: base.join("r1"), base };
    fs::create_dir_all(&place.tree).expect("made");
    if course.is_repository {
        fs::create_dir(place.tree.join(".git")).expect("made");
    }
    place.begin();
    place.copy();
    if course.settles {
        let ran = place.run(course.given[0], &[]);
        if !site.purged().is_empty() {
            return Err(format!("purged while it is asked for: {ran:?}"));
        }
    }
    place.step();
    let mut left = if course.step == Step::Swapped { vec!["secret"] } else { vec!["a", "secret"] };
    let mut goes_on = |ran: Ran| {
        let is_named = (ran.status == 4 && ran.stdout.contains("of manifest `")) || ran.status == 5;
        for purged in site.purged() {
            let Some(found) = left.iter().position(|name| *name == purged) else {
                return Err(format!("`{purged}` is purged while it is asked for, or again: {ran:?}"));
            };
            left.remove(found);
        }
        if left.is_empty() || is_named { Ok(ran) } else { Err(format!("silent: {ran:?}")) }
    };
    for given in [course.given[1], course.given[1], course.given[0]] {
        let ran = goes_on(place.run(given, &[]))?;
        // The way on that is offered leads on.
        let offered = ran.stdout.split("freshen apply --vanished ").nth(1);
        if let Some(name) = offered.and_then(|rest| rest.split([' ', '`']).next()) {
            goes_on(place.run(given, &["--vanished", name])).map(|ran| ran.exits(0))?;
        }
    }
    fs::remove_dir_all(&place.base).expect("removed");
    Ok(())
}

/// S1, R7
#[test]
fn what_no_manifest_asks_for_any_more_is_purged_or_named_in_each_course_of_events() {
    let site = Site::new();
    // A prime number meets each choice with each other one.
    let apart = if crate::support::is_nightly() { 101 } else { 997 };
    let mut failures = Vec::new();
    for number in (0..COURSES).step_by(apart) {
        if let Err(failure) = take(&site, number) {
            site.purged();
            failures.push(format!("{number}: {:?}: {failure}", Course::of(number)));
        }
    }
    assert!(failures.is_empty(), "{} failures: {:#?}", failures.len(), &failures[..failures.len().min(20)]);
}
