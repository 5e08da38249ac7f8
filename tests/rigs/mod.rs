//! Starts the rigs of this folder, which are servers by other authors, for tests against a real server. A test includes
//! it by `#[path = "…/tests/rigs/mod.rs"] mod rigs;`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test takes what it needs"
)]

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The longest that one of these may take to answer.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest that one of these may take to start. Most start within a second, but builds and other tests may run beside.
const LONGEST_START: Duration = Duration::from_secs(60);

/// How many times a program is started that says nothing.
const STARTS: usize = 3;

/// One of the servers. Each folder has a README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// An authorization server with an MCP server behind it.
    OidcProvider,
    /// An MCP server on the official TypeScript SDK.
    McpTypeScript,
    /// An MCP server on the official Python SDK. Its environment serves the host in Python, too.
    McpPython,
    /// An MCP server on FastMCP that takes ID-JAGs, with the identity provider that issues them.
    FastMcp,
    /// The same behind Cloudflare's OAuth provider for Workers.
    WorkersProvider,
    /// Hosts on both SDKs, and the reference server of the MCP project. It is no server by itself.
    McpHosts,
    /// The official conformance suite, with the Node that it needs. It is no server.
    Conformance,
}

/// A running server. It ends when this is dropped, and at the latest with the process.
pub struct Rig {
    /// The line that it printed when it was ready, unchanged.
    pub line: String,
    /// The same line, parsed.
    pub ready: Value,
    child: Child,
}

impl Rig {
    /// Starts an oidc-provider rig with these environment variables. Installs it first if that was not done yet.
    ///
    /// Returns `None`, and prints a notice on standard error, on a machine without Node. With `CI=true` it panics
    /// instead.
    pub fn start(variables: &[(&str, &str)]) -> Option<Self> {
        Self::start_program(Program::OidcProvider, variables)
    }

    /// Like [`start`](Self::start), for any of the servers. Those in Python need Python 3.11 with its `venv`.
    pub fn start_program(program: Program, variables: &[(&str, &str)]) -> Option<Self> {
        let folder = program.prepared()?;
        let started = (0..STARTS).find_map(|_| Self::spawn(program, &folder, variables));
        Some(started.unwrap_or_else(|| panic!("{program:?} said nothing for {LONGEST_START:?}, {STARTS} times")))
    }

    /// `None` if the program says nothing for [`LONGEST_START`].
    fn spawn(program: Program, folder: &Path, variables: &[(&str, &str)]) -> Option<Self> {
        let mut child = program
            .command(folder)
            .current_dir(folder)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let mut rig = Self { line: String::new(), ready: Value::Null, child };
        rig.line = first_line(output)?;
        rig.ready = serde_json::from_str(&rig.line)
            .unwrap_or_else(|error| panic!("the rig did not start: {error}: {}", rig.line));
        Some(rig)
    }

    /// Reads from an admin endpoint such as `/stats` or `/chains`.
    pub fn get(&self, path: &str) -> Value {
        ask(self.admin(), "GET", path, "")
    }

    /// Posts to an admin endpoint such as `/config`, `/delay` or `/reset`.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        ask(self.admin(), "POST", path, &body.to_string())
    }

    /// The address of the admin endpoints.
    pub fn admin(&self) -> &str {
        self.ready["admin"].as_str().unwrap()
    }
}

