//! What went wrong in the storage engine, as an error of a state.

use std::path::Path;

use rusqlite::ErrorCode;

use super::write_probe::write_probe;
use super::{StateError, location};

/// An error of the engine while the state at `path` was `read`, `written` and the like.
pub(super) fn failed(path: &Path, action: &'static str, error: &rusqlite::Error) -> StateError {
    let damage = matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        || matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::QueryReturnedNoRows
        )
        || (action == "read" && error.sqlite_error_code() == Some(ErrorCode::Unknown));
    let cause = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        // The engine reports that some call failed, and not why.
        Some(ErrorCode::SystemIoFailure) if action != "read" => {
            write_probe(path).map_or_else(|| error.to_string(), |obstacle| format!("{obstacle} ({error})"))
        }
        _ => error.to_string(),
    };
    if damage {
        StateError::Damaged { location: location(path), cause }
    } else {
        StateError::Io { location: location(path), action, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C7: what the engine says of a full disk differs from call to call.
    #[test]
    fn a_full_disk_is_called_so() {
        let folder = tempfile::tempdir().unwrap();
        let full = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
        let told = failed(&folder.path().join("state.db"), "written", &full).to_string();
        assert!(told.ends_with("cannot be written: the disk is full"), "{told}");
        let broken = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), None);
        let told = failed(Path::new("/proc/self/state.db"), "written", &broken).to_string();
        assert!(told.contains("/proc/self` ") && told.ends_with(&format!("({broken})")), "{told}");
    }
}
