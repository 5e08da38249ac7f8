//! Explores every configuration, and prints the number of states of each.

use std::io::Write;
use tokenkeeper_model::{Config, check};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let mut args = std::env::args().skip(1);
    let which: Option<usize> = args.next().and_then(|a| a.parse().ok());
    for (i, mut config) in Config::all().into_iter().enumerate() {
        if which.is_some_and(|which| which != i) { continue }
        for a in args.by_ref() {
            let (k, v) = a.split_once('=').unwrap_or(("", "0"));
            let v: u8 = v.parse().unwrap_or(0);
            let b = &mut config.bounds;
            match k { "flights" => b.flights = v, "crashes" => b.crashes = v, "losses" => b.claim_losses = v, "lost" => b.lost_answers = v,
              "logins" => b.logins = v, "lessons" => b.lessons = v, "timeouts" => b.timeouts = v, "lulls" => b.lulls = v, "apart" => config.apart = v > 0, "lease" => { config.claims = tokenkeeper_model::Claims::Leased(std::time::Duration::from_secs(u64::from(v) * 10)); }
              "fault" => { use tokenkeeper_model::Fault::*; config.fault = Some([StaleReread, MarkAnywhere, MarkUnwritten, SharedClaim, LostIsGone, CommitAnywhere, ClaimLeft][usize::from(v)]); }
              "waits" => b.waits = v, "pauses" => b.pauses = v, _ => {} }
        }
        let report = check(config, 2);
        writeln!(out, "{report}")?;
    }
    Ok(())
}
