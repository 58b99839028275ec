//! Where things lie: top-level entries, and one migration name in both folders.
//!
//! Leaves out the inside of packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Everything that may lie at the top; names that start with a dot are free.
const TOP_LEVEL: [&str; 17] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "adapters",
    "clippy.toml",
    "conformance",
    "deny.toml",
    "docs",
    "mappings",
    "migrations",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "server",
];
/// Folders that are there but not ours to judge.
const TOP_LEVEL_MORE: [&str; 2] = ["target", "tests"];

/// All entries that lie in the wrong place.
pub fn check(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for name in names(root) {
        let is_known =
            TOP_LEVEL.contains(&name.as_str()) || TOP_LEVEL_MORE.contains(&name.as_str());
        if !is_known && !name.starts_with('.') && !is_ignored(&name) {
            problems.push(format!(
                "{name}: nothing else may lie at the top of the repository"
            ));
        }
    }
    let (sqlite, postgres) = (
        names(&root.join("migrations/sqlite")),
        names(&root.join("migrations/postgres")),
    );
    for name in sqlite.symmetric_difference(&postgres) {
        problems.push(format!(
            "migration {name} must exist for both databases, under the same name"
        ));
    }
    problems
}

/// Database files of a server started here; git ignores them too.
fn is_ignored(name: &str) -> bool {
    [".db", ".db-wal", ".db-shm"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
