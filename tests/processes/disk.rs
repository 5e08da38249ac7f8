//! Several processes whose folder is moved away, or made read-only, before a refresh token is spent and after.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::json;
use tokenkeeper::engine::ports::observer::EffectName;

use crate::authority::Tally;
use crate::crew::Member;
use crate::party::Setup;
use crate::scene::{Scene, Server};
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

/// Waits until the holder has stored the pair that it kept.
pub(crate) async fn stored(holder: &mut Member) {
    holder.call(Command::Follow).await;
    holder.hear(|said| said["event"] == "state" && said["unsaved"] == false).await;
}

/// Asserts that the holder serves a token that it cannot store, that it reports this, and that the resource accepts it.
pub(crate) async fn assert_degraded(scene: &Scene, holder: &mut Member, token: &str) {
    assert_eq!(holder.token(false).await, token);
    assert_eq!(scene.call(token).await, 200);
    let state = holder.call(Command::State).await;
    assert_eq!((&state["unsaved"], &state["login_required"].is_null()), (&json!(true), &true), "{state}");
    assert_eq!(holder.fails(true).await, "store_trouble");
}

/// Asserts that nothing was lost and the chain goes on.
pub(crate) async fn assert_whole(scene: &Scene, members: [Member; 2], before: u64) {
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

/// How the holder's actors end while it cannot store its pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Nothing,
    Actors,
    Tree,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_folder_that_is_taken_away_is_trouble_until_it_is_back() {
    for end in [End::Nothing, End::Actors, End::Tree] {
        let Some(scene) = Scene::new().await else { return };
        let (mut holder, mut sibling) = (scene.member().await, scene.member().await);
        let first = holder.token(false).await;
        assert_eq!(sibling.token(false).await, first);
        let (home, away) = (scene.setup.shared.home.clone(), scene.setup.shared.home.with_extension("away"));

        // The folder disappears before anything is spent.
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

        // The folder disappears after the server has rotated.
        let call = holder.refresh_until(FlightPoint::after(EffectName::Send)).await;
        fs::rename(&home, &away).unwrap();
        holder.call(Command::Go).await;
        let answer = holder.answer(call).await;
        let token = answer["token"].as_str().unwrap().to_owned();
        assert_degraded(&scene, &mut holder, &token).await;
        match end {
            End::Nothing => {}
            End::Actors => drop(holder.call(Command::KillActors).await),
            End::Tree => drop(holder.call(Command::Fell).await),
        }
        assert_degraded(&scene, &mut holder, &token).await;
        assert_eq!(sibling.fails(true).await, "store_trouble");
        scene.assert_counts((3, 3, 0)).await;
        fs::rename(&away, &home).unwrap();
        stored(&mut holder).await;
        assert_whole(&scene, [holder, sibling], 3).await;
    }
}

/// A user other than root, because root ignores modes. It owns no files.
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

    // The folder becomes read-only before anything is spent.
    chmod(&records, 0o500);
    for member in [&mut holder, &mut sibling] {
        assert_eq!(member.fails(true).await, "store_trouble");
        assert_eq!(member.token(false).await, first, "what is valid is served");
    }
    assert_eq!(server.tally(1).await, counted(1));
    chmod(&records, 0o700);
    holder.token(true).await;

    // The folder becomes read-only after the server has rotated.
    let call = holder.refresh_until(FlightPoint::after(EffectName::Send)).await;
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

/// Prints a loud notice that something cannot be tested here. With `CI=true` it panics instead.
pub(crate) fn may_skip(what: &str, why: &dyn Display) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is not possible here ({why}), and CI must show it");
    eprintln!("SKIPPED: {what} is not possible here ({why}), so nothing was tried with it");
}
