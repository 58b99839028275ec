//! Finds the PostgreSQL programs, or installs them where that is possible.
//!
//! Spec: <https://www.postgresql.org/docs/current/app-initdb.html>. Leaves out starting a server: tests start their own,
//! in a temporary folder, as a user other than root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian keeps one folder per major version.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// The folder with `initdb` and `postgres`, installed by `apt-get` when they are missing.
///
/// # Errors
/// Why there are none and none could be installed.
pub fn find_or_install() -> Result<PathBuf, String> {
    if let Some(folder) = find() {
        return Ok(folder);
    }
    let apt = on_path("apt-get")
        .ok_or("PostgreSQL is not installed and there is no apt-get to install it")?;
    if !is_root() {
        return Err(
            "PostgreSQL is not installed; run `apt-get install postgresql` as root".to_owned(),
        );
    }
    println!("test: PostgreSQL is missing, installing it");
    // A stale package list is the usual reason of a failing install; a failing update may still leave a usable list.
    let _ = apt_get(&apt, &["update", "-q"]);
    apt_get(
        &apt,
        &[
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "postgresql",
        ],
    )?;
    find().ok_or_else(|| {
        "apt-get installed postgresql, but initdb is not where Debian keeps it".to_owned()
    })
}

fn find() -> Option<PathBuf> {
    let named = std::env::var_os(super::POSTGRES_VARIABLE).map(PathBuf::from);
    let debian = versions(Path::new(DEBIAN_FOLDER))
        .into_iter()
        .map(|folder| folder.join("bin"));
    let path = on_path("initdb").and_then(|program| program.parent().map(Path::to_owned));
    named
        .into_iter()
        .chain(debian)
        .chain(path)
        .find(|folder| has_programs(folder))
}

/// Folders named by a version, the newest first.
fn versions(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

fn has_programs(folder: &Path) -> bool {
    PROGRAMS
        .iter()
        .all(|program| folder.join(program).is_file())
}

pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

pub(super) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

pub(super) fn apt_get(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "apt-get {} ended with {status}",
            arguments.join(" ")
        )),
        Err(error) => Err(format!("cannot run apt-get: {error}")),
    }
}
