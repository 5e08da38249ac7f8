//! A desktop session for one test, with a message bus, a GNOME Keyring and a monitor of the bus. It ends with the
//! test, also with a failing one, and it leaves the user's own session alone.
#![allow(clippy::disallowed_types, unreachable_pub, reason = "a part of a test, and what zbus makes of an interface")]

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{say, wait_for_word};

/// The name of the Secret Service on a bus.
const SERVICE: &str = "org.freedesktop.secrets";

/// The one collection that the keyring has.
const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";

/// The bus activates no service on request. That excludes a second keyring and any prompt on a display.
const BUS: &str = r#"<busconfig>
<type>session</type><listen>unix:dir=/LISTEN</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

pub struct Session {
    keyring: Option<Killed>,
    monitor: BufReader<ChildStdout>,
    address: String,
    markers: u32,
    _monitor: Killed,
    _bus: Killed,
    ground: TempDir,
}

/// A process that is killed when its owner drops it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether everything a session needs is installed.
pub fn is_possible() -> bool {
    let is_there = |tool: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
    };
    ["dbus-daemon", "dbus-monitor", "dbus-send", "gnome-keyring-daemon"].into_iter().all(is_there)
}

impl Session {
    /// Starts a bus without services.
    pub fn start() -> Self {
        let ground = tempfile::tempdir().unwrap();
        for folder in ["data", "run", "user"] {
            DirBuilder::new().mode(0o700).create(ground.path().join(folder)).unwrap();
        }
        let config = ground.path().join("bus.conf");
        fs::write(&config, BUS.replace("/LISTEN", ground.path().to_str().unwrap())).unwrap();
        let mut bus = Command::new("dbus-daemon");
        bus.arg("--config-file").arg(&config).args(["--print-address", "--nofork", "--nopidfile"]);
        let mut bus = Killed(bus.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut address = String::new();
        BufReader::new(bus.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim_end().to_owned();

        let mut monitor = Command::new("dbus-monitor");
        monitor.args(["--address", &address]).stdout(Stdio::piped());
        let mut monitor = Killed(monitor.spawn().unwrap());
        let sees = BufReader::new(monitor.0.stdout.take().unwrap());
        let mut session =
            Self { keyring: None, monitor: sees, address, markers: 0, _monitor: monitor, _bus: bus, ground };
        // A monitor loses its bus name and may only observe from then on.
        session.see_until(|header, _| header.ends_with("member=NameLost"));
        session
    }

    /// Makes `command` run in this session.
    pub fn surround(&self, command: &mut Command) {
        for (name, folder) in [("XDG_DATA_HOME", "data"), ("XDG_RUNTIME_DIR", "run"), ("HOME", "user")] {
            command.env(name, self.ground.path().join(folder));
        }
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
    }

    /// Starts the keyring, either unlocked or locked as it is after a login without a password. Its items persist.
    pub fn start_keyring(&mut self, unlocked: bool) {
        let mut command = Command::new("gnome-keyring-daemon");
        self.surround(&mut command);
        command.args(["--components=secrets", "--foreground", if unlocked { "--unlock" } else { "--start" }]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keyring = Killed(command.spawn().unwrap());
        let mut asks = keyring.0.stdin.take().unwrap();
        if unlocked {
            asks.write_all(b"password of the session").unwrap();
        }
        drop(asks);
        self.keyring = Some(keyring);
        self.see_owner_change();
    }

    pub fn stop_keyring(&mut self) {
        self.keyring = None;
        self.see_owner_change();
    }

    pub fn signal_keyring(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.keyring.as_ref().unwrap().0), signal).unwrap();
    }

    /// Locks the keyring as its user does.
    pub fn lock(&self) {
        let of = format!("array:objpath:{COLLECTION}");
        let to = format!("--dest={SERVICE}");
        self.send(&["--print-reply", &to], "/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock", &[&of]);
    }

    /// The calls to the Secret Service since the last call of this function, without reads of properties.
    pub fn calls(&mut self) -> Vec<String> {
        self.markers += 1;
        let marker = format!("/marker/{}", self.markers);
        self.send(&["--dest=org.freedesktop.DBus"], &marker, "org.freedesktop.DBus.Peer.Ping", &[]);
        let end = format!("path={marker}; interface=org.freedesktop.DBus.Peer; member=Ping");
        self.see_until(|header, _| header.ends_with(&end))
    }

    fn send(&self, options: &[&str], path: &str, method: &str, arguments: &[&str]) {
        let mut command = Command::new("dbus-send");
        self.surround(&mut command);
        command.arg("--session").args(options).args([path, method]).args(arguments);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    }

    fn see_owner_change(&mut self) {
        let name = format!("string \"{SERVICE}\"");
        self.see_until(|header, line| header.ends_with("member=NameOwnerChanged") && line == name);
    }

    /// Reads the bus traffic until the head of a message and a line of it match. Returns the calls to the Secret
    /// Service on the way.
    fn see_until(&mut self, is_end: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let (mut head, mut calls) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            assert_ne!(self.monitor.read_line(&mut line).unwrap(), 0, "the bus is gone");
            let line = line.trim_end();
            if !line.starts_with(' ') {
                line.clone_into(&mut head);
                if let Some((_, method)) = line.split_once("interface=org.freedesktop.Secret.")
                    && line.starts_with("method call")
                {
                    calls.push(method.replace("; member=", "."));
                }
            }
            if is_end(&head, line.trim_start()) {
                return calls;
            }
        }
    }
}

/// Serves the keyring's password prompt until the prompt is cancelled, and never answers it.
pub fn display_unseen() {
    let prompter = zbus::blocking::connection::Builder::session().unwrap().name("org.gnome.keyring.SystemPrompter");
    let _shown = prompter.unwrap().serve_at("/org/gnome/keyring/Prompter", Unseen).unwrap().build().unwrap();
    say("shown");
    wait_for_word();
}

struct Unseen;

#[zbus::interface(name = "org.gnome.keyring.internal.Prompter")]
impl Unseen {
    fn begin_prompting(&self, _asking: zbus::zvariant::ObjectPath<'_>) {
        say("asked");
    }
}
