//! The watcher on real folders. Each test waits for what must be seen, and proves what must not be seen by something that
//! happens after it.

use std::fs;
use std::time::Duration;

use super::*;
use crate::host::clock::SystemClock;
use crate::manifest::{Links, WalkRules};

/// How long to wait for what must happen, so that a broken test ends.
const BOUND: Duration = Duration::from_secs(30);

struct World {
    folder: tempfile::TempDir,
    watcher: Arc<Watcher>,
    roots: Vec<WatchedRoot>,
}

impl World {
    fn new(poll_ms: Option<u64>, roots: &[(&str, RootKind)]) -> Self {
        Self::with_state(poll_ms, roots, "manifests/state.db")
    }

    fn with_state(poll_ms: Option<u64>, roots: &[(&str, RootKind)], state: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("manifests/below")).unwrap();
        let of = |(path, kind): &(&str, RootKind)| WatchedRoot { path: folder.path().join(path), kind: *kind };
        let roots = roots.iter().map(of).collect();
        let (watcher, why) = Watcher::new(Arc::new(SystemClock::start()), &folder.path().join(state), None, poll_ms);
        assert_eq!(why.is_some(), poll_ms.is_some(), "{why:?}");
        Self { folder, watcher: Arc::new(watcher), roots }
    }

    fn watch_folders(&mut self) {
        assert_eq!(self.watcher.watch_folders(&self.roots), None);
        self.watcher.take();
    }

    fn write(&self, path: &str) {
        fs::write(self.folder.path().join(path), "x").unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    async fn sees(&mut self, what: &str) {
        tokio::time::timeout(BOUND, self.watcher.changed()).await.unwrap_or_else(|_| panic!("{what} was not seen"));
        self.watcher.take();
    }

    /// How many events mattered since there were `before`, once a last one is seen that surely does.
    async fn events_until(&mut self, last: &str, before: u64) -> u64 {
        self.write(last);
        self.sees(last).await;
        self.watcher.events() - before
    }
}

const FOLDER: &[(&str, RootKind)] = &[("manifests", RootKind::Manifests)];

/// W2: files that are written, saved by rename and removed, also in folders below.
#[tokio::test]
async fn writes_renames_and_removals_are_seen() {
    let mut world = World::new(None, FOLDER);
    world.watch_folders();
    world.write("manifests/a.yaml");
    world.sees("a new file").await;
    world.watch_folders();
    world.write("manifests/below/.b.tmp");
    fs::rename(world.path("manifests/below/.b.tmp"), world.path("manifests/below/b.yaml")).unwrap();
    world.sees("a rename").await;
    world.watch_folders();
    fs::remove_file(world.path("manifests/a.yaml")).unwrap();
    world.sees("a removal").await;
}

/// W3: a folder that is made anew is watched anew, whatever number it has, and so is one that was not there yet.
#[tokio::test]
async fn folders_that_come_and_go_are_watched() {
    let mut world = World::new(None, FOLDER);
    world.watch_folders();
    for round in 0..3 {
        fs::remove_dir_all(world.path("manifests")).unwrap();
        world.sees("the removal of the folder").await;
        world.watch_folders();
        fs::create_dir_all(world.path("manifests/new/deep")).unwrap();
        world.sees("the new folder").await;
        world.watch_folders();
        world.write("manifests/new/deep/a.yaml");
        world.sees(&format!("a file in round {round}")).await;
        world.watch_folders();
    }
    // So fast that the new one may have the number of the old one.
    fs::remove_dir_all(world.path("manifests/new")).unwrap();
    fs::create_dir_all(world.path("manifests/new")).unwrap();
    world.sees("the folder in the place of another one").await;
    world.watch_folders();
    world.write("manifests/new/b.yaml");
    world.sees("a file in it").await;
    world.watch_folders();
    fs::rename(world.path("manifests"), world.path("aside")).unwrap();
    world.sees("the folder that is moved away").await;
    world.watch_folders();
    assert_eq!(world.watcher.folders(), 1, "only where it would appear again");
    fs::rename(world.path("aside"), world.path("manifests")).unwrap();
    world.sees("the folder that is moved back").await;
}

