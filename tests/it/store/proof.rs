//! Proof of accepted purges: what is owed, when it counts, and what takes it away.

use freshen::core::entries::{Draft, Listing};
use freshen::core::owners::Newcomers;
use freshen::core::proof_record::ProofVerdict::{Inconclusive, Stale, Unverifiable, Verified};
use freshen::core::proof_record::{ProofRow, ProofVerdict, RunProof, SettledProof};
use freshen::core::proof_terms::{ProofTerms, Verify};

use super::*;

/// How long after an acceptance a probe is owed.
const SETTLE_MS: i64 = 5_000;
/// When purges of this suite are accepted.
const ACCEPTED_AT: Timestamp = START.plus_ms(9);
const DUE: Timestamp = ACCEPTED_AT.plus_ms(SETTLE_MS);

fn removal(number: usize) -> Change {
    Change { kind: ChangeKind::Removed, desired: None, ..change(0, &url(number)) }
}

fn ready(items: &[usize]) -> Record {
    Record::Ready { items: items.to_vec(), at: START.plus_ms(3), validator: Some("\"5d8c\"".into()) }
}

/// A call for all of the changes, from its intent to its acceptance.
fn purge(call: u64, changes: &[Change]) -> [Record; 2] {
    let all: Vec<usize> = (0..changes.len()).collect();
    [intent(call, &all), outcome(call, &all, &accepted())]
}

fn all_owe(changes: &[Change]) -> HashMap<usize, i64> {
    (0..changes.len()).map(|index| (index, SETTLE_MS)).collect()
}

/// Marks changes and purges them, and all of them ask for proof.
fn purge_owing(bench: &mut Bench, call: u64, changes: &[Change]) {
    bench.mark(changes);
    let run = bench.begin();
    bench.commit_owing(run, changes, &purge(call, changes), &all_owe(changes)).expect("committed");
}

fn proof(bench: &Bench, number: usize) -> Option<ProofRow> {
    bench.store.proof_of("a", &Target::url(url(number))).expect("readable")
}

/// The only row.
fn only(bench: &Bench) -> ProofRow {
    let rows = bench.store.proofs().expect("readable");
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().expect("one")
}

fn providers() -> Vec<String> {
    ["a", "b"].map(str::to_owned).to_vec()
}

fn owed(bench: &Bench, until: Timestamp) -> Vec<String> {
    let owed = bench.store.owed_proofs(&providers(), until, 99).expect("readable");
    owed.into_iter().map(|row| row.target.text).collect()
}

/// What a probe after the acceptance has shown of a row.
fn settled(row: &ProofRow, verdict: ProofVerdict) -> SettledProof {
    SettledProof {
        row: row.clone(),
        verdict,
        by: Some("etag".into()),
        probed_at: Some(DUE.plus_ms(1)),
        due: None,
        seen: Some("{\"status\":200}".into()),
        repurges: row.repurges,
        variants: Vec::new(),
        mark_stale: None,
    }
}

fn stale(row: &ProofRow) -> SettledProof {
    SettledProof { mark_stale: Some("stale at 127.0.0.1".into()), ..settled(row, ProofVerdict::Stale) }
}

/// As a later run marks what is purged again.
fn stale_change(number: usize) -> Change {
    let hash = Some(ContentHash::from_canonical("rev:2"));
    Change {
        kind: ChangeKind::Stale,
        recorded: hash.clone(),
        desired: hash,
        progress: Progress::Admitted,
        ..change(0, &url(number))
    }
}

/// One target that was purged and found stale.
fn found_stale(bench: &mut Bench) {
    purge_owing(bench, 1, &urls(1));
    let row = only(bench);
    assert_eq!(bench.store.settle_proofs(&[stale(&row)], DUE.plus_ms(2)).expect("settled"), 0);
}

