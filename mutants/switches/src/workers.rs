//! Work that is shared by some threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::failure::Result;

/// Does `work` for each of `items` on `workers` threads. `work` also gets the number of its thread. Ends early with the
/// first failure.
#[expect(clippy::disallowed_methods, reason = "each item is judged in a process of its own, and threads only wait")]
pub(crate) fn share<T: Sync>(items: &[T], workers: usize, work: impl Fn(usize, &T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (next, work) = (&next, &work);
        let worker = |number| {
            move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(number, item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
                }
                Ok(())
            }
        };
        let threads: Vec<_> = (0..workers.max(1)).map(|number| scope.spawn(worker(number))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
