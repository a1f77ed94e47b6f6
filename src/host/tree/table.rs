//! Files in a compact table: their names in one text, a row of fixed size each.

use super::file_stamp::FileStamp;

/// Files, in order of path once they are sorted.
#[derive(Debug, Default)]
pub(super) struct FileTable {
    names: String,
    pub(super) rows: Vec<Row>,
}

/// A file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    start: usize,
    length: u32,
    /// Whether it is known here by a path over a link, which is not where it is.
    pub(super) is_linked: bool,
    pub(super) stamp: FileStamp,
    pub(super) digest: [u8; 32],
}

impl FileTable {
    pub(super) fn push(&mut self, path: &str, stamp: FileStamp, digest: [u8; 32], is_linked: bool) {
        // No system has paths of four gigabytes.
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        self.rows.push(Row { start: self.names.len(), length, is_linked, stamp, digest });
        self.names.push_str(path);
    }

    /// The path of a row of this table.
    pub(super) fn path(&self, row: &Row) -> &str {
        let names = &self.names;
        names.get(row.start..row.start + row.length as usize).unwrap_or_default()
    }

    /// The row of this path, in a sorted table.
    pub(super) fn get(&self, path: &str) -> Option<&Row> {
        let at = self.rows.binary_search_by(|row| self.path(row).cmp(path)).ok()?;
        self.rows.get(at)
    }

    /// Sorts by the bytes of the paths; stretches that are sorted are merged.
    pub(super) fn sort(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|a, b| self.path(a).cmp(self.path(b)));
        self.rows = rows;
    }

    /// Adds the rows of another table at the end.
    pub(super) fn append(&mut self, other: Self) {
        if self.rows.is_empty() {
            *self = other;
            return;
        }
        let moved = self.names.len();
        self.names.push_str(&other.names);
        self.rows.extend(other.rows.into_iter().map(|row| Row { start: row.start + moved, ..row }));
    }

    /// Keeps the first row of each path, in a sorted table.
    pub(super) fn drop_repeated(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.dedup_by(|again, first| self.path(again) == self.path(first));
        self.rows = rows;
    }
}
