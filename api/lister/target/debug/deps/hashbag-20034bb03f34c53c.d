/work/main/api/lister/target/debug/deps/hashbag-20034bb03f34c53c.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/hashbag-0.1.13/src/lib.rs

/work/main/api/lister/target/debug/deps/libhashbag-20034bb03f34c53c.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/hashbag-0.1.13/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/hashbag-0.1.13/src/lib.rs:
