//! Connections to the engine: to a file, to one that cannot be written, and the tables of a new one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::Identity;
use super::migrate::{TOOL, migrate};
use super::place::literal;
use super::schema::{APPLICATION_ID, CREATE};

/// How long a statement waits for another process that reads or writes the file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects for reading and writing, and reads: what a file lacks in rights shows with the first statement only.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let writable = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(literal(path), writable)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    Ok(connection)
}

/// Connects where no file can be made beside the state, as reading a state of ours else asks for. Only for a state
/// without a log: what stands in one would be missed.
pub(super) fn connect_unwritable(path: &Path) -> rusqlite::Result<Connection> {
    let absolute = literal(path);
    let mut address = "file://".to_owned();
    for &byte in absolute.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            address.push(char::from(byte));
        } else {
            address.push_str(&format!("%{byte:02X}"));
        }
    }
    address.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(address, flags)
}

/// Which state this is.
pub(super) fn identity(connection: &Connection) -> rusqlite::Result<Identity> {
    let read = |row: &Row<'_>| Ok(Identity { lineage: row.get(0)?, serial: row.get(1)? });
    connection.prepare_cached("SELECT lineage, serial FROM meta")?.query_row([], read)
}

/// Whether the rights of file or folder are in the way.
pub(super) fn is_unwritable(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
}

/// The tables of a state that is not seen before it is whole: its file is synced once, when the connection is closed, and begins
/// with a write-ahead log from the first run on.
pub(super) fn create_tables(connection: &mut Connection, lineage: &str) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(CREATE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.execute("INSERT INTO meta VALUES (?1, 0, ?2)", [lineage, TOOL])?;
    migrate(&transaction, 1)?;
    transaction.commit()?;
    connection.pragma_update(None, "journal_mode", "WAL")
}
