//! The file of providers, by option, by variable and in its usual place.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod scene;

use std::fs;
use std::path::PathBuf;

use scene::{Scene, stdout};
use snapbox::cmd::{Command, OutputAssert};

/// A provider that takes JSON, which is laid over the known ones.
const OURS: &str = r#"{ "version": 1, "providers": { "ours": { "token_request": { "body": "json" } } } }"#;

fn stderr(asserted: &OutputAssert) -> String {
    String::from_utf8(asserted.get_output().stderr.clone()).unwrap()
}

struct Files {
    scene: Scene,
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { scene: Scene::new(), folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn an_import_takes_a_provider_of_the_file() {
    let files = Files::new();
    let login = files.scene.login();
    let refused = files.scene.import_with(&login, &["--provider", "ours"]).code(2);
    let told = stderr(&refused);
    assert!(
        told.contains("no provider has this name") && told.contains("atlassian") && told.contains("--providers"),
        "{told}"
    );

    let file = files.write("mine.json", OURS);
    files.scene.import_with(&login, &["--provider", "ours", "--providers", &file]).success();
    files.scene.command(&["status", "--providers", &file]).assert().success();
}

#[test]
fn the_file_is_found_by_its_variable_and_in_its_usual_place() {
    let files = Files::new();
    let bad =
        files.write("tokenkeeper/providers.json", "{ \"version\": 1,\n  \"providers\": { \"x\": { \"bdy\": 1 } } }");
    let told = |command: Command| stderr(&command.assert().code(2));
    let status = || files.scene.command(&["status"]);
    let by_variable = told(status().env("TOKENKEEPER_PROVIDERS", &bad));
    let by_place = told(status().env("XDG_CONFIG_HOME", files.folder.path()));
    for told in [&by_variable, &by_place] {
        assert!(told.contains("providers.json, line 2, column "), "{told}");
        assert!(told.contains("at providers.x.bdy: unknown field `bdy`, expected one of `extends`"), "{told}");
    }
    // A file that is named replaces the one in the usual place.
    let good = files.write("good.json", OURS);
    let shown = status().env("XDG_CONFIG_HOME", files.folder.path()).args(["--providers", &good]).assert().success();
    assert!(stdout(&shown).contains("no sessions"));
    let missing = told(status().args(["--providers", files.path("none.json").to_str().unwrap()]));
    assert!(missing.contains("none.json cannot be read: "), "{missing}");
}

#[test]
fn a_file_that_every_user_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    let file = files.write("mine.json", OURS);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = files.scene.command(&["status", "--providers", &file]).assert().code(2);
    let told = stderr(&refused);
    assert!(told.contains("chmod o-w"), "{told}");
}
