//! Tests for implementations that plug into tokenkeeper.
//!
//! [`store_contract`] holds the contract of a token store as a test suite for any store, tokenkeeper's own or yours.
//! Implement a harness that makes an empty store and opens it again, and run it:
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
//! A harness can do more. It can lose a claim, kill a process or cut a watch. A check that needs a missing ability is
//! reported as not shown, never as kept.
//!
//! `hostile` is a strict authorization server and a protected resource on loopback, with faults on demand. It counts
//! every request, so it shows how a client uses its refresh tokens (feature `hostile`, on by default).
//!
//! `login_server` is the same server with everything that a login needs, from the resource's challenge to the tokens, and
//! with a switch for each flaw (feature `hostile`).
//!
//! `mcp` is a small MCP server behind the tokens of the hostile server, with tools, both wires of streamable HTTP and
//! misbehaviour on demand (feature `mcp`).
//!
//! `scripted` has sessions that follow a script, for unit tests of hosts (feature `scripted`, on by default).
//!
//! `http_contract` is the contract of an HTTP client for the refresh grant (feature `http-contract`).
//!
//! `gateway_contract` is the contract of a gateway's store (feature `gateway-contract`).

mod contract;
#[cfg(feature = "gateway-contract")]
pub mod gateway_contract;
#[cfg(feature = "hostile")]
pub mod hostile;
#[cfg(feature = "hostile")]
pub use hostile::login_server;
#[cfg(feature = "http-contract")]
pub mod http_contract;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "scripted")]
pub mod scripted;
pub mod store_contract;

/// The README's examples, as doc tests.
#[cfg(all(doctest, feature = "gateway-contract", feature = "http-contract", feature = "mcp", feature = "scripted"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
