//! What cargo and the file system say about this workspace.
//!
//! Spec: <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html>. Leaves out features and targets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Folders that hold no sources of ours.
const FOLDERS_SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];

/// The workspace root, two levels above this crate.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The part of `cargo metadata` the tasks read.
#[derive(Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Deserialize)]
struct NodeDependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// One package of the dependency graph.
#[derive(Deserialize)]
pub struct Package {
    id: String,
    /// Package name.
    pub name: String,
    /// Exact locked version.
    pub version: String,
    /// SPDX expression, when the package states one.
    pub license: Option<String>,
    /// Registry or git address; `None` for our own.
    pub source: Option<String>,
    /// Where its sources live.
    pub repository: Option<String>,
}

/// One edge from a package of ours.
pub struct Edge<'a> {
    /// Our package.
    pub from: &'a Package,
    /// What it depends on.
    pub to: &'a Package,
    /// True when `to` is ours as well.
    pub is_internal: bool,
    /// True when only tests need it.
    pub is_dev: bool,
}

impl Metadata {
    /// Asks `cargo metadata --locked`.
    ///
    /// # Errors
    /// What cargo said, for instance that the lock file is out of date.
    pub fn read() -> Result<Metadata, String> {
        let output = cargo()
            .args(["metadata", "--locked", "--format-version", "1"])
            .output();
        let output = output.map_err(|error| format!("cannot run cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "cargo metadata --locked failed: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
    }

    /// Every package of the graph that is not ours.
    pub fn external(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| !self.workspace_members.contains(&package.id))
    }

    /// All dependencies of our packages.
    pub fn edges(&self) -> Vec<Edge<'_>> {
        let find = |id: &str| self.packages.iter().find(|package| package.id == id);
        let ours = self
            .resolve
            .nodes
            .iter()
            .filter(|node| self.workspace_members.contains(&node.id));
        ours.flat_map(|node| node.deps.iter().map(move |dependency| (node, dependency)))
            .filter_map(|(node, dependency)| {
                Some(Edge {
                    from: find(&node.id)?,
                    to: find(&dependency.pkg)?,
                    is_internal: self.workspace_members.contains(&dependency.pkg),
                    is_dev: dependency
                        .dep_kinds
                        .iter()
                        .all(|kind| kind.kind.as_deref() == Some("dev")),
                })
            })
            .collect()
    }
}

/// A text file of the repository.
pub struct SourceFile {
    /// Path from the workspace root with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All files below the workspace root with one of these endings, sorted by path; files that are not UTF-8 are left out.
pub fn files(extensions: &[&str]) -> Vec<SourceFile> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, extensions, &mut found);
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn walk(root: &Path, folder: &Path, extensions: &[&str], found: &mut Vec<SourceFile>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (
            entry.path(),
            entry.file_name().to_string_lossy().into_owned(),
        );
        if path.is_dir() && !path.is_symlink() {
            if !FOLDERS_SKIPPED.contains(&name.as_str()) {
                walk(root, &path, extensions, found);
            }
            continue;
        }
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        if !extensions.contains(&extension) {
            continue;
        }
        if let (Ok(text), Ok(relative)) = (fs::read_to_string(&path), path.strip_prefix(root)) {
            found.push(SourceFile {
                path: relative.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}

/// Writes a generated file, or with `is_check` compares it with the committed one.
///
/// # Errors
/// Says which command brings the file up to date.
pub fn write_or_check(path: &str, text: &str, is_check: bool, command: &str) -> Result<(), String> {
    let file = root().join(path);
    if is_check {
        let committed = fs::read_to_string(&file).unwrap_or_default();
        return if committed == text {
            Ok(())
        } else {
            Err(format!("{path} is out of date, run `{command}`"))
        };
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("{path}: {error}"))?;
    }
    fs::write(&file, text).map_err(|error| format!("{path}: {error}"))
}
