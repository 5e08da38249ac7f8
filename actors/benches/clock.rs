//! What reading the clocks costs: see `benches/README.md` at the root.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::system::{Dice, SystemClock};

fn clocks(criterion: &mut Criterion) {
    // Behind the port, as everything in a runtime has it.
    let Ok(clock) = SystemClock::new() else { return };
    let clock: Arc<dyn Clock> = Arc::new(clock);
    criterion.bench_function("clock: now", |bencher| bencher.iter(|| black_box(clock.now())));
    criterion.bench_function("clock: coarse", |bencher| bencher.iter(|| black_box(clock.coarse())));
    criterion.bench_function("clock: SystemTime and Instant of std", |bencher| {
        #[expect(clippy::disallowed_methods, reason = "what the clock is compared with")]
        bencher.iter(|| black_box((SystemTime::now(), Instant::now())));
    });
}

fn dice(criterion: &mut Criterion) {
    let Ok(dice) = Dice::new() else { return };
    criterion.bench_function("dice: jitter", |bencher| bencher.iter(|| black_box(dice.jitter())));
    criterion.bench_function("dice: a flight's name", |bencher| bencher.iter(|| black_box(dice.flight_base())));
}

criterion_group!(system, clocks, dice);
criterion_main!(system);
