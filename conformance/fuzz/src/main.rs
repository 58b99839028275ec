//! `fuzz seeds TARGET FOLDER` writes the seeds of a target as files; `fuzz run TARGET FILE..` runs inputs without instruments.

use std::process::ExitCode;

const USAGE: &str = "usage: fuzz seeds TARGET FOLDER | fuzz run TARGET FILE..";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match work(&arguments) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &[String]) -> Result<String, String> {
    let [task, name, places @ ..] = arguments else {
        return Err(USAGE.to_owned());
    };
    let target = fuzz::named(name).ok_or_else(|| {
        format!(
            "`{name}` is no target; there are {}",
            fuzz::NAMES.join(", ")
        )
    })?;
    let broken = |error: std::io::Error| error.to_string();
    match (task.as_str(), places) {
        ("seeds", [folder]) => {
            let seeds = fuzz::seeds::of(name);
            std::fs::create_dir_all(folder).map_err(broken)?;
            for (index, seed) in seeds.iter().enumerate() {
                let path = std::path::Path::new(folder).join(format!("seed-{index:04}"));
                std::fs::write(path, seed).map_err(broken)?;
            }
            let words: String = fuzz::seeds::words(name)
                .iter()
                .map(|word| format!("\"{}\"\n", escaped(word)))
                .collect();
            let dictionary = format!("{folder}.words");
            std::fs::write(&dictionary, words).map_err(broken)?;
            Ok(format!(
                "{} seeds in {folder}, words in {dictionary}",
                seeds.len()
            ))
        }
        ("run", files) => {
            for file in files {
                target(&std::fs::read(file).map_err(|error| format!("{file}: {error}"))?);
            }
            Ok(format!("{} inputs kept every promise", files.len()))
        }
        _ => Err(USAGE.to_owned()),
    }
}

/// A word as libFuzzer's dictionaries write it.
fn escaped(word: &str) -> String {
    word.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            other => format!("\\x{other:02X}"),
        })
        .collect()
}