/// W2: as configuration is mounted into containers, and as git-sync keeps worktrees.
#[cfg(unix)]
#[tokio::test]
async fn swapped_links_are_seen() {
    use std::os::unix::fs::symlink;
    let mut world = World::new(None, &[("current/manifests", RootKind::Manifests), ("config", RootKind::Manifests)]);
    for tree in ["trees/one/manifests", "trees/two/manifests", "config/..one", "config/..two"] {
        fs::create_dir_all(world.path(tree)).unwrap();
        world.write(&format!("{tree}/site.yaml"));
    }
    let swap = |world: &World, link: &str, target: &str| {
        symlink(target, world.path("fresh")).unwrap();
        fs::rename(world.path("fresh"), world.path(link)).unwrap();
    };
    swap(&world, "current", "trees/one");
    swap(&world, "config/..data", "..one");
    symlink("..data/site.yaml", world.path("config/site.yaml")).unwrap();
    world.watch_folders();
    for (link, target, file) in [
        ("current", "trees/two", "trees/two/manifests/site.yaml"),
        ("config/..data", "..two", "config/..two/site.yaml"),
    ] {
        swap(&world, link, target);
        world.sees(link).await;
        world.watch_folders();
        world.write(file);
        world.sees("a file behind the new link").await;
        world.watch_folders();
    }
}

/// freshen must not trigger itself: neither by writing its state nor by reading files.
#[tokio::test]
async fn the_state_and_reading_are_no_changes() {
    let mut world = World::new(None, FOLDER);
    world.write("manifests/a.yaml");
    world.watch_folders();
    let before = world.watcher.events();
    for name in ["state.db", "state.db-wal", "state.db.lock", "state.db.seal"] {
        world.write(&format!("manifests/{name}"));
    }
    fs::remove_file(world.path("manifests/state.db-wal")).unwrap();
    fs::read(world.path("manifests/a.yaml")).unwrap();
    let most = world.events_until("manifests/last.yaml", before).await;
    assert!(most <= 4, "{most} events: created, opened, written, closed");
}

/// The same where the state is reached over links, and in whatever folder; what only begins with its name is not the state.
#[cfg(unix)]
#[tokio::test]
async fn the_state_is_known_behind_links_and_by_its_whole_name() {
    use std::os::unix::fs::symlink;
    let mut world = World::with_state(None, &[("tree", RootKind::Tree(WalkRules::default()))], "way/state.db");
    fs::create_dir_all(world.path("tree/.real")).unwrap();
    symlink("tree/.real", world.path("way")).unwrap();
    symlink("store", world.path("tree/.real/state.db")).unwrap();
    world.write("tree/.real/store");
    world.watch_folders();
    let before = world.watcher.events();
    for name in ["state.db.lock", "state.db.seal", "store-wal", "store-shm", "store", "state.db.aside-1"] {
        world.write(&format!("tree/.real/{name}"));
    }
    assert!(world.events_until("tree/last", before).await <= 4);
    for name in ["state.db.html", "store-wall", "other"] {
        world.watch_folders();
        world.write(&format!("tree/.real/{name}"));
        world.sees(name).await;
    }
}

/// Only what is read of a folder of manifests matters in it: neither other files, nor the state of another watch.
#[cfg(unix)]
#[tokio::test]
async fn files_that_are_no_manifests_do_not_matter() {
    use std::os::unix::fs::symlink;
    let mut world = World::new(None, FOLDER);
    fs::create_dir(world.path("elsewhere")).unwrap();
    world.watch_folders();
    let before = world.watcher.events();
    for name in ["other.db", "other.db-wal", "notes.txt", ".site.yaml.swp", "below/README.md"] {
        world.write(&format!("manifests/{name}"));
    }
    fs::create_dir(world.path("manifests/.hidden")).unwrap();
    fs::remove_file(world.path("manifests/notes.txt")).unwrap();
    assert!(world.events_until("manifests/last.JSON", before).await <= 4);
    fs::create_dir(world.path("manifests/new")).unwrap();
    world.sees("a new folder").await;
    world.watch_folders();
    fs::rename(world.path("manifests/new"), world.path("manifests/renamed")).unwrap();
    world.sees("a renamed folder").await;
    world.watch_folders();
    fs::remove_dir(world.path("manifests/renamed")).unwrap();
    world.sees("a removed folder").await;
    world.watch_folders();
    symlink("../elsewhere", world.path("manifests/link")).unwrap();
    world.sees("a link to a folder, which is an error").await;
    world.watch_folders();
    fs::remove_file(world.path("manifests/link")).unwrap();
    world.sees("that the link is gone").await;
}

