//! Commits of a run: records gather while a commit is under way, and go to the state together in the next one.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::mem::{replace, take};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::core::changes::Changes;
use crate::core::event::Record;
use crate::core::time::Timestamp;
use crate::host::{BoxFuture, Worker};
use crate::state::{Commit, StateError, Store};

/// What records of a run mean.
pub(super) struct RecordContext {
    /// Number of the run in the state.
    pub(super) run: i64,
    /// The changes that items point into.
    pub(super) changes: Arc<Changes>,
    /// Names of providers, by index.
    pub(super) providers: Vec<String>,
    /// See [`Commit::grounds`].
    pub(super) grounds: Vec<String>,
    /// See [`Commit::owes`].
    pub(super) owes: HashMap<usize, i64>,
}

/// Records that were to be committed.
pub(super) struct Committed {
    pub(super) records: Vec<Record>,
    /// They are on disk; after a failure nothing is any more.
    pub(super) is_durable: bool,
}

type Ended = (Box<dyn Store>, Vec<Record>, Result<(), StateError>);

/// Where the store of a run is.
enum Place {
    Here(Box<dyn Store>),
    Committing(BoxFuture<'static, Ended>),
}

/// The store of a run and what it has yet to commit.
pub(super) struct Commits {
    worker: Arc<dyn Worker>,
    context: Arc<RecordContext>,
    store: Place,
    /// In order.
    gathered: Vec<Record>,
    error: Option<StateError>,
}

impl Commits {
    pub(super) fn new(worker: Arc<dyn Worker>, context: RecordContext, store: Box<dyn Store>) -> Self {
        Self { worker, context: context.into(), store: Place::Here(store), gathered: Vec::new(), error: None }
    }

    /// Puts a record behind those that wait.
    pub(super) fn gather(&mut self, record: Record) {
        self.gathered.push(record);
    }

    /// Whether edges are to be probed once a change is accepted.
    pub(super) fn owes_proof(&self, change: usize) -> bool {
        self.context.owes.contains_key(&change)
    }

    /// Whether everything that was gathered has been committed.
    pub(super) const fn is_idle(&self) -> bool {
        self.gathered.is_empty() && matches!(self.store, Place::Here(_))
    }

    /// Begins to commit what has gathered, unless a commit is under way.
    pub(super) fn begin(&mut self, at: Timestamp) {
        if self.gathered.is_empty() {
            return;
        }
        let store = match replace(&mut self.store, Place::Committing(Box::pin(pending()))) {
            Place::Here(store) => store,
            committing @ Place::Committing(_) => {
                self.store = committing;
                return;
            }
        };
        let records = take(&mut self.gathered);
        self.store = Place::Committing(match self.error {
            None => self.commit(store, records, at),
            Some(_) => Box::pin(ready((store, records, Ok(())))),
        });
    }

    fn commit(&self, mut store: Box<dyn Store>, records: Vec<Record>, at: Timestamp) -> BoxFuture<'static, Ended> {
        let context = Arc::clone(&self.context);
        let (result, ended) = oneshot::channel();
        let job = move || {
            let RecordContext { run, changes, providers, grounds, owes } = &*context;
            let written = store.commit(*run, &Commit { records: &records, changes, providers, grounds, owes, at });
            let _ = result.send((store, records, written));
        };
        let worked = self.worker.run(Box::new(job));
        Box::pin(async {
            worked.await;
            match ended.await {
                Ok(ended) => ended,
                // A job that has run has left its result.
                Err(_) => pending().await,
            }
        })
    }

    /// The commit under way as it ends; never resolves without one.
    pub(super) async fn ended(&mut self) -> Committed {
        let Place::Committing(under_way) = &mut self.store else { return pending().await };
        let (store, records, written) = under_way.await;
        self.store = Place::Here(store);
        self.error = self.error.take().or(written.err());
        Committed { records, is_durable: self.error.is_none() }
    }

    /// The store, once a commit under way has ended, and why it could not be written any more.
    pub(super) async fn into_store(self) -> (Box<dyn Store>, Option<StateError>) {
        match self.store {
            Place::Here(store) => (store, self.error),
            Place::Committing(under_way) => {
                let (store, _, written) = under_way.await;
                (store, self.error.or(written.err()))
            }
        }
    }
}
