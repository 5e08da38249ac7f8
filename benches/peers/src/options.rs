//! The command line.
use crate::server::Fault;
use std::{path::PathBuf, str::FromStr, time::Duration};

pub const USAGE: &str = "\
peers hit         a cached, unexpired token
peers expiry      callers at the moment of expiry
peers faults      callers at the moment of expiry, and the first token request meets a fault
peers refused     callers whose unexpired token was refused
peers cancel      the caller that refreshes is cancelled
peers chain       three refreshes in a row
peers-alloc allocations   allocations of a hit
peers-alloc memory        many identities

  --rounds N        turns of each peer, A B C … A B C … (7; hit 9; faults 5)
  --repeat N        storms in one turn, whose median counts (3)
  --callers N,N…    sizes of the crowd (1,32,1000,10000; refused 1,32,200; faults 32)
  --tasks N,N…      tasks that share one handle (1,64)
  --delay MS        the server's delay (20)
  --connections C,C closed, kept: idle connections before an expiry (expiry closed,kept; faults closed)
  --faults F,F…     503, reset, 429, slow, half, lost (all)
  --slow MS         the delay of a slow answer (8000)
  --grace MS        how long the old token is good after its answer was lost (10000)
  --patience S      how long a caller waits (45; faults 30)
  --within S        how long a peer is asked again for a token after a fault (60)
  --identities N    identities of one peer (10000)
  --cap S           time to make them (20)
  --peers P,P…      peers whose name contains one of these (all; PEERS is the same)
  --against P       the peer that the others are compared with (tokenkeeper)
  --json FILE       writes the same rows as JSON
";

/// Whether the idle connections of a peer are closed before its token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// They are closed, as by pools and servers between two expiries that are an hour apart.
    Closed,
    /// The shared client has used one just before. A peer with a client of its own has it from its first token.
    Kept,
}

impl Connections {
    const ALL: [Connections; 2] = [Connections::Closed, Connections::Kept];

    pub fn word(self) -> &'static str {
        match self {
            Connections::Closed => "closed",
            Connections::Kept => "kept",
        }
    }
}

pub struct Options {
    pub command: String,
    /// Further words of the command.
    pub rest: Vec<String>,
    pub rounds: Option<usize>,
    pub repeat: usize,
    pub callers: Option<Vec<usize>>,
    pub tasks: Vec<usize>,
    pub delay_ms: u64,
    pub connections: Option<Vec<Connections>>,
    pub faults: Vec<Fault>,
    pub slow_ms: u64,
    pub grace_ms: u64,
    pub patience: Option<Duration>,
    pub within: Duration,
    pub identities: u64,
    pub cap: Duration,
    peers: Option<Vec<String>>,
    pub against: String,
    pub json: Option<PathBuf>,
}

impl Options {
    /// The options of this process. Prints the usage and exits if they cannot be read.
    pub fn of_process() -> Self {
        Self::parse(std::env::args().skip(1)).unwrap_or_else(|error| {
            eprintln!("{error}\n\n{USAGE}");
            std::process::exit(2)
        })
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            command: words.next().unwrap_or_default(),
            rest: vec![],
            rounds: None,
            repeat: 3,
            callers: None,
            tasks: vec![1, 64],
            delay_ms: 20,
            connections: None,
            faults: Fault::ALL.to_vec(),
            slow_ms: 8_000,
            grace_ms: 10_000,
            patience: None,
            within: Duration::from_secs(60),
            identities: 10_000,
            cap: Duration::from_secs(20),
            peers: std::env::var("PEERS").ok().map(|names| names.split(',').map(String::from).collect()),
            against: "tokenkeeper".into(),
            json: None,
        };
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                options.rest.push(word);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match &*word {
                "--rounds" => options.rounds = Some(positive(&value)?),
                "--repeat" => options.repeat = positive(&value)?,
                "--callers" => options.callers = Some(list(&value, positive)?),
                "--tasks" => options.tasks = list(&value, positive)?,
                "--delay" => options.delay_ms = number(&value)?,
                "--connections" => options.connections = Some(list(&value, connections)?),
                "--faults" => options.faults = list(&value, fault)?,
                "--slow" => options.slow_ms = number(&value)?,
                "--grace" => options.grace_ms = number(&value)?,
                "--patience" => options.patience = Some(Duration::from_secs(number(&value)?)),
                "--within" => options.within = Duration::from_secs(number(&value)?),
                "--identities" => options.identities = number(&value)?,
                "--cap" => options.cap = Duration::from_secs(number(&value)?),
                "--peers" => options.peers = Some(list(&value, |name| Ok(name.to_owned()))?),
                "--against" => options.against = value,
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(options)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.peers.as_ref().is_none_or(|parts| parts.iter().any(|part| name.contains(&**part)))
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn positive(text: &str) -> Result<usize, String> {
    number(text).and_then(|n| if n > 0 { Ok(n) } else { Err("0 is too few".into()) })
}

fn fault(text: &str) -> Result<Fault, String> {
    Fault::ALL.into_iter().find(|fault| fault.word() == text).ok_or_else(|| format!("unknown fault {text}"))
}

fn connections(text: &str) -> Result<Connections, String> {
    Connections::ALL.into_iter().find(|mode| mode.word() == text).ok_or_else(|| format!("connections are not {text}"))
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}