/// W1: with lost events a folder may have become another one, and its watch that of nothing.
#[tokio::test]
async fn after_lost_events_everything_is_watched_anew() {
    let mut world = World::new(None, FOLDER);
    world.watch_folders();
    let below = world.path("manifests/below");
    match &mut *lock(&world.watcher.eyes) {
        Eyes::Events(eyes) => eyes.unwatch(&below).unwrap(),
        Eyes::Polling(_) => panic!("events"),
    }
    let lost = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    world.watcher.shared.take(Ok(lost));
    world.watch_folders();
    world.write("manifests/below/a.yaml");
    world.sees("a file in a folder whose watch was lost").await;
}

/// W3: the same folders watched anew may hold others by then that no event named.
#[tokio::test]
async fn folders_made_while_others_are_watched_anew_are_watched() {
    let mut world = World::new(None, FOLDER);
    world.watch_folders();
    world.watcher.shared.renew_all();
    let late = world.path("manifests/below/late");
    let list = || {
        let found = Folders::of(&world.roots);
        fs::create_dir_all(&late).unwrap();
        found
    };
    // As if it had been made before the folder above it was watched: its event is lost.
    assert_eq!(world.watcher.settle(list), None);
    assert!(lock(&world.watcher.shared.watched).contains_key(&late));
}

/// W2: a file is being written from its first bytes until its writer closes it, renames it or removes it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn files_are_known_to_be_written_until_they_are_closed() {
    use std::io::Write;
    let mut world = World::new(None, FOLDER);
    world.watch_folders();
    for (name, ends) in [("a.yaml", "closed"), ("b.yaml", "renamed"), ("c.yaml", "removed")] {
        let path = world.path("manifests").join(name);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(
            b"assets:
",
        )
        .unwrap();
        while !world.watcher.is_writing() {
            world.sees("that it is written to").await;
        }
        match ends {
            "closed" => drop(file),
            "renamed" => fs::rename(&path, world.path("manifests/done.yaml")).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        while world.watcher.is_writing() {
            world.sees(ends).await;
        }
    }
    let mut other = fs::File::create(world.path("manifests/notes.txt")).unwrap();
    other.write_all(b"x").unwrap();
    world.write("manifests/d.yaml");
    world.sees("a manifest").await;
    assert!(!world.watcher.shared.unfinished.lock().unwrap().contains_key(&world.path("manifests/notes.txt")));
}

/// W2: what happened is known as soon as it is asked for, however late the thread of the events is.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_happened_a_moment_ago_is_known() {
    use std::io::Write;
    let mut world = World::new(None, FOLDER);
    world.watch_folders();
    let watcher = Arc::clone(&world.watcher);
    for round in 0..200 {
        let since = EventFence::now(&watcher);
        assert_eq!(since.look(), Moved::default());
        let mut file = fs::File::create(world.folder.path().join("manifests/a.yaml")).unwrap();
        file.write_all(b"assets:").unwrap();
        assert_eq!(since.look(), Moved { changed: true, writing: true }, "{round}");
        drop(file);
        assert_eq!(since.look(), Moved { changed: true, writing: false }, "{round}");
    }
    let notes = EventFence::now(&watcher);
    fs::write(world.folder.path().join("manifests/notes.txt"), "x").unwrap();
    assert_eq!(notes.look(), Moved::default());
}

