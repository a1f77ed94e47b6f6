//! What becomes of a pass that guards refuse, or a part of it.

use anyhow::Result;

use super::{Around, Opened, Pass, PassEvent, PassOptions};
use crate::core::time::Timestamp;
use crate::engine::refusals::{Admission, Verdict, admit, leave_out_refused};
use crate::engine::{Desired, Finished, Prepared, Stop, lineage};
use crate::state::{StateError, Store};

impl Pass<'_> {
    /// The plan without what guards refuse, where the rest is to go. `None`: all manifests have to be read for it.
    pub(super) fn without_refused(
        &self,
        desired: &Desired,
        prepared: Prepared,
        store: Option<&dyn Store>,
        (accounts, at): (&[String], Timestamp),
        around: &mut Around<'_>,
    ) -> Result<Option<Prepared>> {
        let selection = self.options.selection;
        if around.resident.is_none() && !selection.except_refused {
            return Ok(Some(prepared));
        }
        leave_out_refused(desired, prepared, self.options.allowed, &mut |hold| {
            around.event(PassEvent::Planning(true));
            let again = selection.prepare_without(desired, store, (accounts, at), Some(hold));
            around.event(PassEvent::Planning(false));
            again
        })
    }

    /// Lets guards and the reviewed digest speak. A refused pass still marks what it saw, except removals, and is listed.
    ///
    /// # Errors
    /// Exit 5 with the reasons, if nothing is to be sent.
    pub(super) fn admit(
        &self,
        desired: &Desired,
        prepared: &mut Prepared,
        opened: &mut Opened<'_>,
        expect: Option<&str>,
        around: &mut Around<'_>,
    ) -> Result<()> {
        if around.resident.is_some() && opened.store.is_none() && !prepared.refusals.is_empty() {
            // What is refused from the start has an age as well.
            let mut store = opened.lock.create(&lineage(self.host))?;
            desired.note_listed(&mut *store, opened.at)?;
            opened.store = Some(store);
        }
        let PassOptions { selection, allowed, commands, .. } = self.options;
        let is_all = selection.leaves_nothing_out();
        let admission = Admission { allowed, expected: expect, commands };
        let store = opened.store.as_deref_mut();
        let Verdict { reasons, stops } = admit(desired, prepared, store, admission, (is_all, opened.at))?;
        if let Some(memory) = around.memory().filter(|_| !reasons.is_empty()) {
            memory.refused(&prepared.difference.hold);
        }
        if stops {
            self.list(&Finished::untouched(desired, prepared), opened)?;
        }
        if !reasons.is_empty() {
            around.event(PassEvent::Refused(&reasons));
        }
        around.marked(opened.store.as_deref());
        if stops { Err(Stop::refused(reasons).into()) } else { Ok(()) }
    }

    /// Lists a run that guards refused and that sends nothing.
    pub(super) fn list(&self, finished: &Finished<'_>, opened: &mut Opened<'_>) -> Result<(), StateError> {
        let refused = finished.refused_run(&opened.start, self.host.clock.now().wall);
        match (&mut opened.store, refused) {
            (Some(store), Some(refused)) => store.note_refused_run(&refused),
            _ => Ok(()),
        }
    }
}