#[test]
fn an_acceptance_owes_a_probe_where_proof_is_asked_for() {
    each_store(|bench| {
        let changes = urls(3);
        bench.mark(&changes);
        let run = bench.begin();
        let [intent, outcome] = purge(1, &changes);
        bench.commit_owing(run, &changes, &[ready(&[0, 2]), intent], &HashMap::new()).unwrap();
        let seen = proof(bench, 0).expect("its origin was seen");
        assert_eq!((seen.accepted_at, seen.due, seen.verdict), (None, None, ProofVerdict::Due));
        assert_eq!(bench.store.proof_counts().unwrap(), [], "what is not purged yet has no verdict");
        bench.reopen();
        bench.commit_owing(run, &changes, &[outcome], &HashMap::from([(0, SETTLE_MS), (1, 2 * SETTLE_MS)])).unwrap();
        bench.reopen();
        let rows = bench.store.proofs().unwrap();
        let unproven =
            |number| ProofRow::unproven("a".into(), Target::url(url(number)), ContentHash::from_canonical("rev:2"));
        let expected = [
            ProofRow {
                ready_at: Some(START.plus_ms(3)),
                validator: Some("\"5d8c\"".into()),
                accepted_at: Some(ACCEPTED_AT),
                due: Some(DUE),
                ..unproven(0)
            },
            ProofRow { accepted_at: Some(ACCEPTED_AT), due: Some(DUE.plus_ms(SETTLE_MS)), ..unproven(1) },
        ];
        assert_eq!(rows, expected, "the third one asks for no proof, and what was seen of its origin is over");
        assert_eq!(bench.store.proof_counts().unwrap(), [("a".to_owned(), ProofVerdict::Due, 2)]);
    });
}

#[test]
fn owed_probes_are_found_when_they_are_due_and_the_oldest_first() {
    each_store(|bench| {
        assert_eq!(bench.store.next_proof_due(&providers()).unwrap(), None);
        let changes = urls(3);
        bench.mark(&changes);
        let run = bench.begin();
        let owes = HashMap::from([(0, 300), (1, 100), (2, 200)]);
        bench.commit_owing(run, &changes, &purge(1, &changes), &owes).unwrap();
        bench.reopen();
        let after = |ms| owed(bench, ACCEPTED_AT.plus_ms(ms));
        assert_eq!((after(99), after(100), after(299)), (vec![], vec![url(1)], vec![url(1), url(2)]));
        assert_eq!(after(9_000), [url(1), url(2), url(0)]);
        assert_eq!(bench.store.owed_proofs(&providers(), ACCEPTED_AT.plus_ms(9_000), 2).unwrap().len(), 2);
        assert_eq!(bench.store.next_proof_due(&providers()).unwrap(), Some(ACCEPTED_AT.plus_ms(100)));
        let others = &["b".to_owned(), "team:a".to_owned()];
        assert_eq!(bench.store.owed_proofs(others, ACCEPTED_AT.plus_ms(9_000), 99).unwrap(), [], "for others to make");
        assert_eq!(bench.store.next_proof_due(others).unwrap(), None);
    });
}

/// A crash owes the probe or has recorded nothing: never is a purge recorded and its probe forgotten.
#[test]
fn an_acceptance_and_what_it_owes_are_written_together() {
    each_store(|bench| {
        let changes = urls(1);
        bench.mark(&changes);
        let run = bench.begin();
        bench.commit(run, &changes, &[intent(1, &[0])]);
        // The last record cannot be written: its call has a number that is known.
        let records = [outcome(9, &[0], &accepted()), intent(1, &[0])];
        assert!(bench.commit_owing(run, &changes, &records, &all_owe(&changes)).is_err());
        bench.reopen();
        assert_eq!((bench.work(&url(0)).in_doubt, proof(bench, 0)), (true, None));
        bench.commit_owing(run, &changes, &records[..1], &all_owe(&changes)).unwrap();
        // As a process leaves it that is killed at once.
        let killed = bench.folder.path().join("killed");
        std::fs::create_dir(&killed).unwrap();
        for suffix in ["", "-wal"] {
            let name = format!("state.db{suffix}");
            std::fs::copy(bench.folder.path().join(&name), killed.join(&name)).unwrap();
        }
        let left = (bench.kind.open)(&killed.join("state.db")).unwrap().expect("there");
        assert_eq!(left.recorded().unwrap()[0].work, None);
        assert_eq!(left.next_proof_due(&providers()).unwrap(), Some(DUE));
    });
}

