//! Reads payloads of a folder with the mapping that takes most of each, and prints what became of them.
//!
//! `STOKER_DEVICE_FOLDER=… cargo run -p device --example read_folder`. By hand only: it reads what is there.

use device::payload::{self, Outcome, PayloadMapping};
use device::split;

fn main() {
    let Ok(folder) = std::env::var("STOKER_DEVICE_FOLDER") else {
        eprintln!("set STOKER_DEVICE_FOLDER");
        return;
    };
    let Ok(mappings) = payload::embedded() else {
        eprintln!("the shipped mappings do not load");
        return;
    };
    let mut files = Vec::new();
    walk(std::path::Path::new(&folder), &mut files);
    files.sort();
    for file in files {
        let Ok(bytes) = std::fs::read(&file) else {
            continue;
        };
        let best = mappings
            .iter()
            .map(|m| (m, read(m, &bytes)))
            .max_by_key(|(_, lines)| {
                lines
                    .iter()
                    .filter(|l| !l.contains("faulty") && !l.contains("unreadable"))
                    .count()
            });
        let Some((mapping, lines)) = best else {
            continue;
        };
        println!("{} [{}] {}", file.display(), mapping.id, lines.len());
        for line in lines.iter().take(6) {
            println!("    {line}");
        }
    }
}

fn read(mapping: &PayloadMapping, bytes: &[u8]) -> Vec<String> {
    let Ok(plain) = split::plain(bytes) else {
        return vec!["unreadable".to_owned()];
    };
    let items = split::items(mapping.input, &plain);
    items
        .into_iter()
        .flat_map(|item| match item.content {
            Err(why) => vec![format!("unreadable: {why}")],
            Ok(document) => mapping
                .read(&document)
                .into_iter()
                .map(|read| match read.outcome {
                    Outcome::Measured(m) => m.to_string(),
                    Outcome::Dropped(why) => format!("dropped: {why}"),
                    Outcome::Deleted(_) => "deleted".to_owned(),
                    Outcome::Faulty {
                        expression,
                        message,
                    } => format!("faulty: {expression}: {message}"),
                })
                .collect(),
        })
        .collect()
}

fn walk(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if !path.to_string_lossy().contains("expected") {
            files.push(path);
        }
    }
}
