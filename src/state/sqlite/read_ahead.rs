//! Rows of a state read by a thread of their own, while manifests are read that they will be compared with.
//!
//! They go in chunks, of which only so many wait: a late comparison finds most of the work done and the memory bounded.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Identity, SqliteStore, StateError, Store, location};
use crate::core::arena::Arena;
use crate::core::recorded::{RecordedRow, Work};
use crate::core::target::Scope;

/// A smaller file is read faster than a thread is started, in bytes.
const WORTHWHILE_BYTES: u64 = 4 * 1024 * 1024;
/// Packed bytes of a chunk, but for its last row.
const CHUNK_BYTES: usize = 512 * 1024;
/// Most rows of a chunk that have work, which is not packed.
const CHUNK_WORKS: usize = 256;
/// Most groups of a chunk, which are not packed either: where owners alternate, each row is one.
const CHUNK_GROUPS: usize = 2048;
/// Fewest chunks that may wait to be compared, and the share of the state's bytes above that. Rows take a third of their place
/// in the file, so half of them may wait: about as many as are read in the time that the manifests take.
const WAITING_CHUNKS: usize = 64;
const WAITING_SHARE: u64 = 8;

/// Rows on their way.
pub struct ReadAhead {
    path: PathBuf,
    rows: Option<Receiver<Message>>,
    reader: Option<JoinHandle<()>>,
}

enum Message {
    /// Which state the rows are of.
    Begin(Identity),
    Rows(Chunk),
    /// There are no more.
    End,
    Failed(StateError),
}

impl ReadAhead {
    /// Begins to read the state at `path`; `None` where that would not be worth it, or cannot be done.
    pub fn begin(path: &Path) -> Option<Self> {
        let bytes = std::fs::metadata(path).ok()?.len();
        if bytes < WORTHWHILE_BYTES {
            return None;
        }
        let share = usize::try_from(bytes / WAITING_SHARE).unwrap_or(usize::MAX) / CHUNK_BYTES;
        let (sender, receiver) = sync_channel(share.max(WAITING_CHUNKS));
        let of = path.to_owned();
        let read = move || {
            let read = SqliteStore::connected(&of).and_then(|store| match store {
                Some(store) => store.send_rows(&sender),
                None => Ok(()),
            });
            // A reader that does not wait any more needs no end.
            let _ = sender.send(read.map_or_else(Message::Failed, |()| Message::End));
        };
        let reader = std::thread::Builder::new().name("state".into()).spawn(read).ok()?;
        Some(Self { path: path.to_owned(), rows: Some(receiver), reader: Some(reader) })
    }