/// What was seen of older content counts no more, also where the old content comes back.
#[test]
fn a_change_that_is_seen_takes_the_proof_of_its_target_along() {
    each_store(|bench| {
        let changes = urls(5);
        purge_owing(bench, 1, &changes);
        let forced = Change { kind: ChangeKind::Forced, recorded: changes[1].desired.clone(), ..changes[1].clone() };
        bench.mark(&[changes[0].clone(), forced, removal(2)]);
        bench.store.mark_seen(&bench.model, &of_changes(&[changes[3].clone()])).unwrap();
        bench.reopen();
        assert_eq!(owed(bench, DUE), [url(4)]);
        // A removal that a guard holds back is no work, and what was purged stays to be proven.
        let kept_back = Difference { kept_back: vec![0], ..of_changes(&[removal(4)]) };
        bench.store.mark(&bench.model, &kept_back, START).unwrap();
        bench.store.mark_seen(&bench.model, &of_changes(&[removal(4)])).unwrap();
        assert_eq!(owed(bench, DUE), [url(4)]);
    });
}

#[test]
fn what_is_forgotten_adopted_imported_or_failed_owes_no_probe() {
    each_store(|bench| {
        let changes = urls(6);
        purge_owing(bench, 1, &changes);
        let at = |number: usize| ("a".to_owned(), Target::url(url(number)));
        bench.store.forget(&[at(0)]).unwrap();
        let difference = Difference { forget: vec![at(1)], dropped: vec![at(2)], ..Difference::default() };
        bench.store.mark(&bench.model, &difference, START).unwrap();
        bench.model.entries = Entries::from_iter([entry(3)]);
        bench.store.adopt(&bench.model, &[0], &Unread::default(), START).unwrap();
        let elsewhere = Recorded { recorded_at: Some(START.plus_ms(1)), ..bench.row(&url(4)) };
        bench.store.import(&[elsewhere]).unwrap();
        let task = bench.store.open_tasks().unwrap().into_iter().find(|task| task.target.text == url(5));
        let failed = Settled { task: task.expect("accepted with a task"), state: TaskState::Failed };
        assert_eq!(bench.store.settle(&[failed], DUE).unwrap(), 1);
        bench.reopen();
        assert_eq!(bench.store.proofs().unwrap(), []);
    });
}

fn entry(number: usize) -> Entry {
    Entry {
        provider: 0,
        target: Target::url(url(number)),
        hash: ContentHash::from_canonical("rev:7"),
        priority: Priority::Normal,
        manifests: vec![0],
        place: Location::default(),
        matched: Matched::Host,
    }
}

/// An entry whose manifest asks for proof.
fn proven(entry: Entry) -> Entries {
    let Entry { provider, target, hash, priority, place, matched, .. } = entry;
    let mut draft = Draft::default();
    let packed = draft.push(&target.text, &hash);
    draft.list(packed, &Listing { provider, scope: target.scope, priority, place, matched, terms: Some(0) });
    draft.finish(drop)
}

#[test]
fn verified_is_done_and_unclear_is_probed_again() {
    each_store(|bench| {
        purge_owing(bench, 1, &urls(4));
        let rows = bench.store.proofs().unwrap();
        let again = DUE.plus_ms(15_000);
        let long = Some("x".repeat(513));
        let came = [
            settled(&rows[0], ProofVerdict::Verified),
            SettledProof { due: Some(again), seen: long, ..settled(&rows[1], ProofVerdict::Inconclusive) },
            settled(&rows[2], ProofVerdict::Unverifiable),
            SettledProof { due: Some(again), repurges: 2, ..settled(&rows[3], ProofVerdict::Stale) },
        ];
        bench.store.note_inputs(&Inputs::default()).unwrap();
        assert_eq!(bench.store.settle_proofs(&came, DUE.plus_ms(2)).unwrap(), 0);
        assert!(bench.store.inputs().unwrap().is_some(), "nothing is due: what was compared holds");
        bench.reopen();
        let known = ProofRow {
            verdict: ProofVerdict::Verified,
            by: Some("etag".into()),
            probed_at: Some(DUE.plus_ms(1)),
            due: None,
            seen: Some("{\"status\":200}".into()),
            ..rows[0].clone()
        };
        assert_eq!(proof(bench, 0), Some(known));
        assert_eq!(proof(bench, 1).unwrap().seen, None, "too long");
        assert_eq!(proof(bench, 3).unwrap().repurges, 2);
        assert_eq!((owed(bench, DUE), owed(bench, again)), (vec![], vec![url(1), url(3)]));
        assert!(bench.rows().iter().all(|row| row.work.is_none()));
        let counts = [Verified, Stale, Inconclusive, Unverifiable].map(|verdict| ("a".to_owned(), verdict, 1));
        assert_eq!(bench.store.proof_counts().unwrap(), counts);
    });
}

