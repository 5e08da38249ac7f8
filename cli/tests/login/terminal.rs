//! A login at a terminal, where lines are read and questions asked. The terminal is that of `script` (util-linux).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tokenkeeper_testkit::login_server::Browser;

use super::scene::Scene;

struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: BufReader<ChildStdout>,
    shown: String,
}

impl Terminal {
    fn run(scene: &Scene, arguments: &[&str]) -> Self {
        let login = scene.login(arguments);
        let words = [login.get_program()].into_iter().chain(login.get_args()).map(|word| word.to_str().unwrap());
        let line = shlex::try_join(words).unwrap();
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in login.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn().unwrap();
        let (keyboard, screen) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, keyboard, screen, shown: String::new() }
    }

    /// Reads the screen up to a line that begins with `start`, and returns that.
    fn line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.screen.read_line(&mut line).unwrap() > 0, "`{start}` is missing in {}", self.shown);
            self.shown.push_str(&line);
            if line.starts_with(start) {
                return line.trim_end().to_owned();
            }
        }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Pastes the address that the browser ends at.
    fn pastes(&mut self, scene: &Scene) {
        let page = self.line(&format!("{}/authorize?", scene.server.origin()));
        self.line("  or copy the address that the browser ends at, and paste it here");
        let visit = scene.runtime.block_on(Browser::open(&page)).unwrap();
        self.types(&visit.callback.unwrap());
    }

    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_person_pastes_the_answer_and_decides_about_another_user() {
    let scene = Scene::new();
    let mut terminal = Terminal::run(&scene, &["--no-browser"]);
    terminal.pastes(&scene);
    assert!(terminal.line("signed in to ").contains(" as alice at "));
    assert_eq!(terminal.code(), Some(0));

    scene.server.subject("bob");
    let question = "another user signed in than before: sign in again, and replace the session? [y/N]";
    let mut terminal = Terminal::run(&scene, &["--no-browser", "--again"]);
    terminal.pastes(&scene);
    terminal.line(question);
    terminal.types("");
    terminal.line("error: subject_changed: ");
    assert_eq!(terminal.code(), Some(4));

    let mut terminal = Terminal::run(&scene, &["--no-browser", "--again"]);
    terminal.pastes(&scene);
    terminal.line(question);
    terminal.types("y");
    terminal.pastes(&scene);
    assert!(terminal.line("signed in to ").contains(" as bob at "));
    assert_eq!(terminal.code(), Some(0));
    assert_eq!(scene.server.counts().logins, 4);
}
