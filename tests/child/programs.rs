//! The child programs of the tests, around the clients of the documentation.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokenkeeper::child::{ChildGrant, HandOff};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Scene, within};

const PAGE: &str = include_str!("../../docs/children.md");

/// The client of the page in the fence of this language.
pub(crate) fn client(language: &str) -> &'static str {
    let mut blocks = PAGE.split("\n```").filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    let client = blocks.next().unwrap();
    assert_eq!(blocks.next(), None, "there is one client for {language}");
    client
}

/// The language of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Python, Self::Node];

    fn program(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::Node => "node",
        }
    }

    /// Whether it is installed.
    pub(crate) fn is_here(self) -> bool {
        let version = std::process::Command::new(self.program()).arg("--version").output();
        let is_here = version.is_ok_and(|version| version.status.success());
        if !is_here {
            println!("skipped: there is no {}", self.program());
        }
        is_here
    }

    /// Writes the client and the program into a folder, and returns the program's path.
    fn write(self, folder: &Path) -> PathBuf {
        let (module, language, name, program) = match self {
            Self::Python => ("children.py", "python", "program.py", PYTHON),
            Self::Node => ("children.mjs", "js", "program.mjs", NODE),
        };
        std::fs::write(folder.join(module), client(language)).unwrap();
        std::fs::write(folder.join(name), program).unwrap();
        folder.join(name)
    }
}

/// A running child, which does a thing for each line, and answers with a line of JSON.
pub(crate) struct Program {
    pub(crate) grant: Option<ChildGrant>,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) process: Child,
    _folder: TempDir,
}

impl Program {
    /// Starts the program, below a wrapper that starts it as another process if that is wanted.
    pub(crate) fn start(scene: &Scene, language: Language, how: HandOff, wrapped: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let program = language.write(folder.path());
        let mut command = if wrapped {
            // As npx does, the wrapper stays, and passes on its standard streams only.
            let wrapper = folder.path().join("wrapper.sh");
            std::fs::write(&wrapper, "\"$@\" 3>&- 4>&-\nexit $?\n").unwrap();
            let mut command = Command::new("sh");
            command.arg(wrapper).arg(language.program());
            command
        } else {
            Command::new(language.program())
        };
        command.arg(program).arg(scene.server.resource());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let grant = scene.session.hand_to(&mut command, how).unwrap();
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { grant: Some(grant), input: process.stdin.take().unwrap(), output, process, _folder: folder }
    }

    /// Has the program do this, and returns its answer.
    pub(crate) async fn run(&mut self, line: &str) -> Value {
        let answer = async {
            self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            self.output.next_line().await.unwrap().unwrap()
        };
        serde_json::from_str(&within(format!("the answer to {line}"), answer).await).unwrap()
    }

    /// Ends the program's input, and returns its code.
    pub(crate) async fn end(self) -> Option<i32> {
        let Self { input, mut process, .. } = self;
        drop(input);
        within("its end", process.wait()).await.unwrap().code()
    }
}

/// `ask` asks once. `calls N` calls the server until N tokens were used. `crowd N` calls it in N threads. `file N` calls with
/// the content of the token file until it had N tokens.
const PYTHON: &str = r#"
import json, os, sys, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor
from children import NoToken, token

url = sys.argv[1]

def send(access):
    request = urllib.request.Request(url, b"{}", {"Authorization": f"Bearer {access}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=25) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

def call():
    access, generation = token(min_ttl=0)
    status, refused = send(access), 0
    if status == 401:
        refused = 1
        access, generation = token(refused=generation)
        status = send(access)
    return access, status, refused

def calls(number):
    tokens, bad, refused = set(), 0, 0
    while len(tokens) < number:
        access, status, was_refused = call()
        tokens.add(access)
        bad += status != 200
        refused += was_refused
    return {"tokens": len(tokens), "bad": bad, "refused": refused}

def crowd(number):
    held = [token() for _ in range(number)]
    print(json.dumps({"held": len(set(held))}), flush=True)
    sys.stdin.readline()
    def one(pair):
        if send(pair[0]) == 200:
            return 200, pair[0]
        access, _ = token(refused=pair[1])
        return send(access), access
    with ThreadPoolExecutor(number) as threads:
        done = list(threads.map(one, held))
    return {"bad": sum(status != 200 for status, _ in done), "tokens": len({access for _, access in done})}

def file(number):
    tokens, bad, reads = set(), 0, 0
    while len(tokens) < number:
        for _ in range(100):
            with open(os.environ["TOKENKEEPER_TOKEN_FILE"]) as read:
                access = read.read()
            reads += 1
            if access not in tokens:
                break
        tokens.add(access)
        bad += send(access) != 200
    return {"tokens": len(tokens), "bad": bad, "reads": reads > number}

for line in sys.stdin:
    name, *number = line.split()
    try:
        if name == "ask":
            answer = dict(zip(("access_token", "generation"), token()))
        else:
            answer = {"calls": calls, "crowd": crowd, "file": file}[name](int(number[0]))
    except NoToken as error:
        answer = {"error": error.reason, "text": str(error)}
    print(json.dumps(answer), flush=True)
"#;

/// As [`PYTHON`].
const NODE: &str = r#"
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { token } from "./children.mjs";

const url = process.argv[2];

async function send(access) {
  const headers = { Authorization: `Bearer ${access}`, "Content-Type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: "{}" });
  await answer.arrayBuffer();
  return answer.status;
}

const work = {
  async ask() {
    const { access_token, generation } = await token();
    return { access_token, generation };
  },
  async calls(number) {
    const tokens = new Set();
    let bad = 0, refused = 0;
    while (tokens.size < number) {
      let { access_token, generation } = await token({ min_ttl: 0 });
      let status = await send(access_token);
      if (status === 401) {
        refused += 1;
        ({ access_token, generation } = await token({ refused: generation }));
        status = await send(access_token);
      }
      tokens.add(access_token);
      if (status !== 200) bad += 1;
    }
    return { tokens: tokens.size, bad, refused };
  },
  async crowd(number) {
    const held = await Promise.all(Array.from({ length: number }, () => token()));
    console.log(JSON.stringify({ held: new Set(held.map((one) => one.access_token)).size }));
    await lines.next();
    const done = await Promise.all(held.map(async (one) => {
      if ((await send(one.access_token)) === 200) return [200, one.access_token];
      const { access_token } = await token({ refused: one.generation });
      return [await send(access_token), access_token];
    }));
    const tokens = new Set(done.map(([, access]) => access)).size;
    return { bad: done.filter(([status]) => status !== 200).length, tokens };
  },
  async file(number) {
    const tokens = new Set();
    let bad = 0, reads = 0;
    while (tokens.size < number) {
      let access;
      for (let turn = 0; turn < 100; turn += 1) {
        access = readFileSync(process.env.TOKENKEEPER_TOKEN_FILE, "utf8");
        reads += 1;
        if (!tokens.has(access)) break;
      }
      tokens.add(access);
      if ((await send(access)) !== 200) bad += 1;
    }
    return { tokens: tokens.size, bad, reads: reads > number };
  },
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const [name, number] = line.value.split(" ");
  let answer;
  try {
    answer = await work[name](Number(number));
  } catch (error) {
    answer = { error: error.name, text: error.message };
  }
  console.log(JSON.stringify(answer));
}
"#;