#[test]
fn what_is_stale_is_due_again_with_what_is_recorded() {
    each_store(|bench| {
        purge_owing(bench, 1, &urls(2));
        bench.store.note_inputs(&Inputs::default()).unwrap();
        let row = proof(bench, 0).unwrap();
        assert_eq!(bench.store.settle_proofs(&[stale(&row)], DUE.plus_ms(2)).expect("settled"), 0);
        bench.reopen();
        assert_eq!(bench.store.inputs().unwrap(), None, "what was compared is not all that there is to do");
        let recorded = bench.row(&url(0));
        assert_eq!(
            recorded.work,
            Some(Work {
                desired: recorded.hash.clone(),
                kind: ChangeKind::Stale,
                priority: Priority::Normal,
                since: DUE.plus_ms(2),
                standing: Standing::Pending { reason: Some("stale at 127.0.0.1".into()) },
                progress: Progress::Admitted,
                in_doubt: false,
                may_have_been_purged: false,
                accepted_at: Vec::new(),
            })
        );
        assert_eq!((recorded.hash, recorded.recorded_at), (row.hash.clone(), Some(ACCEPTED_AT)));
        let row = proof(bench, 0).unwrap();
        assert_eq!((row.verdict, row.due, row.repurges), (ProofVerdict::Stale, None, 1));
        assert_eq!(owed(bench, DUE), [url(1)], "it owes none before it was purged again");
        assert_eq!(bench.row(&url(1)).work, None);
    });
}

/// How often it was purged again is known until other content comes, or the user purges it anew.
#[test]
fn repurges_are_counted_for_one_content() {
    each_store(|bench| {
        found_stale(bench);
        purge_owing(bench, 2, &[stale_change(0)]);
        bench.reopen();
        let row = only(bench);
        assert_eq!((row.verdict, row.repurges, row.due), (ProofVerdict::Due, 1, Some(DUE)));
        assert_eq!((row.by, row.probed_at, row.seen), (None, None, None), "what was seen before is over");
        assert_eq!(bench.store.settle_proofs(&[stale(&only(bench))], DUE).unwrap(), 0);
        assert_eq!(only(bench).repurges, 2);
        purge_owing(bench, 3, &[Change { kind: ChangeKind::Forced, ..stale_change(0) }]);
        assert_eq!(only(bench).repurges, 0);
        bench.store.settle_proofs(&[stale(&only(bench))], DUE).unwrap();
        let other = ContentHash::from_canonical("rev:3");
        purge_owing(bench, 4, &[Change { desired: Some(other.clone()), ..change(0, &url(0)) }]);
        assert_eq!((only(bench).repurges, only(bench).hash), (0, Some(other)));
    });
}

