//! The migration note states the lengths of its examples.

use std::path::Path;

#[test]
fn the_migration_note_counts_the_lines_of_its_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let note = std::fs::read_to_string(folder.join("docs/from-auth-client.md")).unwrap();
    for name in ["auth_client_before.rs", "auth_client_after.rs"] {
        let source = std::fs::read_to_string(folder.join("examples").join(name)).unwrap();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        let row = format!("[`{name}`](../examples/{name}) | {} |", source.lines().filter(is_code).count());
        assert!(note.contains(&row), "docs/from-auth-client.md must have: {row}");
    }
}
