/work/main/api/lister/target/debug/deps/api_lister-8e2671207a304ac7.d: src/main.rs

/work/main/api/lister/target/debug/deps/libapi_lister-8e2671207a304ac7.rmeta: src/main.rs

src/main.rs:
