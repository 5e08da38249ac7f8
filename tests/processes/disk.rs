//! What the disk does to several processes: it fills up, is made read-only, is taken away, before a refresh token is spent
//! and after.

use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokenkeeper::engine::ports::observer::EffectName;

use crate::authority::{LIFETIME, Tally};
use crate::crew::Member;
use crate::party::Setup;
use crate::point::Point;
use crate::scene::{Scene, Server, until};
use crate::worker::Command;

/// Waits until the holder has stored what it kept.
async fn stored(holder: &mut Member) {
    holder.call(Command::Follow).await;
    holder.hear(|said| said["event"] == "state" && said["unsaved"] == false).await;
}

/// The holder serves what it cannot store: a token that the resource takes, and says so.
async fn assert_degraded(scene: &Scene, holder: &mut Member, token: &str) {
    assert_eq!(holder.token(false).await, token);
    assert_eq!(scene.call(token).await, 200);
    let state = holder.call(Command::State).await;
    assert_eq!((&state["unsaved"], &state["login_required"].is_null()), (&json!(true), &true), "{state}");
    assert_eq!(holder.fails(true).await, "store_trouble");
}

/// Nothing was lost: the chain goes on.
async fn assert_whole(scene: &Scene, members: [Member; 2], before: u64) {
    let [mut one, mut other] = members;
    let token = one.token(true).await;
    other.token(true).await;
    assert_eq!(scene.call(&token).await, 200);
    scene.assert_counts((before + 2, before + 2, 0)).await;
    assert_eq!(scene.server.chain(&scene.chain).rotations, before + 2);
    assert_eq!(scene.party.mark().await, None);
    one.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_folder_that_is_taken_away_is_trouble_until_it_is_back() {
    let Some(scene) = Scene::new().await else { return };
    let (mut holder, mut sibling) = (scene.member().await, scene.member().await);
    let first = holder.token(false).await;
    assert_eq!(sibling.token(false).await, first);
    let (home, away) = (scene.setup.home.clone(), scene.setup.home.with_extension("away"));

    // Before anything is spent.
    fs::rename(&home, &away).unwrap();
    for member in [&mut holder, &mut sibling] {
        assert_eq!(member.fails(true).await, "store_trouble");
        assert_eq!(member.token(false).await, first, "what is valid is served");
    }
    assert!(!home.exists());
    scene.assert_counts((1, 1, 0)).await;
    fs::rename(&away, &home).unwrap();
    holder.token(true).await;
    scene.assert_counts((2, 2, 0)).await;

    // After the server has rotated.
    let call = holder.refresh_until(Point::after(EffectName::Send)).await;
    fs::rename(&home, &away).unwrap();
    holder.call(Command::Go).await;
    let answer = holder.answer(call).await;
    let token = answer["token"].as_str().unwrap().to_owned();
    assert_degraded(&scene, &mut holder, &token).await;
    assert_eq!(sibling.fails(true).await, "store_trouble");
    scene.assert_counts((3, 3, 0)).await;
    fs::rename(&away, &home).unwrap();
    stored(&mut holder).await;
    assert_whole(&scene, [holder, sibling], 3).await;
}

/// A user that is not root, who ignores modes, and owns nothing.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_folder_without_permission_to_write_is_trouble_until_there_is() {
    let Some(server) = Server::start(&[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let chmod = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    chmod(folder.path(), 0o755);
    let (home, records) = (folder.path().join("home"), folder.path().join("home/records"));
    fs::create_dir(&home).unwrap();
    chmod(&home, 0o700);
    if let Err(error) = chown(&home, Some(NOBODY), Some(NOBODY)) {
        return may_skip("a home of another user", &error);
    }
    let setup = Setup::new(&home, server.authority.resource());
    let mut holder = Member::start_as(&setup, Some(NOBODY)).await;
    let mut sibling = Member::start_as(&setup, Some(NOBODY)).await;
    let (paper, _) = server.sign_in().await;
    assert!(holder.call(Command::Install(paper)).await["error"].is_null());
    let first = holder.token(false).await;
    let counted = |posts| Tally { posts, rotations: posts, ..Tally::default() };

    // Before anything is spent.
    chmod(&records, 0o500);
    for member in [&mut holder, &mut sibling] {
        assert_eq!(member.fails(true).await, "store_trouble");
        assert_eq!(member.token(false).await, first, "what is valid is served");
    }
    assert_eq!(server.tally(1).await, counted(1));
    chmod(&records, 0o700);
    holder.token(true).await;

    // After the server has rotated.
    let call = holder.refresh_until(Point::after(EffectName::Send)).await;
    chmod(&records, 0o500);
    holder.call(Command::Go).await;
    let answer = holder.answer(call).await;
    assert_eq!(holder.token(false).await, answer["token"].as_str().unwrap());
    assert_eq!(holder.call(Command::State).await["unsaved"], true);
    assert_eq!(holder.fails(true).await, "store_trouble");
    assert_eq!(server.tally(3).await, counted(3));
    chmod(&records, 0o700);
    stored(&mut holder).await;
    sibling.token(true).await;
    holder.token(true).await;
    assert_eq!(server.tally(5).await, counted(5));
    holder.end().await;
    sibling.end().await;
}

/// A loud notice that something cannot be tried here; with `CI=true` that is a failure.
fn may_skip(what: &str, why: &dyn Display) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is not possible here ({why}), and CI must show it");
    eprintln!("SKIPPED: {what} is not possible here ({why}), so nothing was tried with it");
}

/// A small file system in memory.
#[cfg(target_os = "linux")]
struct Disk(PathBuf);

#[cfg(target_os = "linux")]
impl Disk {
    /// `None`, and a loud notice, where that is not allowed; with `CI=true` that is a failure.
    fn mount(folder: &TempDir) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let at = folder.path().join("disk");
        fs::create_dir(&at).unwrap();
        if let Err(error) = mount("tmpfs", &at, "tmpfs", MountFlags::empty(), c"size=384k,mode=0755") {
            may_skip("a small disk", &error);
            return None;
        }
        Some(Self(at))
    }

    async fn make_read_only(&self, read_only: bool) {
        use rustix::mount::{MountFlags, mount_remount};
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        // What a process was just writing, its journal say, it may have open yet.
        until("nobody writes", || mount_remount(&self.0, flags, "size=384k").is_ok()).await;
    }

    /// Writes until nothing more goes in. What lies there takes up room until it is freed.
    fn fill(&self) -> File {
        let mut filler = File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        filler
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A home on a small disk, which is to go first.
#[cfg(target_os = "linux")]
async fn on_a_disk() -> Option<(Scene, Disk)> {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder)?;
    let server = Server::start(&[]).await?;
    let home = disk.0.join("home");
    Some((Scene::at(server, home, folder).await, disk))
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_cannot_be_written_keeps_refresh_tokens_unspent() {
    let Some((scene, disk)) = on_a_disk().await else { return };
    let (mut holder, mut sibling) = (scene.member().await, scene.member().await);
    let mut token = holder.token(false).await;
    for (round, read_only) in [(1, true), (2, false)] {
        let filler = if read_only { None } else { Some(disk.fill()) };
        if read_only {
            disk.make_read_only(true).await;
        }
        for member in [&mut holder, &mut sibling] {
            assert_eq!(member.fails(true).await, "store_trouble");
            assert_eq!(member.token(false).await, token, "what is valid is served");
        }
        scene.assert_counts((round, round, 0)).await;
        match filler {
            Some(filler) => filler.set_len(0).unwrap(),
            None => disk.make_read_only(false).await,
        }
        let lease;
        (token, lease) = sibling.lease(true).await;
        scene.assert_counts((round + 1, round + 1, 0)).await;
        holder.follows(&lease).await;
    }
    assert_whole(&scene, [holder, sibling], 3).await;
}

/// How the holder's actors end while it cannot store what it has.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    Actors,
    Tree,
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_full_after_the_server_has_rotated_loses_nothing() {
    for end in [End::Nothing, End::Actors, End::Tree] {
        let Some((scene, disk)) = on_a_disk().await else { return };
        let mut holder = scene.member().await;
        let mut sibling = Member::start(&Setup { claim_wait: Duration::from_millis(500), ..scene.setup.clone() }).await;
        scene.server.authority.tell("/config", &json!({ "accessTokenTtl": 2 }));
        let first = holder.token(true).await;
        assert_eq!(sibling.token(false).await, first);
        scene.server.authority.tell("/config", &json!({ "accessTokenTtl": LIFETIME }));

        let call = holder.refresh_until(Point::after(EffectName::Send)).await;
        let filler = disk.fill();
        holder.call(Command::Go).await;
        let answer = holder.answer(call).await;
        let token = answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        scene.assert_counts((2, 2, 0)).await;
        match end {
            End::Nothing => {}
            End::Actors => drop(holder.call(Command::KillActors).await),
            End::Tree => drop(holder.call(Command::Fell).await),
        }
        assert_degraded(&scene, &mut holder, &token).await;

        // The sibling's token is over.
        let why = loop {
            let answer = sibling.call(Command::Token { force: false }).await;
            match answer["error"].as_str() {
                None => assert_eq!(answer["token"], first.as_str()),
                Some(why) => break why.to_owned(),
            }
        };
        assert_eq!(why, "contended", "{end:?}");
        assert_eq!(sibling.fails(true).await, "contended", "{end:?}");
        scene.assert_counts((2, 2, 0)).await;
        assert_degraded(&scene, &mut holder, &token).await;

        filler.set_len(0).unwrap();
        stored(&mut holder).await;
        assert_eq!(sibling.token(false).await, token, "{end:?}");
        scene.assert_counts((2, 2, 0)).await;
        assert_whole(&scene, [holder, sibling], 2).await;
    }
}
