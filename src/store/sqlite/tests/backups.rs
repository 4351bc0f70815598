//! Backups: one moment of a store that is being written, whole, and damage as it is.

use std::fs;

use rusqlite::Connection;

use super::damage::break_row;
use super::*;
use crate::store::sqlite::{BackupError, Existing, backup};

/// The backup, served.
fn restored(file: &Path) -> (TempDir, Sqlite) {
    let folder = dir();
    fs::copy(file, folder.path().join("sessiond.db")).unwrap();
    let store = open(folder.path());
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_one_moment_of_a_store_that_is_written() {
    let (dir, out) = (dir(), dir());
    let store = Arc::new(open(dir.path()));
    for name in ["a", "b"] {
        created(&store, name).await;
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writing = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            // Each message goes to `a` first: no moment has more in `b`.
            for at in 0.. {
                for name in ["a", "b"] {
                    said(&store, name, &format!("m{at}"), &"text ".repeat(2_000))
                        .await
                        .unwrap();
                }
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return at + 1;
                }
            }
            unreachable!("it is stopped")
        }
    });
    for round in 0..8 {
        let file = out.path().join(format!("copy{round}.db"));
        let (from, to) = (dir.path().to_owned(), file.clone());
        let made = tokio::task::spawn_blocking(move || backup(&from, &to, Existing::Kept));
        let made = made.await.unwrap().unwrap();
        assert_eq!(made.bytes, fs::metadata(&file).unwrap().len());
        let (folder, copy) = restored(&file);
        let [a, b] = [session(&copy, "a").await, session(&copy, "b").await];
        let (of_a, of_b) = (bodies(&copy, &a).await.len(), bodies(&copy, &b).await.len());
        assert!(of_a == of_b || of_a == of_b + 1, "{of_a} and {of_b}");
        said(&copy, "a", "later", "text").await.unwrap();
        drop(copy);
        let report = crate::store::sqlite::verify(folder.path(), None).unwrap();
        assert_eq!(report.problems, []);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let written: u64 = writing.await.unwrap();
    assert_eq!(session(&store, "a").await.tip.seq().0, written);
    let names = fs::read_dir(out.path()).unwrap().count();
    assert_eq!(names, 8, "nothing else is left there");
}

