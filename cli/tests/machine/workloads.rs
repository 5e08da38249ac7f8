//! Tokens of workloads in files, and of commands.

use std::fs;

use serde_json::json;

use super::scene::Scene;
use super::server::{BEARER, Fault};

#[test]
fn a_workload_signs_in_with_its_token_which_is_read_again_when_it_changes() {
    let scene = Scene::new();
    let file = scene.home.file("token", "workload-1\n");
    let done = scene.login(0, &["--jwt-bearer", &file, "--scope", "tools:read", "--json"]).json();
    assert_eq!((&done["renewal"], &done["how"]), (&json!("jwt_bearer"), &json!("here")));
    assert_eq!(scene.token(0), "at-1");
    fs::write(&file, "workload-2").unwrap();
    assert_eq!(scene.renewed(0).good().trim(), "at-2");
    let requests = scene.server.requests();
    let assertions: Vec<_> = requests.iter().map(|request| request.form["assertion"].as_str()).collect();
    assert_eq!((assertions, scene.server.count(BEARER)), (vec!["workload-1", "workload-2"], 2));
    assert!(requests.iter().all(|request| !request.form.contains_key("client_id") && request.authorization.is_none()));

    fs::remove_file(&file).unwrap();
    let failed = scene.renewed(0);
    let origin = format!("come from the file {file}");
    assert!(failed.err.contains("subject_unavailable") && failed.err.contains(&origin), "{}", failed.err);
    assert_eq!(scene.token(0), "at-2", "the stored token is served meanwhile");
}

#[test]
fn a_relative_path_holds_from_any_folder() {
    let scene = Scene::new();
    scene.home.file("token", "workload-1");
    let mut login = scene.home.command(&["login", &scene.server.resource(0), "--jwt-bearer", "token"]);
    login.current_dir(scene.home.path("."));
    assert!(login.output().unwrap().status.success());
    assert_eq!(scene.renewed(0).good().trim(), "at-2");
}

#[test]
fn a_workload_whose_token_is_missing_stores_nothing() {
    let scene = Scene::new();
    for file in ["/no/such/token", "/dev/null"] {
        let done = scene.login(0, &["--jwt-bearer", file]);
        assert!(done.code == 2 && done.err.contains(&format!("--jwt-bearer: {file}: ")), "{}", done.err);
        assert!(scene.home.status().is_null());
    }
}

#[test]
fn a_command_is_run_without_a_shell_and_its_output_is_the_token() {
    let scene = Scene::new();
    let runs = scene.home.path("runs");
    let script = "echo run >> \"$1\"; printf '%s-%s' \"$2\" $(wc -l < \"$1\")";
    let runs = runs.to_str().unwrap();
    let done = scene.login(1, &["--json", "--exec", "sh", "-c", script, "sh", runs, "--$HOME"]).json();
    assert_eq!((&done["renewal"], &done["issuer"]), (&json!("exec"), &json!("exec")));
    assert_eq!((scene.token(1), fs::read_to_string(runs).unwrap()), ("--$HOME-1".to_owned(), "run\n".to_owned()));
    assert_eq!(scene.renewed(1).good().trim(), "--$HOME-2");
    assert!(!scene.home.run(&["status", "--json"]).good().contains("--$HOME"));
    assert_eq!(scene.server.counts().len(), 0, "no server is asked");
}

#[test]
fn a_command_that_fails_stores_nothing() {
    let scene = Scene::new();
    for command in [&["false"][..], &["/no/such/program"]] {
        let done = scene.login(0, &[&["--timeout", "1s", "--exec"], command].concat());
        assert!(done.code != 0 && done.err.contains("subject_unavailable"), "{}", done.err);
        assert!(scene.home.status().is_null());
    }
}

#[test]
fn a_page_that_the_server_wants_a_person_to_open_is_shown_and_not_opened() {
    let scene = Scene::new();
    let file = scene.home.file("token", "workload-1");
    scene.login(0, &["--jwt-bearer", &file]).good();
    scene.server.next(BEARER, [Fault::WantsPerson("https://login.example.com/consent?ticket=7")]);
    let done = scene.renewed(0);
    let words = "the server wants you to open this page first: https://login.example.com/consent?ticket=7";
    assert!(done.code == 3 && done.err.contains(words), "{}", done.err);
    assert!(scene.renewed(0).good().starts_with("at-"));
}
