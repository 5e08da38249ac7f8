//! scratch
use std::io::Write;
use tokenkeeper_actors::law::profile::InDoubt;
use tokenkeeper_model::{Bounds, Claims, Config, Fault, check};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let mut config = Config::new(InDoubt::RetryOnce, Claims::Kernel, Bounds::CALM);
    for a in std::env::args().skip(1) {
        let (k, v) = a.split_once('=').unwrap_or((&a, "0"));
        let v: u8 = v.parse().unwrap_or(0);
        let b = &mut config.bounds;
        match k {
            "flights" => b.flights = v,
            "crashes" => b.crashes = v,
            "losses" => b.claim_losses = v,
            "lost" => b.lost_answers = v,
            "unsent" => b.unsent = v,
            "logins" => b.logins = v,
            "lessons" => b.lessons = v,
            "timeouts" => b.timeouts = v,
            "lulls" => b.lulls = v,
            "apart" => config.apart = v > 0,
            "leased" => {
                config.claims = Claims::LEASED;
                config.apart = true
            }
            "long" => {
                config.claims = Claims::LONG;
                config.apart = true
            }
            "never" => config.policy = InDoubt::NeverReplay,
            "fault" => {
                use Fault::*;
                config.faults.push(
                    [
                        StaleReread,
                        MarkAnywhere,
                        MarkUnwritten,
                        MarkTooShort,
                        SharedClaim,
                        LostIsGone,
                        CommitAnywhere,
                        ClaimLeft,
                        SendLate,
                        OrphanForgotten,
                    ][usize::from(v)],
                );
            }
            "waits" => b.waits = v,
            "pauses" => b.pauses = v,
            _ => {}
        }
    }
    let report = check(config, 2);
    writeln!(out, "{report}")
}
