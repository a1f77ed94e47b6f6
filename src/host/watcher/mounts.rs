//! Reports when a watched folder is another one since something was mounted or unmounted, which causes no event in it.

use std::sync::{Arc, Weak};

use super::folders::FileIdentity;
use super::{Shared, lock};

/// Follows the system's table of mounts on a thread of its own, where there is one.
pub(super) fn follow(shared: &Arc<Shared>) {
    #[cfg(target_os = "linux")]
    if let Ok(table) = std::fs::File::open("/proc/self/mountinfo") {
        let shared = Arc::downgrade(shared);
        // Without it such folders are found by the next look at everything.
        let _ = std::thread::Builder::new().name("mounts".to_owned()).spawn(move || wait(&table, &shared));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = shared;
}

#[cfg(target_os = "linux")]
fn wait(table: &std::fs::File, shared: &Weak<Shared>) {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        // The table is reported to have changed as urgent data is, and only since it was asked for last.
        match poll(&mut [PollFd::new(table, PollFlags::PRI)], None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        let Some(shared) = shared.upgrade() else { return };
        if shared.has_other_folders() {
            shared.note(true);
        }
    }
}

impl Shared {
    /// Whether a watched folder is not the one that was watched.
    fn has_other_folders(&self) -> bool {
        let watched = lock(&self.watched).clone();
        watched.iter().any(|(path, identity)| FileIdentity::of(path) != *identity)
    }
}
