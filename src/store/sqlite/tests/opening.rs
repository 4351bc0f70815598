//! Who may open a directory, and what is refused untouched.

use std::fs;

use rusqlite::Connection;

use super::*;
use crate::store::sqlite::OpenError;

fn refused(dir: &Path) -> OpenError {
    Sqlite::open(dir, READERS).map(drop).unwrap_err()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = dir();
    let store = open(dir.path());
    created(&store, "a").await;
    said(&store, "a", "m1", "one").await.unwrap();
    said(&store, "a", "m2", "two").await.unwrap();
    let before = session(&store, "a").await;
    drop(store);
    let store = open(dir.path());
    let after = session(&store, "a").await;
    assert_eq!(before, after);
    assert_eq!(bodies(&store, &after).await, ["one", "two"]);
    assert_eq!(after.profile.texts.system_prompt, "prompt of a");
    let third = said(&store, "a", "m3", "three").await.unwrap();
    assert_eq!(third.session.unwrap().tip.seq().0, 3);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let (dir, copy) = (dir(), dir());
    let store = open(dir.path());
    created(&store, "a").await;
    said(&store, "a", "m1", "one").await.unwrap();
    for name in ["sessiond.db", "sessiond.db-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let found = open(copy.path());
    assert_eq!(session(&found, "a").await, session(&store, "a").await);
    assert_eq!(bodies(&found, &*session(&found, "a").await).await, ["one"]);
}

#[test]
fn a_second_process_is_told_whose_lock_it_is() {
    let dir = dir();
    let _store = open(dir.path());
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("sessiond.lock"));
}

#[test]
fn the_lock_goes_with_the_store() {
    let dir = dir();
    drop(open(dir.path()));
    drop(open(dir.path()));
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let dir = dir();
    drop(open(dir.path()));
    let file = dir.path().join("sessiond.db");
    let conn = Connection::open(&file).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    let (bytes, before) = (fs::read(&file).unwrap(), names(dir.path()));
    let error = refused(dir.path());
    assert!(
        matches!(error, OpenError::NewerSchema { found: 999, .. }),
        "{error}"
    );
    assert!(fs::read(&file).unwrap() == bytes);
    assert_eq!(names(dir.path()), before);
}

#[test]
fn a_newer_schema_that_only_the_write_ahead_log_knows_is_refused_too() {
    let (dir, copy) = (dir(), dir());
    drop(open(dir.path()));
    let conn = Connection::open(dir.path().join("sessiond.db")).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    for name in ["sessiond.db", "sessiond.db-wal"] {
        fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let file = copy.path().join("sessiond.db");
    let bytes = fs::read(&file).unwrap();
    let error = refused(copy.path());
    assert!(
        matches!(error, OpenError::NewerSchema { found: 999, .. }),
        "{error}"
    );
    assert!(fs::read(&file).unwrap() == bytes);
}

#[test]
fn files_of_others_are_refused_untouched() {
    let dir = dir();
    let file = dir.path().join("sessiond.db");
    for content in [&b"not a database"[..], &[7; 4096]] {
        fs::write(&file, content).unwrap();
        assert!(matches!(refused(dir.path()), OpenError::Foreign { .. }));
        assert!(fs::read(&file).unwrap() == content);
    }
    fs::remove_file(&file).unwrap();
    Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE notes (note TEXT)")
        .unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(matches!(refused(dir.path()), OpenError::Foreign { .. }));
    assert!(fs::read(&file).unwrap() == bytes);
}

#[cfg(unix)]
#[test]
fn a_new_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir();
    let inner = dir.path().join("a/b");
    drop(open(&inner));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join("sessiond.db")), 0o600);
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let dir = dir();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refused(&file), OpenError::Io { .. }));
}
