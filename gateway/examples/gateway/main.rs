//! A gateway with many persons, each of whom has a session at a Keycloak-like and at a GitHub-like provider.
//!
//! All sign in through the gateway. Then their clients call, refresh, and refresh twice at once, while one in twenty requests
//! fails at the providers. At the end all rest, and the actors of idle sessions end. The program fails if one answer has
//! another person's data, if a provider sees a refresh token twice, or if the memory grows with the traffic.
//!
//! ```text
//! cargo run --release -p tokenkeeper-gateway --example gateway -- --users 10000 --seconds 60
//! ```
#![allow(clippy::print_stdout, clippy::panic, reason = "a program to read, which reports its figures")]

mod person;
mod traffic;
mod world;

use std::error::Error;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use person::Person;
use traffic::Traffic;
use world::{World, tasks};

type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Sign-ins that run at a time.
const AT_ONCE: usize = 16;

#[tokio::main]
async fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let (mut users, mut seconds) = (100_usize, 3_u32);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match name.as_str() {
            "--users" => users = value.parse()?,
            "--seconds" => seconds = value.parse()?,
            _ => return Err("usage: gateway [--users NUMBER] [--seconds NUMBER]".into()),
        }
    }
    let world = World::start(users).await?;
    let client = person::register(&world).await?;
    let signing_in = stream::iter(0..users).map(|number| Person::sign_in(&world, &client, number));
    let persons: Vec<Person> =
        signing_in.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect::<Done<_>>()?;
    println!("{users} persons are signed in at both providers: {}", world.told());

    let (before, signed_in) = (memory(), tasks());
    world.fail_one_in_twenty();
    let traffic = Traffic::run(&world, &client, persons, Duration::from_secs(seconds.into())).await?;
    world.calm();
    println!("{seconds} s of traffic: {traffic}");
    let (after, in_use) = (memory(), tasks());

    let left = world.rested(users).await?;
    println!("tasks: {signed_in} after the sign-ins, {in_use} after the traffic, {left} after the sessions rested");
    println!("memory, in MiB: {before} after the sign-ins, {after} after the traffic, {} after the rest", memory());
    println!("at the end: {}", world.told());
    traffic.check()?;
    world.check(users)?;
    // Whole pages of the allocator are in it, and the providers of the test with their logs.
    let allowed = before / 2 + 64;
    if after > before + allowed {
        return Err(format!("the memory grew by {} MiB, and {allowed} MiB were allowed", after - before).into());
    }
    world.end().await
}

/// The resident memory of this process, with the providers in it, in MiB. Zero where the system does not tell.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}
