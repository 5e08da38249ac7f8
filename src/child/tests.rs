//! Tests of the private folder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::folder::{self, Folder};
use super::io;
use crate::AccessToken;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(path: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_and_its_file_are_private_and_go_together() {
    let parent = TempDir::new().unwrap();
    let folder = Folder::below(parent.path()).unwrap();
    folder.write(Some(&AccessToken::new("one"))).unwrap();
    folder.write(Some(&AccessToken::new("two"))).unwrap();
    assert_eq!(fs::read(folder.token()).unwrap(), b"two");
    assert_eq!((mode(folder.token().parent().unwrap()), mode(&folder.token())), (0o700, 0o600));
    assert_eq!(names(folder.token().parent().unwrap()), ["alive", "token"]);
    folder.write(None).unwrap();
    folder.write(None).unwrap();
    assert_eq!(names(folder.token().parent().unwrap()), ["alive"]);
    folder.remove();
    folder.write(Some(&AccessToken::new("three"))).unwrap();
    assert!(names(parent.path()).is_empty(), "nothing is written once the folder was removed");
    drop(folder);
    drop(Folder::below(parent.path()).unwrap());
    assert!(names(parent.path()).is_empty());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "two threads of a test")]
fn a_reader_finds_the_old_token_or_the_new_one_whole() {
    let parent = TempDir::new().unwrap();
    let folder = Folder::below(parent.path()).unwrap();
    let tokens = ["a".repeat(5_000), "b".repeat(9_000)];
    folder.write(Some(&AccessToken::new(tokens[0].clone()))).unwrap();
    std::thread::scope(|scope| {
        let path = folder.token();
        let reader = scope.spawn(move || (0..2_000).map(|_| fs::read_to_string(&path).unwrap()).collect::<Vec<_>>());
        for turn in 0..1_000 {
            folder.write(Some(&AccessToken::new(tokens[turn % 2].clone()))).unwrap();
        }
        let read = reader.join().unwrap();
        assert!(read.iter().all(|read| tokens.contains(read)));
    });
}

#[test]
fn the_folders_of_dead_processes_are_removed_and_no_others() {
    let parent = TempDir::new().unwrap();
    let alive = Folder::below(parent.path()).unwrap();
    let name = |end: &str| parent.path().join(format!("tokenkeeper-child-{end}"));
    fs::create_dir(name("dead")).unwrap();
    fs::write(name("dead").join("alive"), "").unwrap();
    fs::write(name("dead").join("token"), "t").unwrap();
    // A folder that is just being made does not have the locked file under its final name yet.
    fs::create_dir(name("new")).unwrap();
    fs::create_dir(parent.path().join("other")).unwrap();
    fs::write(parent.path().join("other").join("alive"), "").unwrap();
    fs::write(name("file"), "").unwrap();
    symlink("other", name("link")).unwrap();
    let before = names(parent.path()).len();
    folder::sweep(parent.path());
    assert_eq!(names(parent.path()).len(), before - 1);
    assert!(!name("dead").exists() && alive.token().parent().unwrap().exists());
    assert!(parent.path().join("other").join("alive").exists());
    folder::sweep(&parent.path().join("missing"));
}

#[test]
fn a_place_in_which_others_may_rename_is_not_used() {
    let parent = TempDir::new().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(Folder::below(parent.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert!(names(parent.path()).is_empty());
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    drop(Folder::below(parent.path()).unwrap());
    assert!(Folder::below(&parent.path().join("missing")).is_err());
    File::create(parent.path().join("file")).unwrap();
    assert!(Folder::below(&parent.path().join("file")).is_err());
}
