//! Runs simulated schedules, and prints the results.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokenkeeper_simulation::{Outcome, Schedule, Tally, shrink};

const USAGE: &str = "\
Runs simulated schedules of tokenkeeper's machines, and checks every law after every step.

Usage: tokenkeeper-simulation [--schedules N] [--seed S] [--threads T] [--first] [--quiet] [--json]
       tokenkeeper-simulation --replay SEED [--whole]

  --schedules N   how many schedules to run (5000)
  --seed S        the first seed; the others follow it (1)
  --threads T     how many threads to run them on (2)
  --first         end at the first schedule that breaks a law, and only name the law
  --quiet         no progress and no table
  --json          the table as JSON
  --replay SEED   run one schedule and print its story: as few events as break the law, if one breaks
  --whole         do not shrink it

Ends with 1 when a law is broken, or when one of the kinds of event that are counted occurs too rarely in 5,000
schedules or more to say anything.
";

/// The number of times that each kind must occur for a run to count.
const LEAST: u64 = 50;

/// Shorter runs need not meet every kind.
const ENOUGH: u64 = 5_000;

/// The number of violations whose story is printed.
const STORIES: usize = 3;

struct Options {
    schedules: u64,
    seed: u64,
    threads: usize,
    first: bool,
    quiet: bool,
    json: bool,
    replay: Option<u64>,
    whole: bool,
}

fn main() -> ExitCode {
    match options() {
        Some(Options { replay: Some(seed), whole, .. }) => replay(seed, whole),
        Some(options) => run(&options),
        None => {
            say(USAGE);
            ExitCode::from(2)
        }
    }
}

fn options() -> Option<Options> {
    let mut options = Options {
        schedules: ENOUGH,
        seed: 1,
        threads: 2,
        first: false,
        quiet: false,
        json: false,
        replay: None,
        whole: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|number| number.parse::<u64>().ok());
        match argument.as_str() {
            "--schedules" => options.schedules = number()?,
            "--seed" => options.seed = number()?,
            "--threads" => options.threads = usize::try_from(number()?).ok()?.max(1),
            "--replay" => options.replay = Some(number()?),
            "--first" => options.first = true,
            "--quiet" => options.quiet = true,
            "--json" => options.json = true,
            "--whole" => options.whole = true,
            _ => return None,
        }
    }
    Some(options)
}

fn replay(seed: u64, whole: bool) -> ExitCode {
    silence_panics();
    let schedule = Schedule::new(seed);
    let schedule = if whole { schedule } else { shrink(&schedule) };
    let outcome = schedule.run(true);
    say(&schedule.describe());
    say(&outcome.story);
    say(&format!("digest {:016x}", outcome.digest));
    conclude(&outcome)
}

fn conclude(outcome: &Outcome) -> ExitCode {
    match &outcome.breach {
        None => ExitCode::SUCCESS,
        Some(breach) => {
            say(&format!("seed {}: law {} is broken: {} ({})", outcome.seed, breach.law, breach.what, breach.detail));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> ExitCode {
    silence_panics();
    let began = now();
    let next = AtomicU64::new(0);
    let result = Mutex::new((Tally::default(), 0_u64, Vec::<Outcome>::new()));
    in_threads(options.threads, || work(options, &next, &result, began));
    let (tally, digest, mut broken) = result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    broken.sort_by_key(|outcome| outcome.seed);
    if let Some(outcome) = broken.first().filter(|_| options.first) {
        return conclude(outcome);
    }
    if options.json {
        say(&json(options, &tally, digest, &broken));
    } else if !options.quiet {
        say(&tally.to_string());
    }
    let seconds = since(began).as_secs_f64();
    say(&format!(
        "{} schedules from seed {}, {} steps in {seconds:.1} s, digest {digest:016x}: {} broke a law",
        options.schedules,
        options.seed,
        tally.steps,
        broken.len()
    ));
    for outcome in broken.iter().take(STORIES) {
        let schedule = shrink(&Schedule::new(outcome.seed));
        let outcome = schedule.run(true);
        say(&format!("\n--- {} events are left of seed {}\n{}", schedule.events(), outcome.seed, outcome.story));
    }
    for outcome in &broken {
        conclude(outcome);
    }
    let rare = if options.schedules >= ENOUGH { tally.rare(LEAST) } else { Vec::new() };
    for (kind, count) in &rare {
        say(&format!("too rare to say anything: {kind} ({count})"));
    }
    if broken.is_empty() && rare.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn work(options: &Options, next: &AtomicU64, result: &Mutex<(Tally, u64, Vec<Outcome>)>, began: Instant) {
    let mut tally = Tally::default();
    let (mut digest, mut broken) = (0_u64, Vec::new());
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= options.schedules {
            break;
        }
        let outcome = Schedule::new(options.seed.wrapping_add(index)).run(false);
        tally.add(&outcome.tally);
        // A sum does not depend on the order in which threads finish.
        digest = digest.wrapping_add(outcome.digest);
        if outcome.breach.is_some() {
            broken.push(outcome);
            if options.first {
                next.fetch_max(options.schedules, Ordering::Relaxed);
            }
        }
        if !options.quiet && index > 0 && index.is_multiple_of(1_000) {
            say_aside(&format!("{index} schedules after {:.1} s", since(began).as_secs_f64()));
        }
    }
    let mut result = result.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    result.0.add(&tally);
    result.1 = result.1.wrapping_add(digest);
    result.2.append(&mut broken);
}

#[expect(clippy::disallowed_methods, reason = "real time, only to say how long a run took")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "real time, only to say how long a run took")]
fn since(began: Instant) -> Duration {
    began.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "each schedule is a world of its own: threads only make a run shorter")]
fn in_threads(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(&work);
        }
    });
}

/// A panic of a machine is a breach, and is reported as a breach.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn json(options: &Options, tally: &Tally, digest: u64, broken: &[Outcome]) -> String {
    let kinds: Vec<String> = tally.rows().map(|(word, count)| format!("    {word:?}: {count}")).collect();
    let lineages = tally.survivals().map(|(kind, [lost, spent, old, new])| {
        format!("    {kind:?}: {{\"lost\": {lost}, \"spent\": {spent}, \"old\": {old}, \"new\": {new}}}")
    });
    let lineages: Vec<String> = lineages.collect();
    let seeds: Vec<String> = broken.iter().map(|outcome| outcome.seed.to_string()).collect();
    format!(
        "{{\n  \"schedules\": {},\n  \"seed\": {},\n  \"steps\": {},\n  \"digest\": \"{digest:016x}\",\n  \"broken\": [{}],\n  \"kinds\": {{\n{}\n  }},\n  \"lineages\": {{\n{}\n  }}\n}}",
        options.schedules,
        options.seed,
        tally.steps,
        seeds.join(", "),
        kinds.join(",\n"),
        lineages.join(",\n")
    )
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn say(text: &str) {
    println!("{}", text.trim_end_matches('\n'));
}

#[expect(clippy::print_stderr, reason = "progress of a command")]
fn say_aside(text: &str) {
    eprintln!("{text}");
}
