//! The cost of reading the clocks. See `benches/README.md` at the root.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use tokenkeeper_actors::ports::clock::Clock;
use tokenkeeper_actors::system::{Entropy, SystemClock};

fn clocks(criterion: &mut Criterion) {
    // Called through the port, as in the runtime.
    let Ok(clock) = SystemClock::new() else { return };
    let clock: Arc<dyn Clock> = Arc::new(clock);
    criterion.bench_function("clock: now", |bencher| bencher.iter(|| black_box(clock.now())));
    criterion.bench_function("clock: coarse", |bencher| bencher.iter(|| black_box(clock.coarse())));
    criterion.bench_function("clock: SystemTime and Instant of std", |bencher| {
        #[expect(clippy::disallowed_methods, reason = "what the clock is compared with")]
        bencher.iter(|| black_box((SystemTime::now(), Instant::now())));
    });
}

fn entropy(criterion: &mut Criterion) {
    let Ok(entropy) = Entropy::new() else { return };
    criterion.bench_function("entropy: jitter", |bencher| bencher.iter(|| black_box(entropy.jitter())));
    criterion.bench_function("entropy: a flight's name", |bencher| bencher.iter(|| black_box(entropy.flight_base())));
}

criterion_group!(system, clocks, entropy);
criterion_main!(system);
