//! What a stopped run leaves in doubt, when several endpoints are asked for one target at once.

use std::collections::HashMap;
use std::path::Path;

use freshen::core::changes::Changes;
use freshen::core::diff::Difference;
use freshen::core::event::{CallId, ItemOutcome, Left, PurgeId, Record};
use freshen::core::model::Model;
use freshen::state::{Commit, RunStart, SqliteStore, Store};

use crate::support::world::{START, change, cluster, endpoint};

struct Bench {
    store: SqliteStore,
    model: Model,
    changes: Changes,
    run: i64,
}

impl Bench {
    /// A run of one target at two endpoints, both calls under way.
    fn new() -> Self {
        let mut store = SqliteStore::scratch(Path::new("no/such/state"), "lineage").expect("a store");
        let model = Model { providers: vec![cluster("own", 2, 2)], ..Model::default() };
        let changes = Changes::from_iter([change(0, "http://a.example/1")]);
        let difference = Difference { changes: changes.clone().into(), ..Difference::default() };
        store.mark(&model, &difference, START).expect("marked");
        let start = RunStart { at: START, host: "builder".to_owned(), pid: 1 };
        let run = store.begin_run(&start, &[], &[]).expect("begun");
        let mut bench = Self { store, model, changes, run };
        bench.commit(&[intent(1), intent(2)]);
        bench
    }

    fn commit(&mut self, records: &[Record]) {
        let (changes, providers) = (&self.changes, &self.model.provider_keys());
        let commit =
            Commit { records, changes, providers, grounds: &[String::new()], owes: &HashMap::new(), at: START };
        self.store.commit(self.run, &commit).expect("committed");
    }

    fn in_doubt(&self) -> bool {
        let rows = self.store.recorded().expect("readable");
        rows[0].work.as_ref().is_some_and(|work| work.in_doubt)
    }
}

fn intent(call: u64) -> Record {
    Record::Intent { call: CallId(call), operation: "purge", items: vec![0], debit: None, purge: PurgeId::default() }
}

fn outcome(call: u64, outcome: ItemOutcome) -> Record {
    Record::Outcome {
        call: CallId(call),
        at: START,
        items: vec![(0, outcome)],
        may_have_purged: true,
        left_out: Vec::new(),
        credit: None,
    }
}

/// C2, R17: the outcome of one endpoint's call says nothing of the call to the other one.
#[test]
fn a_target_stays_in_doubt_until_the_last_of_its_calls_has_an_outcome() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut bench = Bench::new();
        bench.commit(&[outcome(first, ItemOutcome::AcceptedAt(endpoint(0).to_string()))]);
        assert!(bench.in_doubt(), "call {second} is still under way");
        bench.commit(&[outcome(second, ItemOutcome::Later(Some("no answer".to_owned())))]);
        assert!(!bench.in_doubt());
    }
}

/// C2: to be left for the next run is no outcome.
#[test]
fn a_target_that_is_left_stays_in_doubt() {
    let mut bench = Bench::new();
    let left = Left::Pending("stopped".to_owned());
    bench.commit(&[Record::Left { items: vec![0], left }]);
    assert!(bench.in_doubt());
}
