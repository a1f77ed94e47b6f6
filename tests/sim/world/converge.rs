//! The quiet end of a world: faults stop, and after finitely many runs all is recorded and nothing moves any more.

use freshen::core::recorded::{Recorded, Standing};
use freshen::state::Store;

use super::{LAST_RUNS, World};
use crate::faults::Faults;
use crate::files::Paths;
use crate::plans;
use crate::session::{Ended, Order};
use crate::spec::priority_of;
use crate::truth::Present;
use crate::vendors::Key;

impl World {
    /// L1, S9, R11: faults stop; all is recorded after finitely many runs, and then nothing moves any more.
    pub(super) fn converge(&mut self) {
        {
            let mut core = self.shared.lock();
            core.faults = Faults::none();
            core.skew_ms = 0;
        }
        // What others used of today is of no interest any more.
        self.shared.pass(25 * 3_600_000);
        let mut settled = false;
        for number in 0..=LAST_RUNS {
            let max_purges = self.guard.map(|_| u64::MAX);
            let order = Order { allows_removals: true, max_purges, seed: self.rng.u64(..), ..Order::default() };
            if self.files.has_hidden() {
                let (paths, seed) = (Paths::Hidden, self.rng.u64(..));
                let place = self.place(paths, false);
                self.one_run(Order { paths, place, seed, ..order.clone() });
            }
            let order = Order { place: self.place(Paths::Folder, false), ..order };
            let before = self.requests();
            let Some(ended) = self.one_run(order) else {
                return self.shared.lock().violated("L1", || "a run without faults fails".to_owned());
            };
            if self.is_over() {
                return;
            }
            self.check_plan(&ended);
            let sent = self.requests() - before;
            if sent > ended.calls_planned {
                let most = ended.calls_planned;
                return self
                    .shared
                    .lock()
                    .violated("R11", || format!("{sent} requests, at most {most} were to be made"));
            }
            let left = self.left();
            if left.is_empty() && self.sends_in_vain() {
                let forgotten = self.shared.lock().truth.forgotten_refusal();
                if let Some(key) = forgotten {
                    return self
                        .shared
                        .lock()
                        .violated("L1", || format!("{key:?} stays refused as it was configured once"));
                }
                let rejected = self.shared.lock().truth.entries.values().any(|entry| entry.rejected);
                if !ended.wrote || (settled && (rejected || sent > 0)) {
                    return;
                }
                // A new manifest, adopted or forgotten targets are written once.
                if settled {
                    return self
                        .shared
                        .lock()
                        .violated("S9", || "nothing changed, and yet the state is written".into());
                }
                settled = true;
            }
            if number == LAST_RUNS {
                return self.shared.lock().violated("L1", || format!("{left:?} are still to do after {number} runs"));
            }
            self.shared.pass(25 * 3_600_000);
        }
    }

    /// Nothing failed: what was planned is what was sent, and in order.
    fn check_plan(&self, ended: &Ended) {
        let mut core = self.shared.lock();
        // Where everything is refused, the rest is not sent.
        if core.truth.entries.values().all(|entry| !entry.poison)
            && let Some(text) = plans::not_carried_out(&ended.jobs, &core.sent)
        {
            return core.violated("P1", || text);
        }
        let rank = |key: Key| {
            let entry = &core.truth.entries[&key];
            let is_listed = matches!(entry.present, Present::Listed(_));
            Some((priority_of(key) as usize, entry.seen.filter(|_| is_listed)?))
        };
        // Jumping clocks say nothing of what is older, and whole hosts have an order of their own.
        if !self.jumps
            && self.collapse.is_none()
            && let Some(text) = plans::out_of_order(&ended.jobs, &rank)
        {
            core.violated("T3", || text);
        }
    }

    /// Nothing was sent but what the vendor refuses for good. Where that is all that there is to do, it goes on being tried:
    /// it is not known then what is to blame.
    fn sends_in_vain(&self) -> bool {
        let core = self.shared.lock();
        core.sent.iter().all(|key| core.truth.entries[key].poison)
    }

    fn requests(&self) -> u64 {
        self.shared.lock().actors.iter().map(|actor| actor.requests).sum()
    }

    /// What is neither recorded nor rejected for good, in truth or as the state has it.
    fn left(&self) -> Vec<String> {
        let rows = self.store.lock().expect("no panic").recorded();
        let core = self.shared.lock();
        let open = |key: &&Key| {
            let entry = &core.truth.entries[key];
            entry.present != Present::Absent
                && !core.truth.satisfied(**key)
                && !entry.poison
                && !core.truth.is_accused(**key)
        };
        let mut left: Vec<String> = core.truth.entries.keys().filter(open).map(|key| self.texts[key].clone()).collect();
        let work =
            |row: &Recorded| row.work.as_ref().is_some_and(|work| !matches!(work.standing, Standing::Rejected { .. }));
        let rows = rows.expect("readable").into_iter();
        left.extend(rows.filter(|row| work(row) && !core.truth.is_poison(row)).map(|row| row.target.text));
        left
    }
}
