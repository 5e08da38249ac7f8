//! Several processes whose disk fills up or is made read-only, before a refresh token is spent and after.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;
use tokenkeeper::engine::ports::observer::EffectName;

use crate::disk::{assert_whole, may_skip};
use crate::scene::{Scene, Server, until};
use crate::worker::Command;
use tokenkeeper_judge::processes::FlightPoint;

/// A small file system in memory.
struct Disk(PathBuf);

impl Disk {
    /// Returns `None`, and prints a loud notice, where mounting is not allowed. With `CI=true` it panics instead.
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
        // A process may still have a file open for writing, such as its journal.
        until("nobody writes", || mount_remount(&self.0, flags, "size=384k").is_ok()).await;
    }

    /// Writes until the disk is full. The returned file takes up the room until it is freed.
    fn fill(&self) -> File {
        let mut filler = File::create(self.0.join("filler")).unwrap();
        while filler.write_all(&[0; 512]).is_ok() {}
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A home on a small disk. The scene is dropped first.
async fn on_a_disk() -> Option<(Scene, Disk)> {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder)?;
    let server = Server::start(&[]).await?;
    let home = disk.0.join("home");
    Some((Scene::at(server, home, folder).await, disk))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_disk_that_cannot_be_written_keeps_refresh_tokens_unspent() {
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

/// Room for the successor was taken with the mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_disk_full_after_the_server_has_rotated_takes_the_new_token() {
    let Some((scene, disk)) = on_a_disk().await else { return };
    let (mut holder, mut sibling) = (scene.member().await, scene.member().await);
    holder.token(true).await;
    scene.assert_counts((1, 1, 0)).await;
    let call = holder.refresh_until(FlightPoint::after(EffectName::Send)).await;
    let filler = disk.fill();
    holder.call(Command::Go).await;
    let answer = holder.answer(call).await;
    let token = answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    assert_eq!(holder.call(Command::State).await["unsaved"], false);
    scene.assert_counts((2, 2, 0)).await;
    // Nothing more is spent until there is room again.
    for member in [&mut holder, &mut sibling] {
        assert_eq!(member.fails(true).await, "store_trouble");
        assert_eq!(member.token(false).await, token);
    }
    scene.assert_counts((2, 2, 0)).await;
    filler.set_len(0).unwrap();
    assert_whole(&scene, [holder, sibling], 2).await;
}