    /// Shows `visit` all rows; `false` if they are not those of the state that `expected` identifies, and none was shown.
    ///
    /// # Errors
    /// A state that cannot be read.
    pub(super) fn scan(&self, expected: &Identity, visit: &mut dyn FnMut(RecordedRow<'_>)) -> Result<bool, StateError> {
        let Some(rows) = &self.rows else { return Ok(false) };
        // What kept the reader from beginning may not keep others from it.
        if !matches!(rows.recv(), Ok(Message::Begin(found)) if found == *expected) {
            return Ok(false);
        }
        loop {
            match rows.recv() {
                Ok(Message::Rows(chunk)) => chunk.each(visit),
                Ok(Message::End) => return Ok(true),
                Ok(Message::Failed(error)) => return Err(error),
                Ok(Message::Begin(_)) | Err(_) => return Err(self.died()),
            }
        }
    }
}

impl ReadAhead {
    fn died(&self) -> StateError {
        StateError::Io { location: location(&self.path), action: "read", cause: "its reader ended early".to_owned() }
    }
}

impl Drop for ReadAhead {
    /// The reader's connection is closed before anybody writes: a log is taken in by the last one to close.
    fn drop(&mut self) {
        self.rows = None;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// What rows in a row have in common.
struct RowGroup {
    provider: String,
    scope: Scope,
    owners: Vec<String>,
    left_alone: bool,
}

/// Rows in order, each packed as what it has beyond the one before.
#[derive(Default)]
struct Chunk {
    arena: Arena,
    rows: usize,
    /// Text of the last row.
    last: String,
    /// Each with the index of its first row.
    groups: Vec<(usize, RowGroup)>,
    /// Of few rows, by their index, in order.
    works: Vec<(usize, Work)>,
}

impl Chunk {
    fn push(&mut self, row: RecordedRow<'_>) {
        let is_same = |group: &RowGroup| {
            (group.scope, group.left_alone) == (row.scope, row.left_alone)
                && (group.provider.as_str(), group.owners.as_slice()) == (row.provider, row.owners)
        };
        if !self.groups.last().is_some_and(|(_, group)| is_same(group)) {
            let RecordedRow { scope, left_alone, .. } = row;
            let (provider, owners) = (row.provider.to_owned(), row.owners.to_vec());
            self.groups.push((self.rows, RowGroup { provider, scope, owners, left_alone }));
        }
        if let Some(work) = row.work {
            self.works.push((self.rows, work.clone()));
        }
        self.arena.push_next(&self.last, row.text, row.hash);
        row.text.clone_into(&mut self.last);
        self.rows += 1;
    }

    fn each(&self, visit: &mut dyn FnMut(RecordedRow<'_>)) {
        let (mut at, mut text, mut hash) = (0, String::new(), String::new());
        let mut works = self.works.iter().peekable();
        let ends = self.groups.iter().skip(1).map(|(start, _)| *start).chain([self.rows]);
        for ((start, group), end) in self.groups.iter().zip(ends) {
            for index in *start..end {
                let (has_hash, after) = self.arena.read_next(at, &mut text, &mut hash);
                at = after;
                visit(RecordedRow {
                    provider: &group.provider,
                    scope: group.scope,
                    text: &text,
                    owners: &group.owners,
                    hash: has_hash.then_some(hash.as_str()),
                    left_alone: group.left_alone,
                    work: works.next_if(|(at, _)| *at == index).map(|(_, work)| work),
                });
            }
        }
    }
}

impl SqliteStore {
    fn send_rows(&self, to: &SyncSender<Message>) -> Result<(), StateError> {
        // The comparison looks the pages through, and reads an older format in its own way.
        if !self.trust_pages() {
            return Ok(());
        }
        // One look at the file, so that rows and identity belong together.
        self.in_one_look(|| {
            let _ = to.send(Message::Begin(self.identity()?));
            let mut chunk = Chunk::default();
            self.scan_while(&mut |row| {
                chunk.push(row);
                let has_room = chunk.works.len() < CHUNK_WORKS && chunk.groups.len() < CHUNK_GROUPS;
                if chunk.arena.len() < CHUNK_BYTES && has_room {
                    return true;
                }
                chunk.arena.shrink();
                to.send(Message::Rows(std::mem::take(&mut chunk))).is_ok()
            })?;
            let _ = to.send(Message::Rows(chunk));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::recorded::{ChangeKind, Progress, Recorded, Standing};
    use crate::core::target::{ContentHash, Target};
    use crate::core::time::Timestamp;

    /// A state that is large enough to be read ahead, with work here and there.
    fn state(path: &Path) -> SqliteStore {
        let mut store = SqliteStore::create(path, "lineage").unwrap();
        let row = |number: usize| Recorded {
            provider: if number < 20_000 { "a" } else { "b" }.to_owned(),
            target: Target::url(format!("https://a.cn/{number:08}")),
            owners: vec![if number.is_multiple_of(3) { "one" } else { "two" }.to_owned()],
            hash: (!number.is_multiple_of(5)).then(|| ContentHash::from_canonical(format!("sha256:{number:064x}"))),
            left_alone: number.is_multiple_of(7),
            recorded_at: None,
            task_id: None,
            work: number.is_multiple_of(5).then(|| Work {
                desired: None,
                kind: ChangeKind::New,
                priority: crate::core::model::Priority::Normal,
                since: Timestamp::from_unix_ms(5),
                standing: Standing::Pending { reason: Some(number.to_string()) },
                progress: Progress::Tried,
                in_doubt: false,
                may_have_been_purged: false,
                accepted_at: Vec::new(),
            }),
        };
        store.import(&(0..40_000).map(row).collect::<Vec<_>>()).unwrap();
        store
    }

    fn rows(store: &SqliteStore) -> Vec<String> {
        let mut rows = Vec::new();
        store.scan(&mut |row| rows.push(format!("{row:?}"))).unwrap();
        rows
    }

    #[test]
    fn rows_that_were_read_ahead_are_those_of_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = state(&path);
        let expected = rows(&store);
        assert_eq!(expected.len(), 40_000);
        let mut ahead = ReadAhead::begin(&path).unwrap();
        ahead.reader.take().unwrap().join().unwrap();
        store.compare_with(Some(ahead));
        // What is gone cannot be read again, so these are the rows that were read ahead.
        rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM target", []).unwrap();
        assert_eq!(rows(&store), expected);
        let again = store.scan(&mut |_| {});
        assert!(matches!(again, Err(StateError::Damaged { .. })), "they are shown once: {again:?}");
    }

    // S2: a run that came between is seen.
    #[test]
    fn rows_of_another_serial_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let mut store = state(&path);
        let mut ahead = ReadAhead::begin(&path).unwrap();
        ahead.reader.take().unwrap().join().unwrap();
        store.forget(&[("a".into(), Target::url("https://a.cn/00000000"))]).unwrap();
        store.compare_with(Some(ahead));
        assert_eq!(rows(&store).len(), 39_999);
    }

    #[test]
    fn a_reader_that_nobody_waits_for_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        drop(state(&path));
        drop(ReadAhead::begin(&path).unwrap());
        assert!(!path.with_file_name("state.db-wal").exists(), "its connection is closed");
        std::fs::write(&path, vec![0x55; 5_000_000]).unwrap();
        let ahead = ReadAhead::begin(&path).unwrap();
        let identity = Identity { lineage: String::new(), serial: 0 };
        assert!(!ahead.scan(&identity, &mut |_| {}).unwrap(), "whoever compares finds the damage");
        std::fs::write(&path, "small").unwrap();
        assert!(ReadAhead::begin(&path).is_none());
    }
}
