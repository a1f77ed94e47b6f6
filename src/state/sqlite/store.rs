//! The embedded store: one SQLite file, fully synchronised, its format checked before anything is read.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::check;
use super::connect::{BUSY_TIMEOUT, connect, connect_unwritable, create_tables, identity, is_unwritable};
use super::failure::failed;
use super::file::{
    FileId, NOT_OURS, has_log, ignore_missing, is_there, make_folder, no_state, remove_database, set_old_log_aside,
    sync_folder,
};
use super::integrity_stamp::{self, IntegrityStamp};
use super::migrate::{migrate, migrated_copy};
use super::place::{beside, literal, locate, make_own};
use super::read_ahead::ReadAhead;
use super::rows;
use super::schema::{APPLICATION_ID, FORMAT, misfit};
use super::sums::{self, WriteListener};
use super::write::{
    PersistedCall, Speakers, adopt_entries, delete, import_rows, learn_quota, note_account, note_manifests,
    write_record,
};
use super::{
    Commit, Counts, DoubtfulCall, Identity, OpenTask, QuotaUse, RefusedRun, RunRow, RunStart, Settled, StatCacheRow,
};
use super::{
    StateError, Store, TaskCounts, caches, guards, inputs, location, marks, proof, purged, quota, refusals, runs,
    stat_caches, tasks,
};
use crate::core::diff::Difference;
use crate::core::endpoints::{AwayCache, FoundCaches, ReturnedCache};
use crate::core::hold::{KnownRefusal, SeenRemovals};
use crate::core::model::Model;
use crate::core::owners::{Newcomers, Unread};
use crate::core::plan::{QuotaKey, QuotaTerms};
use crate::core::proof_record::{ProofRow, ProofVerdict, RunProof, SettledProof};
use crate::core::recorded::{Inputs, KnownManifest, PurgedRemoval, Recorded, RecordedRow};
use crate::core::target::Target;
use crate::core::text::one_line;
use crate::core::time::Timestamp;

/// A state in a SQLite file, or in memory for rehearsals.
pub struct SqliteStore {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) serial: i64,
    /// Calls of this run without an outcome.
    open: Vec<PersistedCall>,
    lineage: String,
    /// Its format, at most the newest one.
    pub(super) format: i64,
    /// The file that was opened; `None` in memory.
    pub(super) file: Option<FileId>,
    /// The log beside it, as of the last commit.
    log: FileId,
    /// The serial at which its pages were last looked through, if that is known to hold.
    pub(super) checked_at: Cell<Option<i64>>,
    /// All of its rows were added up since it was opened.
    pub(super) rows_checked: Cell<bool>,
    /// All rows that owe a probe were found since.
    pub(super) owed_checked: Cell<bool>,
    /// What is written through this connection, once anything is.
    pub(super) written: OnceCell<WriteListener>,
    /// Rows that the next comparison need not read.
    ahead: Cell<Option<ReadAhead>>,
    /// After the connection, which is closed before it.
    seal: IntegrityStamp,
}

impl SqliteStore {
    /// Opens the state at `path`; `None` if there is none, which is a first run. Where neither file nor folder can be
    /// written it is opened for reading only, and so is a state of an older format, which is shown in the newest one.
    ///
    /// # Errors
    /// [`StateError::Damaged`], [`StateError::Foreign`] or [`StateError::Newer`] for what is not a whole state of ours,
    /// [`StateError::Io`] else.
    pub fn open(path: &Path) -> Result<Option<Self>, StateError> {
        let Some(mut store) = Self::open_as_is(path)? else { return Ok(None) };
        if store.format < FORMAT {
            store.connection =
                migrated_copy(&store.connection, store.format).map_err(|error| failed(path, "read", &error))?;
        }
        Ok(Some(store))
    }

    /// As [`SqliteStore::open`], for the holder of the run lock: a state of an older format is brought to the newest one.
    ///
    /// # Errors
    /// As [`SqliteStore::open`], and [`StateError::Io`] if the newer format cannot be written; then the state is as before.
    pub fn open_to_write(path: &Path) -> Result<Option<Self>, StateError> {
        let Some(mut store) = Self::open_as_is(path)? else { return Ok(None) };
        let format = store.format;
        if format < FORMAT {
            store.write(|transaction| migrate(transaction, format))?;
            store.format = FORMAT;
        }
        Ok(Some(store))
    }