/// The origin is asked again before what is stale is purged: it may have been rolled back.
#[test]
fn an_origin_is_ready_for_one_run_only() {
    each_store(|bench| {
        let changes = urls(1);
        bench.mark(&changes);
        let run = bench.begin();
        let [intent, outcome] = purge(1, &changes);
        bench.commit_owing(run, &changes, &[ready(&[0]), intent, outcome], &all_owe(&changes)).unwrap();
        bench.store.settle_proofs(&[stale(&only(bench))], DUE).unwrap();
        assert_eq!(only(bench).ready_at, Some(START.plus_ms(3)), "shown until a run goes on");
        let again = [stale_change(0)];
        bench.mark(&again);
        assert_eq!((only(bench).ready_at, only(bench).validator, only(bench).repurges), (None, None, 1));
        let run = bench.begin();
        bench.commit_owing(run, &again, &[ready(&[0])], &HashMap::new()).unwrap();
        bench.commit_owing(run, &again, &purge(2, &again), &all_owe(&again)).unwrap();
        assert_eq!((only(bench).ready_at, only(bench).repurges), (Some(START.plus_ms(3)), 1));
        // Noted by a run that sent nothing, and of other content by now.
        bench.mark(&changes);
        bench.commit_owing(run, &changes, &[ready(&[0])], &HashMap::new()).unwrap();
        let newer = [Change { desired: Some(ContentHash::from_canonical("rev:3")), ..change(0, &url(0)) }];
        bench.commit_owing(run, &newer, &purge(3, &newer), &all_owe(&newer)).unwrap();
        assert_eq!((only(bench).ready_at, only(bench).validator), (None, None));
    });
}

/// A target that is purged and asks for no proof any more has none.
#[test]
fn proof_that_is_not_asked_for_any_more_is_forgotten() {
    each_store(|bench| {
        found_stale(bench);
        let again = [stale_change(0)];
        bench.mark(&again);
        let run = bench.begin();
        bench.commit(run, &again, &purge(2, &again));
        bench.reopen();
        assert_eq!((bench.store.proofs().unwrap(), bench.row(&url(0)).work), (vec![], None));
    });
}

#[test]
fn results_about_an_older_acceptance_are_dropped() {
    each_store(|bench| {
        let changes = urls(5);
        purge_owing(bench, 1, &changes);
        let rows = bench.store.proofs().unwrap();
        // Meanwhile one changes, one is purged again, one is forgotten, and another process settles one.
        bench.mark(&changes[..1]);
        bench.mark(&changes[1..2]);
        let run = bench.begin();
        let Record::Outcome { call, items, .. } = outcome(2, &[1], &accepted()) else { unreachable!() };
        let later = Record::Outcome {
            call,
            at: ACCEPTED_AT.plus_ms(1),
            items,
            may_have_purged: true,
            left_out: Vec::new(),
            credit: None,
        };
        bench.commit_owing(run, &changes, &[later], &HashMap::from([(1, SETTLE_MS)])).unwrap();
        bench.store.forget(&[("a".into(), Target::url(url(2)))]).unwrap();
        bench.store.settle_proofs(&[stale(&rows[3])], DUE).unwrap();
        let before = bench.store.proofs().unwrap();
        let all: Vec<SettledProof> = rows[..4].iter().map(|row| settled(row, ProofVerdict::Verified)).collect();
        assert_eq!(bench.store.settle_proofs(&all, DUE).unwrap(), 4);
        let twice: Vec<SettledProof> = rows[..4].iter().map(stale).collect();
        assert_eq!(bench.store.settle_proofs(&twice, DUE).unwrap(), 4);
        bench.reopen();
        assert_eq!(bench.store.proofs().unwrap(), before);
        assert_eq!(proof(bench, 3).unwrap().repurges, 1, "once");
        assert_eq!(bench.store.settle_proofs(&[settled(&rows[4], ProofVerdict::Verified)], DUE).unwrap(), 0);
    });
}

/// A row that no acceptance of what is recorded stands behind is not asked about for ever.
#[test]
fn a_row_that_is_not_about_what_is_recorded_goes_with_its_result() {
    each_store(|bench| {
        purge_owing(bench, 1, &urls(1));
        let row = only(bench);
        let mut recorded = bench.row(&url(0));
        recorded.hash = Some(ContentHash::from_canonical("rev:9"));
        bench.store.import(&[recorded]).unwrap();
        bench.store.import_proofs(std::slice::from_ref(&row)).unwrap();
        assert_eq!(owed(bench, DUE), [url(0)]);
        assert_eq!(bench.store.settle_proofs(&[stale(&row)], DUE).unwrap(), 1);
        assert_eq!((bench.store.proofs().unwrap(), bench.row(&url(0)).work), (vec![], None));
    });
}

