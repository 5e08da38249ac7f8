//! The stores that come with tokenkeeper, each behind a feature.

/// The embedded store, with one sealed file for each identity in a private folder. It is safe across processes (feature
/// `file`).
///
/// ```no_run
/// use tokenkeeper::AuthRuntime;
/// use tokenkeeper::stores::file::FileStore;
///
/// # async fn host() -> Result<(), Box<dyn std::error::Error>> {
/// let store = FileStore::open(FileStore::default_dir()?)?;
/// # #[cfg(feature = "reqwest")]
/// let auth = AuthRuntime::builder(store).spawn().await?;
/// # Ok(())
/// # }
/// ```
#[cfg(all(feature = "file", unix))]
pub use tokenkeeper_store_file as file;

/// The store in memory, for tests and for hosts whose sessions end with the process (feature `memory`).
#[cfg(feature = "memory")]
pub mod memory {
    use std::io;

    pub use tokenkeeper_actors::memory::MemoryStore;
    use tokenkeeper_actors::values::DigestKey;

    /// An empty store. The key of its digests comes from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// An error if the operating system has no randomness.
    pub fn open() -> io::Result<MemoryStore> {
        Ok(MemoryStore::new(DigestKey::random().map_err(io::Error::other)?))
    }
}