    fn open_as_is(path: &Path) -> Result<Option<Self>, StateError> {
        let Some(store) = Self::connected(path)? else { return Ok(None) };
        store.check_pages()?;
        // Cheaper commits, and readers beside them. A file that stays as it was made is as safe.
        let _ = store.connection.pragma_update(None, "journal_mode", "WAL");
        Ok(Some(store))
    }

    /// The state at `path`, not looked at but for its format.
    pub(super) fn connected(path: &Path) -> Result<Option<Self>, StateError> {
        let path = &locate(path)?;
        if !is_there(path)? {
            return Ok(None);
        }
        let (last, had_log) = (integrity_stamp::last(path), has_log(path));
        if had_log && let Ok(found) = connect_unwritable(path).and_then(|without_log| identity(&without_log)) {
            // Before the log of a newer state is played into an older one, which would then pass for that.
            integrity_stamp::check_is_last(path, &found, last.as_ref().map(|last| &last.closed))?;
        }
        let connection = match connect(path) {
            Err(error) if is_unwritable(&error) && !has_log(path) => connect_unwritable(path),
            connected => connected,
        };
        let mut store = Self::prepare(connection.map_err(|error| failed(path, "read", &error))?, path)?;
        if let Err(error) = integrity_stamp::check_is_last(path, &store.known(), last.as_ref().map(|last| &last.latest))
        {
            if had_log {
                store.leave_log();
            }
            return Err(error);
        }
        store.file = Some(FileId::of(path));
        Ok(Some(store))
    }

