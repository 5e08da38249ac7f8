/work/main/api/lister/target/debug/deps/rustdoc_types-28873940c095f37d.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/rustdoc-types-0.57.4/src/lib.rs

/work/main/api/lister/target/debug/deps/librustdoc_types-28873940c095f37d.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/rustdoc-types-0.57.4/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/rustdoc-types-0.57.4/src/lib.rs:
