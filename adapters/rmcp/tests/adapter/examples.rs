//! The examples of the migration note.