    /// Which state is at `path`, without a look at anything else of it; `None` if there is none.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn identity_at(path: &Path) -> Result<Option<Identity>, StateError> {
        Self::connected(path)?.map(|store| store.identity()).transpose()
    }

    /// Makes an empty state at `path` in one step: it is there whole or not at all.
    ///
    /// # Errors
    /// [`StateError::Io`] if the folder or the file cannot be made.
    pub fn create(path: &Path, lineage: &str) -> Result<Self, StateError> {
        let io = |cause: std::io::Error| StateError::Io {
            location: location(path),
            action: "created",
            cause: cause.to_string(),
        };
        let path = &locate(path)?;
        make_folder(path).map_err(io)?;
        set_old_log_aside(path).map_err(io)?;
        // The old state was taken away on purpose.
        ignore_missing(std::fs::remove_file(beside(path, ".seal"))).map_err(io)?;
        // The run lock is held, so a half-made state is that of a run that was stopped.
        let fresh = beside(path, ".new");
        remove_database(&fresh).map_err(io)?;
        let file = make_own(&fresh).map_err(io)?;
        let made = Connection::open(literal(&fresh))
            .and_then(|mut connection| create_tables(&mut connection, lineage).map(|()| connection))
            .and_then(|connection| connection.close().map_err(|(_, error)| error))
            .map_err(|error| failed(path, "created", &error));
        let rename = || file.sync_all().and_then(|()| std::fs::rename(&fresh, path)).and_then(|()| sync_folder(path));
        let renamed = made.and_then(|()| rename().map_err(io));
        // Before it is opened anew: closing a file gives up the engine's locks on it.
        drop(file);
        if renamed.is_err() {
            let _ = remove_database(&fresh);
        }
        renamed?;
        Self::open_to_write(path)?.ok_or_else(|| io(std::io::ErrorKind::NotFound.into()))
    }

    pub(super) fn prepare(connection: Connection, path: &Path) -> Result<Self, StateError> {
        let read = |error: rusqlite::Error| failed(path, "read", &error);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(read)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(read)?;
        connection.set_prepared_statement_cache_capacity(64);
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(read);
        let (application, format) = (pragma("application_id")?, pragma("user_version")?);
        if application != i64::from(APPLICATION_ID) || format < 1 {
            return Err(no_state(path, NOT_OURS));
        }
        if format > FORMAT {
            return Err(StateError::Newer { location: location(path), found: format, known: FORMAT });
        }
        if let Some(name) = misfit(&connection, format).map_err(read)? {
            let cause = format!("`{}` is not as format {format} has it", one_line(&name, 200));
            return Err(StateError::Damaged { location: location(path), cause });
        }
        check::sums(&connection, path, format)?;
        let Identity { lineage, serial } = identity(&connection).map_err(read)?;
        let log = FileId::of(&beside(path, "-wal"));
        let (open, file, checked_at, seal) = (Vec::new(), None, Cell::new(None), IntegrityStamp::new(path));
        let (rows_checked, owed_checked) = (Cell::new(false), Cell::new(false));
        let (ahead, written) = (Cell::new(None), OnceCell::new());
        let path = path.into();
        Ok(Self {
            connection,
            path,
            serial,
            open,
            lineage,
            format,
            file,
            log,
            checked_at,
            rows_checked,
            owed_checked,
            written,
            ahead,
            seal,
        })
    }

    /// Which state it is, as of this program's last look.
    fn known(&self) -> Identity {
        Identity { lineage: self.lineage.clone(), serial: self.serial }
    }

    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        query(&self.connection).map_err(|error| failed(&self.path, "read", &error))
    }

    /// One transaction that also raises the serial, and fails if another copy went on meanwhile.
    pub(super) fn write<T>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        self.check_place()?;
        self.check_pages()?;
        let listener = self.listener()?;
        let (path, expected) = (self.path.clone(), self.serial);
        let written = |error: rusqlite::Error| failed(&path, "written", &error);
        let transaction = self.connection.transaction().map_err(written)?;
        let raised = transaction
            .prepare_cached("UPDATE meta SET serial = serial + 1 WHERE serial = ?1 AND lineage = ?2")
            .and_then(|mut raise| raise.execute(params![expected, self.lineage]))
            .map_err(written)?;
        if raised != 1 {
            let found = transaction.query_row("SELECT serial FROM meta", [], |row| row.get(0)).map_err(written)?;
            return Err(StateError::Overtaken { location: location(&path), found, expected });
        }
        let value = body(&transaction).map_err(written)?;
        if let Some(listener) = listener {
            listener.add_to(&transaction).map_err(written)?;
        }
        transaction.commit().map_err(written)?;
        self.serial += 1;
        self.check_place()?;
        if self.file.is_some() {
            self.seal.note(&self.known());
            self.seal.set_due(self.checked_at.get().map(|serial| (serial, self.known())));
        }
        self.log = FileId::of(&beside(&self.path, "-wal"));
        Ok(value)
    }

    /// Where locks do not work, or copies of a state are moved about, another file may have taken the name. What is
    /// written to the one that was opened would be lost without a word, so it counts as not written.
    fn check_place(&mut self) -> Result<(), StateError> {
        if self.file.is_none_or(|file| file == FileId::of(&self.path)) {
            return Ok(());
        }
        self.seal.set_due(None);
        // Our log has a name that now belongs to the other file: it must neither be played into it nor be kept up.
        self.leave_log();
        if self.log == FileId::of(&beside(&self.path, "-wal")) {
            let _ = set_old_log_aside(&self.path);
        }
        Err(StateError::Replaced { location: location(&self.path) })
    }

    /// Lets the log stay as it is when this connection is closed.
    fn leave_log(&self) {
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

impl Store for SqliteStore {
    fn compare_with(&self, ahead: Option<ReadAhead>) {
        self.ahead.set(ahead);
    }

    fn stat_cache(&self, directory: &str, rules: &[u8; 32]) -> Option<Vec<u8>> {
        stat_caches::read(self, directory, rules)
    }

    fn cached_directories(&self) -> Result<Vec<String>, StateError> {
        stat_caches::directories(self)
    }

    fn keep_stat_caches(&mut self, caches: &[StatCacheRow], gone: &[String]) -> Result<(), StateError> {
        self.write(|transaction| stat_caches::keep(transaction, caches, gone))
    }

    fn is_first_run(&self) -> Result<bool, StateError> {
        self.read(|db| {
            let sql = "SELECT NOT EXISTS (SELECT 1 FROM target WHERE hash IS NOT NULL)";
            db.prepare_cached(sql)?.query_row([], |row| row.get(0))
        })
    }

    fn recorded(&self) -> Result<Vec<Recorded>, StateError> {
        let (mut list, mut sum) = (Vec::new(), 0);
        self.check_pages()?;
        self.check_rows()?;
        self.in_one_look(|| {
            let expected = self.compared_sum()?;
            self.each_row("ORDER BY provider, scope, target", [], |row| {
                sum = u64::wrapping_add(sum, sums::compared(row)?);
                list.push(rows::read(row)?);
                Ok(())
            })?;
            self.prove(sum, expected)
        })?;
        Ok(list)
    }

    fn recorded_of(&self, text: &str) -> Result<Vec<Recorded>, StateError> {
        let mut list = Vec::new();
        self.check_rows()?;
        self.each_row("WHERE target = ?1 ORDER BY provider, scope", [text], |row| {
            list.push(rows::read(row)?);
            Ok(())
        })?;
        Ok(list)
    }

    fn scan(&self, visit: &mut dyn FnMut(RecordedRow<'_>)) -> Result<(), StateError> {
        self.check_pages()?;
        match self.ahead.take() {
            Some(ahead) if ahead.scan(&self.identity()?, visit)? => Ok(()),
            _ => self.in_one_look(|| {
                self.scan_while(&mut |row| {
                    visit(row);
                    true
                })
            }),
        }
    }

    fn look_up(&self, model: &Model, visit: &mut dyn FnMut(RecordedRow<'_>)) -> Result<(), StateError> {
        self.visit_entries(model, visit)
    }

    fn inputs(&self) -> Result<Option<Inputs>, StateError> {
        self.check_pages()?;
        self.read(inputs::read)
    }

    fn has_work(&self) -> Result<bool, StateError> {
        self.check_pages()?;
        let any = "SELECT EXISTS (SELECT 1 FROM target INDEXED BY target_work WHERE work_kind IS NOT NULL)";
        self.read(|db| db.prepare_cached(any)?.query_row([], |row| row.get(0)))
    }

    fn manifests(&self) -> Result<Vec<KnownManifest>, StateError> {
        self.read(inputs::manifests)
    }

    fn quota_used(&self, key: &QuotaKey) -> Result<u64, StateError> {
        self.read(|db| quota::used(db, key))
    }

    fn quota_uses(&self) -> Result<Vec<QuotaUse>, StateError> {
        self.read(quota::uses)
    }

    fn quota_terms(&self) -> Result<Vec<(QuotaTerms, String)>, StateError> {
        self.read(quota::terms)
    }

    fn account_of(&self, provider: &str) -> Result<Option<String>, StateError> {
        self.read(|db| {
            let sql = "SELECT fingerprint FROM account NOT INDEXED WHERE provider = ?1";
            db.prepare_cached(sql)?.query_row([provider], |row| row.get(0)).optional()
        })
    }

    fn directories_refused(&self, provider: &str) -> Result<Option<(String, Timestamp)>, StateError> {
        self.read(|db| refusals::of(db, provider))
    }

    fn caches_away(&self, now: Timestamp) -> Result<Vec<AwayCache>, StateError> {
        self.read(|db| caches::away(db, now))
    }

    fn doubtful_calls(&self) -> Result<Vec<DoubtfulCall>, StateError> {
        self.read(tasks::doubtful)
    }

    fn runs(&self, most: usize) -> Result<Vec<RunRow>, StateError> {
        self.read(|db| runs::last(db, most))
    }

    fn refusals(&self) -> Result<Vec<KnownRefusal>, StateError> {
        self.read(guards::known)
    }

    fn seen_removals(&self) -> Result<SeenRemovals, StateError> {
        self.read(guards::seen_removals)
    }

    fn purged_removals(&self, text: &str) -> Result<Vec<PurgedRemoval>, StateError> {
        self.read(|db| purged::of(db, text))
    }

    fn purged_targets(&self) -> Result<Vec<String>, StateError> {
        self.read(purged::targets)
    }

    fn identity(&self) -> Result<Identity, StateError> {
        self.read(identity)
    }

    fn open_tasks(&self) -> Result<Vec<OpenTask>, StateError> {
        self.check_rows()?;
        self.read(tasks::open)
    }

    fn task_counts(&self) -> Result<Vec<TaskCounts>, StateError> {
        self.check_rows()?;
        self.read(tasks::counts)
    }

    fn owed_proofs(&self, providers: &[String], until: Timestamp, limit: usize) -> Result<Vec<ProofRow>, StateError> {
        self.owed(providers, (until, limit))
    }

    fn next_proof_due(&self, providers: &[String]) -> Result<Option<Timestamp>, StateError> {
        self.next_due(providers)
    }

    fn proofs(&self) -> Result<Vec<ProofRow>, StateError> {
        self.check_rows()?;
        self.read(proof::all)
    }

    fn proof_of(&self, provider: &str, target: &Target) -> Result<Option<ProofRow>, StateError> {
        self.check_rows()?;
        self.read(|db| proof::of(db, provider, target))
    }

    fn proof_counts(&self) -> Result<Vec<(String, ProofVerdict, u64)>, StateError> {
        self.check_rows()?;
        self.read(proof::counts)
    }

    fn varies(&self) -> Result<Vec<(String, Vec<String>)>, StateError> {
        self.read(proof::varies)
    }

    fn enter_namespace(&mut self, model: &Model, newcomers: &Newcomers) -> Result<bool, StateError> {
        self.bring_in(model, newcomers)
    }

    fn mark(&mut self, model: &Model, difference: &Difference, at: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| marks::mark(transaction, model, difference, at))
    }

    fn note_refusals(&mut self, covers: &[String], refused: &[KnownRefusal]) -> Result<(), StateError> {
        guards::note(self, covers, refused)
    }

    fn forget_seen_removals(&mut self, keys: &[(String, Target)]) -> Result<(), StateError> {
        self.write(|transaction| {
            keys.iter().try_for_each(|(provider, target)| guards::forget_removal(transaction, provider, target))
        })
    }

    fn note_refused_run(&mut self, refused: &RefusedRun<'_>) -> Result<(), StateError> {
        self.write(|transaction| runs::note_refused(transaction, refused))
    }

    fn note_inputs(&mut self, noted: &Inputs) -> Result<(), StateError> {
        self.write(|transaction| inputs::replace(transaction, Some(noted)))
    }

    fn mark_seen(&mut self, model: &Model, difference: &Difference) -> Result<(), StateError> {
        self.write(|transaction| marks::mark_seen(transaction, model, difference))
    }

    fn adopt(&mut self, model: &Model, entries: &[usize], unread: &Unread, at: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            let speakers = Speakers::new(model, &unread.spoken_for);
            adopt_entries(transaction, model, entries, (&speakers, at))?;
            note_manifests(transaction, model, &unread.noted)?;
            inputs::replace(transaction, None)
        })
    }

    fn begin_run(
        &mut self,
        start: &RunStart,
        accounts: &[(String, String)],
        in_use: &[String],
    ) -> Result<i64, StateError> {
        self.open.clear();
        self.write(|transaction| {
            accounts.iter().try_for_each(|account| note_account(transaction, account, in_use))?;
            runs::begin(transaction, start)
        })
    }

    fn note_quota_terms(&mut self, of_providers: &[(String, Vec<QuotaTerms>)]) -> Result<(), StateError> {
        quota::note_new_terms(self, of_providers)
    }

    fn note_caches(&mut self, found: &[FoundCaches], at: Timestamp) -> Result<(), StateError> {
        caches::note_new(self, found, at)
    }

    fn owe_caches(&mut self, back: &[ReturnedCache], at: Timestamp) -> Result<u64, StateError> {
        self.write(|transaction| caches::owe(transaction, back, at))
    }

    fn commit(&mut self, run: i64, batch: &Commit<'_>) -> Result<(), StateError> {
        let mut open = std::mem::take(&mut self.open);
        let written = self.write(|transaction| {
            for record in batch.records {
                write_record(transaction, run, batch, record, &mut open)?;
            }
            Ok(())
        });
        self.open = open;
        written
    }

    fn finish_run(&mut self, run: i64, at: Timestamp, exit: i64, calls: u64, counts: Counts) -> Result<(), StateError> {
        self.write(|transaction| runs::finish(transaction, run, (at, exit, calls, counts)))
    }

    fn settle(&mut self, settled: &[Settled], at: Timestamp) -> Result<u64, StateError> {
        self.write(|transaction| {
            let due = tasks::settle(transaction, settled, at)?;
            if due > 0 {
                inputs::replace(transaction, None)?;
            }
            Ok(due)
        })
    }

    fn settle_proofs(&mut self, settled: &[SettledProof], at: Timestamp) -> Result<u64, StateError> {
        self.write(|transaction| proof::settle(transaction, settled, at))
    }

    fn note_proof(&mut self, run: i64, proof: RunProof) -> Result<(), StateError> {
        self.write(|transaction| proof::note_run(transaction, run, proof))
    }

    fn note_vary(&mut self, host: &str, names: &[String], at: Timestamp) -> Result<(), StateError> {
        proof::note_vary(self, (host, names), at)
    }

    fn learn_quota(&mut self, key: &QuotaKey, used: u64) -> Result<(), StateError> {
        self.write(|transaction| learn_quota(transaction, key, used))
    }

    fn forget(&mut self, keys: &[(String, Target)]) -> Result<usize, StateError> {
        self.write(|transaction| {
            let gone = keys.iter().map(|(provider, target)| delete(transaction, provider, target));
            let gone = gone.sum::<rusqlite::Result<usize>>()?;
            inputs::replace(transaction, None).map(|()| gone)
        })
    }

    fn forget_manifests(&mut self, names: &[String]) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM manifest WHERE name = ?1")?;
            names.iter().try_for_each(|name| {
                guards::forget_manifest(transaction, name)?;
                statement.execute([name]).map(drop)
            })
        })
    }

    fn raise_quota(&mut self, spent: &[QuotaUse]) -> Result<(), StateError> {
        self.write(|transaction| spent.iter().try_for_each(|spent| quota::raise(transaction, spent)))
    }

    fn import(&mut self, imported: &[Recorded]) -> Result<(), StateError> {
        self.write(|transaction| import_rows(transaction, imported))
    }

    fn import_proofs(&mut self, rows: &[ProofRow]) -> Result<(), StateError> {
        self.write(|transaction| rows.iter().try_for_each(|row| proof::write(transaction, row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b?c#d%.db");
        drop(SqliteStore::create(&path, "lineage").unwrap());
        let connection = connect_unwritable(&path).unwrap();
        let mut store = SqliteStore::prepare(connection, &path).unwrap();
        assert_eq!((store.identity().unwrap().lineage.as_str(), store.recorded().unwrap().len()), ("lineage", 0));
        assert!(store.import(&[]).is_err());
        assert!(!has_log(&path) && !beside(&path, "-shm").exists());
        std::fs::write(beside(&path, "-wal"), "log").unwrap();
        assert!(has_log(&path));
    }

    /// C4: a migration that cannot be finished leaves the old state, whole.
    #[test]
    fn a_migration_that_fails_leaves_the_old_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::fs::write(&path, include_bytes!("../../../tests/it/golden/states/format-1.db")).unwrap();
        let mut store = SqliteStore::connected(&path).unwrap().unwrap();
        let told = |store: &SqliteStore| {
            let all = "SELECT group_concat(sql) || (SELECT serial || tool FROM meta) FROM sqlite_schema";
            let text: String = store.connection.query_row(all, [], |row| row.get(0)).unwrap();
            (text, store.connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)).unwrap())
        };
        let before = told(&store);
        // The last statement fails.
        let full = "CREATE TEMP TRIGGER t BEFORE UPDATE OF tool ON meta BEGIN SELECT raise(ABORT, 'full'); END";
        store.connection.execute_batch(full).unwrap();
        let failed = store.write(|transaction| migrate(transaction, 1));
        assert!(matches!(failed, Err(StateError::Io { action: "written", .. })), "{failed:?}");
        drop(store);
        assert_eq!(told(&SqliteStore::connected(&path).unwrap().unwrap()), before);
    }
}
