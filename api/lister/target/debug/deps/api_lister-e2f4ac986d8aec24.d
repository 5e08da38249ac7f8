/work/main/api/lister/target/debug/deps/api_lister-e2f4ac986d8aec24.d: src/main.rs

/work/main/api/lister/target/debug/deps/libapi_lister-e2f4ac986d8aec24.rmeta: src/main.rs

src/main.rs:
