//! The stores that come with tokenkeeper, each behind a feature and in a crate of its own.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tokenkeeper::stores::file::FileStore;
//! use tokenkeeper::{AuthRuntime, Settings};
//!
//! # async fn host(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
//! let store = FileStore::open(FileStore::default_dir()?)?;
//! let auth = AuthRuntime::builder(Arc::new(store), settings).spawn().await?;
//! # drop(auth);
//! # Ok(())
//! # }
//! ```

/// The embedded store: one sealed file for each identity in a private folder, safe across processes (feature `file`).
pub use tokenkeeper_store_file as file;