#[tokio::test]
async fn a_backup_is_made_without_a_server_too_and_after_a_crash() {
    let (dir, out, crashed) = (dir(), dir(), dir());
    let store = open(dir.path());
    created(&store, "a").await;
    said(&store, "a", "m1", "one").await.unwrap();
    for name in ["sessiond.db", "sessiond.db-wal"] {
        fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    drop(store);
    for (at, from) in [dir.path(), crashed.path()].into_iter().enumerate() {
        let file = out.path().join(at.to_string());
        backup(from, &file, Existing::Kept).unwrap();
        let (_folder, copy) = restored(&file);
        assert_eq!(bodies(&copy, &*session(&copy, "a").await).await, ["one"]);
    }
}

#[test]
fn no_file_is_replaced_unasked_and_the_database_never() {
    let (dir, out) = (dir(), dir());
    drop(open(dir.path()));
    let file = out.path().join("copy.db");
    fs::write(&file, "mine").unwrap();
    let refused = backup(dir.path(), &file, Existing::Kept).unwrap_err();
    assert!(matches!(refused, BackupError::Exists { .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    backup(dir.path(), &file, Existing::Replaced).unwrap();
    drop(restored(&file));
    for name in ["sessiond.db", "sessiond.db-wal", "sessiond.lock", "search.db"] {
        let own = dir.path().join(name);
        let refused = backup(dir.path(), &own, Existing::Replaced).unwrap_err();
        assert!(matches!(refused, BackupError::OwnFile { .. }), "{refused}");
    }
    let nowhere = out.path().join("no/such/copy.db");
    let refused = backup(dir.path(), &nowhere, Existing::Kept).unwrap_err();
    assert!(matches!(refused, BackupError::Io { .. }), "{refused}");
    let refused = backup(out.path(), &out.path().join("other.db"), Existing::Kept).unwrap_err();
    assert!(matches!(refused, BackupError::Open(_)), "{refused}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_backup_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, out) = (dir(), dir());
    drop(open(dir.path()));
    let file = out.path().join("copy.db");
    backup(dir.path(), &file, Existing::Kept).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn damage_is_copied_as_it_is_and_hides_nothing() {
    for sql in [
        "UPDATE sessions SET profile = '{' WHERE session_id = 'b'",
        "UPDATE sessions SET tally = x'00' WHERE session_id = 'b'",
        "UPDATE entries SET body = CAST('other' AS BLOB) WHERE entry_id = 'of-b'",
        "UPDATE entries SET tally = x'01' WHERE entry_id = 'of-b'",
    ] {
        let (dir, out) = (dir(), dir());
        let store = open(dir.path());
        for name in ["a", "b", "c"] {
            created(&store, name).await;
            said(&store, name, &format!("of-{name}"), name).await.unwrap();
        }
        break_row(&store, sql).await;
        let file = out.path().join("copy.db");
        backup(dir.path(), &file, Existing::Kept).unwrap();
        let rows = |file: &Path, table: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM {table}");
            Connection::open(file)
                .unwrap()
                .query_row(&sql, (), |row| row.get(0))
                .unwrap()
        };
        assert_eq!((rows(&file, "sessions"), rows(&file, "entries")), (4, 3), "{sql}");
        let (_folder, copy) = restored(&file);
        for name in ["a", "c"] {
            assert_eq!(bodies(&copy, &*session(&copy, name).await).await, [name], "{sql}");
        }
        let damaged = match copy.session(&ns(), &id("b")).await {
            Ok(Some(session)) => {
                let range = Range {
                    after: crate::domain::Seq::ZERO,
                    to: session.tip.seq(),
                    from: End::Oldest,
                };
                copy.entries(&session.tip.log, range, PAGE).await.map(drop)
            }
            other => other.map(drop),
        };
        assert!(
            matches!(damaged, Err(Error::Corrupt { .. })),
            "{sql}: {damaged:?}"
        );
    }
}

#[tokio::test]
async fn a_damaged_page_is_copied_too() {
    let (dir, out) = (dir(), dir());
    let store = open(dir.path());
    for name in ["a", "b"] {
        created(&store, name).await;
        let body = Bytes::from(format!("{name} ").repeat(50_000));
        let long = NewEntry {
            digest: digest(&body),
            body,
            ..message("m", "short")
        };
        store.commit(appending(name, vec![long]), Time(2)).await.unwrap();
    }
    drop(store);
    // The middle of a long body lies on pages of its own.
    let source = dir.path().join("sessiond.db");
    let mut bytes = fs::read(&source).unwrap();
    let at = bytes
        .windows(2_000)
        .position(|part| part.chunks(2).all(|pair| pair == b"b "));
    let at = at.expect("it is there") + 1_000;
    bytes[at..at + 4].copy_from_slice(b"\0\0\0\0");
    fs::write(&source, bytes).unwrap();
    let file = out.path().join("copy.db");
    backup(dir.path(), &file, Existing::Kept).unwrap();
    let (folder, copy) = restored(&file);
    assert_eq!(bodies(&copy, &*session(&copy, "a").await).await.len(), 1);
    let damaged = crate::store::sqlite::verify(folder.path(), None).unwrap();
    assert_eq!(damaged.problem_count, 1);
    assert!(damaged.problems[0].row.contains("session b of"), "{damaged:?}");
}

#[cfg(unix)]
#[test]
fn what_is_left_of_another_backup_is_not_written_to() {
    let (dir, out) = (dir(), dir());
    drop(open(dir.path()));
    let finished = out.path().join("finished");
    fs::write(&finished, "whole").unwrap();
    let left = out
        .path()
        .join(format!(".copy.db.{}.partial", std::process::id()));
    let file = out.path().join("copy.db");
    fs::hard_link(&finished, &left).unwrap();
    backup(dir.path(), &file, Existing::Kept).unwrap();
    assert_eq!(fs::read(&finished).unwrap(), b"whole");
    std::os::unix::fs::symlink(&finished, &left).unwrap();
    backup(dir.path(), &file, Existing::Replaced).unwrap();
    assert_eq!(fs::read(&finished).unwrap(), b"whole");
    assert!(!left.exists());
    drop(restored(&file));
}

#[cfg(unix)]
#[test]
fn the_database_is_known_by_any_name() {
    let (dir, big) = (dir(), dir());
    drop(open(dir.path()));
    let (real, link) = (big.path().join("s.db"), dir.path().join("sessiond.db"));
    fs::rename(&link, &real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let other = big.path().join("other");
    fs::hard_link(&real, &other).unwrap();
    for own in [real, big.path().join("s.db-wal"), other] {
        let refused = backup(dir.path(), &own, Existing::Replaced).unwrap_err();
        assert!(matches!(refused, BackupError::OwnFile { .. }), "{refused}");
    }
    backup(dir.path(), &big.path().join("copy.db"), Existing::Kept).unwrap();
}