/// What was recorded before anybody asked for proof may be probed as well.
#[test]
fn a_recorded_target_without_a_row_may_be_probed() {
    each_store(|bench| {
        bench.know(&urls(3));
        bench.mark(&urls(3)[2..]);
        let unproven = |number, hash: &str| {
            ProofRow::unproven("a".into(), Target::url(url(number)), ContentHash::from_canonical(hash))
        };
        let rows = [unproven(0, "rev:1"), unproven(1, "rev:2"), unproven(2, "rev:1"), unproven(3, "rev:1")];
        let came = rows.each_ref().map(|row| settled(row, ProofVerdict::Verified));
        assert_eq!(bench.store.settle_proofs(&came, DUE).unwrap(), 3, "of other content, with work, unknown");
        assert_eq!((only(bench).verdict, only(bench).target.text), (ProofVerdict::Verified, url(0)));
        bench.store.settle_proofs(&[stale(&only(bench))], DUE).unwrap();
        assert_eq!(bench.work(&url(0)).kind, ChangeKind::Stale);
    });
}

/// Owners may change by an import, and what was accepted is the same.
#[test]
fn an_import_of_what_is_known_keeps_its_proof() {
    each_store(|bench| {
        purge_owing(bench, 1, &urls(3));
        let rows = bench.store.proofs().unwrap();
        bench.store.settle_proofs(&[stale(&rows[0])], DUE).unwrap();
        let before = bench.store.proofs().unwrap();
        let shared = |number| Recorded { owners: vec!["other".into(), "site".into()], ..bench.row(&url(number)) };
        let with_work = Recorded { work: bench.row(&url(0)).work, ..shared(2) };
        let with_work =
            Recorded { work: with_work.work.map(|work| Work { kind: ChangeKind::Changed, ..work }), ..with_work };
        let imported = [shared(0), shared(1), with_work];
        bench.store.import(&imported).unwrap();
        assert_eq!(bench.store.proofs().unwrap(), before[..2]);
    });
}

/// What a repository brings into its namespace is probed there, and nowhere else.
#[test]
fn proof_comes_into_a_namespace_with_its_targets() {
    each_store(|bench| {
        bench.know(&[removal(3)]);
        let theirs = Change { owners: vec!["theirs".into()], ..change(0, &url(2)) };
        purge_owing(bench, 1, &[change(0, &url(0)), change(0, &url(1)), theirs, removal(3)]);
        let mut shared = bench.row(&url(1));
        shared.owners = vec!["site".into(), "theirs".into()];
        bench.store.import(&[shared]).unwrap();
        bench.model.manifests[0].namespace = Some("team".into());
        let newcomers =
            Newcomers { namespace: "team".into(), owners: vec!["site".into()], others: vec!["theirs".into()] };
        assert!(bench.store.enter_namespace(&bench.model, &newcomers).unwrap());
        bench.reopen();
        let of = |provider: &str| {
            let owed = bench.store.owed_proofs(&[provider.to_owned()], DUE, 99).unwrap();
            owed.into_iter().map(|row| row.target.text).collect::<Vec<_>>()
        };
        // Whose removal that is nobody knows.
        assert_eq!((of("team:a"), of("a")), (vec![url(0), url(1), url(3)], vec![url(1), url(2), url(3)]));
        let rows = bench.store.owed_proofs(&["team:a".to_owned()], DUE, 99).unwrap();
        let verified: Vec<SettledProof> = rows.iter().map(|row| settled(row, ProofVerdict::Verified)).collect();
        assert_eq!(bench.store.settle_proofs(&verified, DUE).unwrap(), 0);
    });
}

