//! Tests for what you plug into tokenkeeper.
//!
//! [`store_contract`] holds what a token store owes the engine, as a suite that any store runs through: the ones that
//! come with tokenkeeper, and yours. Tell it how to make an empty store and how to open it once more, and run it:
//!
//! ```
//! use std::sync::Arc;
//!
//! use tokenkeeper_actors::memory::MemoryStore;
//! use tokenkeeper_actors::ports::store::TokenStore;
//! use tokenkeeper_actors::values::DigestKey;
//! use tokenkeeper_testkit::store_contract::{Harness, Place, async_trait, run_all};
//!
//! struct InMemory;
//!
//! #[async_trait]
//! impl Harness for InMemory {
//!     async fn place(&self) -> Box<dyn Place> {
//!         Box::new(Memory(MemoryStore::new(DigestKey::new([7; 32]))))
//!     }
//! }
//!
//! struct Memory(MemoryStore);
//!
//! #[async_trait]
//! impl Place for Memory {
//!     async fn open(&self) -> Arc<dyn TokenStore> {
//!         Arc::new(self.0.process())
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
//! run_all(&InMemory).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A harness can do more: make a claim be lost, let a process die, cut a watch. What it cannot do is reported as not
//! shown, never as kept.
//!
//! `hostile` is an authorization server and a protected resource on loopback, strict and with faults on demand, that
//! counts everything: what a client does with its refresh token shows there (feature `hostile`, on by default).
//!
//! `scripted` has sessions that follow a script, for unit tests of hosts (feature `scripted`, on by default).
//!
//! `http_contract` is what an HTTP client owes the refresh grant (feature `http-contract`).

mod contract;
#[cfg(feature = "hostile")]
pub mod hostile;
#[cfg(feature = "http-contract")]
pub mod http_contract;
#[cfg(feature = "scripted")]
pub mod scripted;
pub mod store_contract;

/// The code in the README compiles and does what it says.
#[cfg(all(doctest, feature = "hostile", feature = "http-contract", feature = "scripted"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