/// Sends one request of HTTP/1.0 to an admin endpoint. The answer ends with its connection.
pub fn ask(admin: &str, method: &str, path: &str, body: &str) -> Value {
    let host = admin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    let length = body.len();
    let head = format!("host: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
    // In one piece, because a server that answers before it has read all of it may reset the connection.
    stream.write_all(format!("{method} {path} HTTP/1.0\r\n{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{method} {path}: {answer}");
    serde_json::from_str(body).unwrap()
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The rig ends by itself when its standard input closes. The wait is no longer than that takes.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first line that comes within [`LONGEST_START`], read on a thread of its own, because reading blocks.
#[allow(clippy::disallowed_methods, reason = "the thread ends with what it reads from")]
fn first_line(from: impl Read + Send + 'static) -> Option<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line).unwrap();
        drop(tell.send(line));
    });
    told.recv_timeout(LONGEST_START).ok()
}

impl Program {
    /// Its folder, after it was installed. `None`, with a notice on standard error, on a machine without its interpreter. With
    /// `CI=true` it panics instead.
    pub fn prepared(self) -> Option<PathBuf> {
        let (folder, interpreter) = (self.folder(), self.interpreter());
        if !self.can_run() {
            assert!(env::var("CI").as_deref() != Ok("true"), "there is no {interpreter} here, and CI wants the rigs");
            eprintln!("SKIPPED: there is no {interpreter} here, so nothing was tried against {}", folder.display());
            return None;
        }
        self.install(&folder);
        Some(folder)
    }

    /// In this repository, whichever package's test this is.
    fn folder(self) -> PathBuf {
        let (name, main) = match self {
            Self::OidcProvider => ("oidc-provider", "server.mjs"),
            Self::McpTypeScript => ("mcp-typescript", "server.mjs"),
            Self::McpPython => ("mcp-python", "server.py"),
            Self::FastMcp => ("fastmcp", "server.py"),
            Self::WorkersProvider => ("workers-provider", "server.mjs"),
            Self::McpHosts => ("mcp-hosts", "host.mjs"),
            Self::Conformance => ("../conformance", "run.py"),
        };
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let rig = |folder: &Path| folder.join("tests/rigs").join(name);
        folders.map(rig).find(|rig| rig.join(main).is_file()).expect("the rig lies in this repository")
    }

    fn is_python(self) -> bool {
        matches!(self, Self::McpPython | Self::FastMcp)
    }

    fn interpreter(self) -> &'static str {
        match self.is_python() {
            false => "node",
            true if cfg!(windows) => "python",
            true => "python3",
        }
    }

    /// Whether this machine has the interpreter, and for Python also the parts that Debian has in packages of their own.
    fn can_run(self) -> bool {
        let arguments: &[&str] = match self.is_python() {
            false => &["--version"],
            true => &["-c", "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"],
        };
        let mut command = Command::new(self.interpreter());
        let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn command(self, folder: &Path) -> Command {
        let (interpreter, main) = match self.is_python() {
            false => (PathBuf::from(self.interpreter()), "server.mjs"),
            true => (python_of(folder), "server.py"),
        };
        let mut command = Command::new(interpreter);
        command.arg(main);
        command
    }

    /// Installs the server once, even if several tests need it at the same time.
    fn install(self, folder: &Path) {
        let lock = File::create(folder.join(".installing")).unwrap();
        lock.lock().unwrap();
        match self.is_python() {
            false => install_node(folder),
            true => install_python(self.interpreter(), folder),
        }
    }
}

fn install_node(folder: &Path) {
    // npm writes this file last.
    if folder.join("node_modules/.package-lock.json").is_file() {
        return;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    run(Command::new(npm).args(["ci", "--no-audit", "--no-fund"]).current_dir(folder));
}

/// Installs the locked packages in an environment of their own. A copy of the lock file is written last, as the sign that they
/// are complete.
fn install_python(interpreter: &str, folder: &Path) {
    let (wanted, installed) = (folder.join("requirements.txt"), folder.join(".venv/requirements.txt"));
    let wanted = fs::read_to_string(wanted).unwrap();
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return;
    }
    run(Command::new(interpreter).args(["-m", "venv", "--clear", ".venv"]).current_dir(folder));
    let mut pip = Command::new(python_of(folder));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]);
    run(pip.args(["--only-binary", ":all:", "-r", "requirements.txt"]).current_dir(folder));
    fs::write(installed, wanted).unwrap();
}

/// The interpreter of the environment in this folder of a server in Python.
pub fn python_of(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { ".venv/Scripts/python.exe" } else { ".venv/bin/python" })
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "{command:?} failed");
}