/// What is removed owes the proof of its absence, although nothing else is left of it.
#[test]
fn a_removal_owes_its_proof_until_it_is_settled() {
    each_store(|bench| {
        bench.know(&urls(4));
        let removals: Vec<Change> = (0..4).map(removal).collect();
        purge_owing(bench, 1, &removals);
        bench.reopen();
        assert!(bench.rows().is_empty());
        let rows = bench.store.proofs().unwrap();
        let expected = ProofRow {
            provider: "a".into(),
            target: Target::url(url(0)),
            hash: None,
            gone: Some(ContentHash::from_canonical("rev:1")),
            owners: vec!["site".into()],
            accepted_at: Some(ACCEPTED_AT),
            due: Some(DUE),
            ..ProofRow::unproven(String::new(), Target::url(""), ContentHash::from_canonical(""))
        };
        assert_eq!((&rows[0], rows.len()), (&expected, 4));
        let later = SettledProof { due: Some(DUE.plus_ms(5_000)), ..settled(&rows[2], ProofVerdict::Inconclusive) };
        let came = [settled(&rows[0], ProofVerdict::Verified), settled(&rows[1], ProofVerdict::Unverifiable), later];
        assert_eq!(bench.store.settle_proofs(&came, DUE).unwrap(), 0);
        assert_eq!(owed(bench, DUE.plus_ms(5_000)), [url(3), url(2)]);
        // One is listed again, and adopted.
        bench.mark(&[Change { kind: ChangeKind::New, recorded: None, ..change(0, &url(2)) }]);
        bench.model.entries = Entries::from_iter([entry(3)]);
        bench.store.adopt(&bench.model, &[0], &Unread::default(), START).unwrap();
        assert_eq!(bench.store.proofs().unwrap(), []);
    });
}

#[test]
fn a_removal_that_an_edge_does_not_know_of_is_purged_again() {
    each_store(|bench| {
        bench.know(&urls(2));
        purge_owing(bench, 1, &[removal(0)]);
        assert_eq!(bench.store.settle_proofs(&[stale(&only(bench))], DUE).unwrap(), 0);
        bench.reopen();
        let (row, work) = (bench.row(&url(0)), bench.work(&url(0)));
        assert_eq!((row.hash, row.owners, only(bench).repurges), (None, vec!["site".into()], 1));
        assert_eq!((work.kind, work.desired, work.progress), (ChangeKind::Removed, None, Progress::Admitted));
        assert!(work.may_have_been_purged, "else the next comparison would drop it");
        // As the next run finds it, its hash forgotten.
        purge_owing(bench, 2, &[Change { recorded: None, ..removal(0) }]);
        bench.reopen();
        let row = only(bench);
        assert_eq!((row.repurges, row.due, row.owners.len()), (1, Some(DUE), 1));
        assert_eq!(row.gone, Some(ContentHash::from_canonical("rev:1")), "what an edge must not serve");
        assert_eq!(bench.rows().len(), 1);
        // Manifests that are gone by then would have it belong to nobody.
        bench.store.settle_proofs(&[stale(&row)], DUE).unwrap();
        purge_owing(bench, 3, &[Change { recorded: None, ..removal(0) }]);
        bench.store.forget_manifests(&["site".into()]).unwrap();
        bench.store.settle_proofs(&[stale(&only(bench))], DUE).unwrap();
        assert_eq!((bench.row(&url(0)).owners, only(bench).repurges), (Vec::<String>::new(), 3));
    });
}

/// An edge may hold an answer from before the entry was there.
#[test]
fn adoptions_of_a_run_owe_a_probe_where_proof_is_asked_for() {
    each_store(|bench| {
        let terms = ProofTerms {
            origin: None,
            wait_for_origin_ms: 0,
            verify: Some(Verify { settle_ms: 700, ..Verify::default() }),
            normalize: Vec::new(),
        };
        bench.model.entries = Entries::from_iter([entry(0)]);
        bench.store.mark(&bench.model, &Difference { adopt: vec![0], ..Difference::default() }, START).unwrap();
        assert_eq!(bench.store.proofs().unwrap(), [], "nobody asks");
        bench.model.proof_terms = vec![terms];
        bench.model.entries = proven(entry(1));
        bench.store.mark(&bench.model, &Difference { adopt: vec![0], ..Difference::default() }, START).unwrap();
        bench.reopen();
        assert_eq!((only(bench).accepted_at, only(bench).due), (Some(START), Some(START.plus_ms(700))));
        assert_eq!(bench.store.settle_proofs(&[settled(&only(bench), ProofVerdict::Verified)], DUE).unwrap(), 0);
    });
}

