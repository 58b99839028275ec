//! Sends every HL7 v2 message of a folder through the real listeners of a server and reports what became of each.
//!
//! `cargo run -p system-tests --bin hl7_report -- FOLDER [--out report.tsv] [--bundles FOLDER] [--feed feed.json]
//! [--database URL]`. Columns: file, note, acknowledgement, state, reason, resources by type, issues, unread places,
//! resources that do not validate, and differences to a file `NAME.expected.json` beside the message. Notes are read
//! from `index.tsv` (columns `file` and `note`) when the folder has one.

use std::path::PathBuf;

use system_tests::hl7_report::{self, Options};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let Some(folder) = arguments.first().filter(|a| !a.starts_with("--")) else {
        eprintln!("name the folder of *.hl7 files");
        std::process::exit(2);
    };
    let options = Options {
        folder: PathBuf::from(folder),
        out: text("--out").map(PathBuf::from),
        bundles: text("--bundles").map(PathBuf::from),
        feed: text("--feed").map(PathBuf::from),
        database: text("--database"),
    };
    let summary = hl7_report::run(&options)?;
    print!("{summary}");
    Ok(())
}
