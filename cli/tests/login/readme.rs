//! The README's first commands do what it shows.

use snapbox::assert_data_eq;
use tokenkeeper_testkit::login_server::Browser;

use super::scene::{Login, Opener, Scene};

const README: &str = include_str!("../../../README.md");

/// The server in the README's commands.
const EXAMPLE: &str = "https://mcp.example.com";

/// The home in the README.
const HOME: &str = "/home/alice/.local/state/tokenkeeper";

/// The text without the widths of columns, which depend on the URLs.
fn plain(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

/// The commands and their outputs in the README's first transcript, in which an ellipsis stands for any text.
fn transcript() -> Vec<(String, String)> {
    let (_, section) = README.split_once("\n## Sign in, and call a server\n").unwrap();
    let (_, block) = section.split("\n## ").next().unwrap().split_once("```text\n$ ").unwrap();
    let commands = block.split("```").next().unwrap().split("\n$ ");
    let read = |text: &str| {
        let (command, output) = text.split_once('\n').unwrap();
        (command.to_owned(), format!("{}\n", output.trim_end().replace('…', "[..]")))
    };
    commands.map(read).collect()
}

#[test]
fn the_first_commands_sign_in_and_show_the_session() {
    let scene = Scene::new();
    let opener = Opener::new(&scene.path(""), "browser");
    let commands = transcript();
    assert_eq!(commands.len(), 2);
    for (command, expected) in commands {
        let words: Vec<_> = command.split(' ').map(|word| word.replace(EXAMPLE, scene.server.origin())).collect();
        assert_eq!(words[0], "tokenkeeper");
        let mut command = scene.command(&words[1..].iter().map(String::as_str).collect::<Vec<_>>());
        command.env("BROWSER", &opener.program);
        let output = if words[1] == "login" {
            let login = Login::of(&mut command);
            scene.runtime.block_on(Browser::complete(&opener.opened()[0])).unwrap();
            login.output()
        } else {
            command.output().unwrap()
        };
        assert!(output.status.success());
        let shown = [output.stderr, output.stdout].concat();
        let shown = String::from_utf8(shown).unwrap().replace(scene.server.origin(), EXAMPLE);
        let shown = shown.replace(&scene.path("home").display().to_string(), HOME);
        assert_data_eq!(plain(&shown), plain(&expected));
    }
}