/// A file given by name is watched over its folder, in which other names do not matter.
#[tokio::test]
async fn other_names_beside_a_file_do_not_matter() {
    let mut world = World::new(None, &[("manifests/a.yaml", RootKind::Manifests), ("list", RootKind::File)]);
    world.watch_folders();
    let before = world.watcher.events();
    world.write("manifests/other.yaml");
    world.write("unlisted");
    let most = world.events_until("list", before).await;
    assert!(most <= 4, "{most} events");
    world.write("manifests/a.yaml");
    world.sees("the file").await;
}

/// W1: where the thread of the events is gone, folders are looked at from then on, and the reason is reported.
#[tokio::test]
async fn a_watcher_that_breaks_is_replaced_by_looking() {
    let mut world = World::new(None, FOLDER);
    Arc::get_mut(&mut world.watcher).expect("only here").poll_ms = 20;
    world.watch_folders();
    *lock(&world.watcher.eyes) = Eyes::Events(notify::recommended_watcher(|_| panic!("a defect")).expect("events"));
    lock(&world.watcher.shared.watched).clear();
    world.watcher.look_around();
    assert_eq!(world.watcher.watch_folders(&world.roots), None);
    world.write("manifests/a.yaml");
    let since = EventFence::now(&world.watcher);
    assert!(since.look().changed, "nobody knows");
    let told = world.watcher.watch_folders(&world.roots);
    assert_eq!(told.as_deref(), Some("watching folders has failed; please report it"));
    world.watcher.take();
    world.write("manifests/below/b.yaml");
    world.sees("a new file").await;
}

/// W1, W5: without events folders are looked at.
#[tokio::test]
async fn polling_sees_what_events_would_tell() {
    let mut world =
        World::new(Some(20), &[("manifests", RootKind::Manifests), ("tree", RootKind::Tree(WalkRules::default()))]);
    world.watch_folders();
    world.write("manifests/below/a.yaml");
    world.sees("a new file").await;
    world.watch_folders();
    fs::remove_file(world.path("manifests/below/a.yaml")).unwrap();
    world.sees("a removal").await;
    world.watch_folders();
    fs::create_dir(world.path("tree")).unwrap();
    world.sees("a new folder").await;
    world.watch_folders();
    world.write("tree/.hidden");
    world.sees("a file in it").await;
    world.watch_folders();
    world.write("manifests/state.db");
    let before = world.watcher.events();
    world.write("manifests/below/b.yaml");
    world.sees("a file after the state").await;
    assert_eq!(world.watcher.events(), before + 1);
}

/// A folder that is published: what links in it lead to is part of it, temporary files are not.
#[cfg(unix)]
#[tokio::test]
async fn what_links_lead_to_is_seen_and_temporary_files_are_not() {
    use std::os::unix::fs::symlink;
    for (links, poll_ms) in [(Links::Inside, None), (Links::Follow, None), (Links::Follow, Some(20))] {
        let rules = WalkRules { links, temporary: false };
        let mut world = World::new(poll_ms, &[("tree", RootKind::Tree(rules))]);
        for folder in ["tree/v1", "tree/v2", "out/deep", "other"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        symlink("v1", world.path("tree/stable")).unwrap();
        symlink("../out", world.path("tree/escape")).unwrap();
        symlink(".", world.path("tree/circle")).unwrap();
        world.watch_folders();
        world.write("tree/v1/index.html");
        world.sees("a file behind a link").await;
        fs::remove_file(world.path("tree/stable")).unwrap();
        symlink("v2", world.path("tree/stable")).unwrap();
        world.sees("a link that moves").await;
        world.watch_folders();
        if links == Links::Follow {
            world.write("out/deep/a.html");
            world.sees("a file behind a link that leads out").await;
            world.watch_folders();
        }
        if poll_ms.is_none() {
            let before = world.watcher.events();
            fs::create_dir_all(world.path("tree/.~tmp~")).unwrap();
            // Far more often than what was written before can still be reported.
            for name in ["tree/v1/.index.html.Ab12Cd", "tree/v1/index.html~", "tree/.~tmp~/a", "tree/4913", "other/a"] {
                for _ in 0..20 {
                    world.write(name);
                    fs::remove_file(world.path(name)).unwrap();
                }
            }
            let seen = world.events_until("tree/v1/last.html", before).await;
            assert!(seen < 40, "{seen}");
        }
    }
}