#[test]
fn what_is_known_of_variants_is_written_once() {
    each_store(|bench| {
        let names = ["accept-encoding".to_owned(), "accept-language".to_owned()];
        bench.store.note_vary("www.example.cn", &names, START).unwrap();
        bench.store.note_vary("a.example.cn", &names[..1], START).unwrap();
        let serial = bench.serial();
        bench.store.note_vary("www.example.cn", &names, START.plus_ms(9)).unwrap();
        assert_eq!(bench.serial(), serial);
        bench.store.note_vary("www.example.cn", &[], START.plus_ms(9)).unwrap();
        bench.reopen();
        let known = [("a.example.cn".to_owned(), names[..1].to_vec()), ("www.example.cn".to_owned(), Vec::new())];
        assert_eq!(bench.store.varies().unwrap(), known);
    });
}

#[test]
fn what_a_run_came_to_at_the_edges_stands_in_its_row() {
    each_store(|bench| {
        let runs = [bench.begin(), bench.begin()];
        let proof = RunProof { verified: 18, stale: 1, unverified: 2, probes: 60, probe_bytes: 1 << 40 };
        bench.store.note_proof(runs[0], RunProof { probes: 3, ..RunProof::default() }).unwrap();
        bench.store.note_proof(runs[0], proof).unwrap();
        bench.reopen();
        let known: Vec<RunProof> = bench.store.runs(9).unwrap().into_iter().map(|run| run.proof).collect();
        assert_eq!(known, [RunProof::default(), proof]);
    });
}

fn any_proof() -> impl Strategy<Value = ProofRow> {
    let text = || prop::option::of("\\PC{1,12}");
    let moment = || prop::option::of(any::<i64>().prop_map(Timestamp::from_unix_ms));
    let hash = || prop::option::of("[a-z0-9]{1,8}:\\PC{0,9}".prop_map(ContentHash::from_canonical));
    let target =
        (prop::sample::select(Scope::ALL.to_vec()), "\\PC{1,12}").prop_map(|(scope, text)| Target { scope, text });
    let verdict = prop::sample::select(ProofVerdict::ALL.to_vec());
    let times = (moment(), moment(), moment(), moment(), moment());
    let texts = (text(), text(), text(), prop::collection::vec("\\PC{1,9}", 0..3));
    ("\\PC{1,9}", target, (hash(), hash()), times, texts, verdict, any::<u32>()).prop_map(
        |(provider, target, (hash, gone), times, (validator, by, seen, owners), verdict, repurges)| {
            let (ready_at, accepted_at, probed_at, due, again_at) = times;
            ProofRow {
                provider,
                target,
                hash,
                gone,
                owners,
                ready_at,
                accepted_at,
                validator,
                verdict,
                by,
                probed_at,
                due,
                again_at,
                repurges,
                seen,
                variants: vec![vec![("Accept-Encoding".to_owned(), "gzip".to_owned())]],
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    // Whatever the texts hold; the last of two rows of a target counts.
    #[test]
    fn rows_that_are_imported_are_those_that_are_read(rows in prop::collection::vec(any_proof(), 0..20)) {
        for kind in &KINDS {
            let mut bench = Bench::new(kind);
            bench.store.import_proofs(&rows).expect("imported");
            bench.reopen();
            let by_key = |row: &ProofRow| ((row.provider.clone(), row.target.clone()), row.clone());
            let expected: BTreeMap<_, _> = rows.iter().map(by_key).collect();
            let all: Vec<String> = rows.iter().map(|row| row.provider.clone()).collect();
            let owed = expected.values().filter(|row| row.due.is_some()).count();
            prop_assert_eq!(bench.store.proofs().expect("readable"), expected.into_values().collect::<Vec<_>>());
            prop_assert_eq!(bench.store.owed_proofs(&all, Timestamp::from_unix_ms(i64::MAX), 99).expect("readable").len(), owed);
        }
    }
}
