//! Blocking work, on a separate thread.

use std::fs;
use std::io::Read as _;
use std::thread;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Runs `work` on a separate thread and returns its result, or `None` if no thread can be started or the work panicked. If the
/// future is dropped, the work goes on.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::Builder::new().name("tokenkeeper-token".to_owned());
    #[expect(clippy::disallowed_methods, reason = "blocking work, whose future owns it and waits for it")]
    let spawned = thread.spawn(move || {
        // The caller may have dropped the receiver.
        drop(sender.send(work()));
    });
    spawned.ok()?;
    receiver.await.ok()
}

/// Reads a regular file of at most `max` bytes. A pipe or a device could block for ever.
pub(super) fn read_file(path: &str, max: u64) -> Option<Zeroizing<Vec<u8>>> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let file = fs::File::open(path).ok()?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(max).ok()?.saturating_add(1)));
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (u64::try_from(bytes.len()).ok()? <= max).then_some(bytes)
}
