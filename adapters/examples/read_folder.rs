//! Reads every `*.hl7` file below the folder in `HL7_FOLDER` and says what became of each message, and how fast.
//!
//! `HL7_FOLDER=folder cargo run --release -p adapters --example read_folder [-- verbose untimed keep]`
//! With `HL7_TABLE=report.tsv` a table is written: file, message type, outcome, resources by type, actions, issues, unread
//! places. With `HL7_MAPPINGS=folder` an operator's mappings are used; with `HL7_BUNDLES=folder` the resources are written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adapters::feed::{Feed, FeedSettings};
use adapters::hl7v2::batch::split;
use adapters::hl7v2::charset::{Fallback, decode};
use adapters::hl7v2::{guard, normalise::normalise, tokenize::tokenize};
use adapters::pipeline::Pipeline;
use adapters::{AckCode, Disposition, Intake};
use bytes::Bytes;
use mappings::Library;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder =
        std::env::var("HL7_FOLDER").map_err(|_| "set HL7_FOLDER to a folder of *.hl7 files")?;
    let verbose = std::env::args().any(|a| a == "verbose");
    let mut files = Vec::new();
    collect(Path::new(&folder), &mut files)?;
    files.sort();
    let settings = FeedSettings {
        processing_ids: ["P", "T", "D"].map(str::to_owned).to_vec(),
        mapping: [
            ("zone", "America/New_York"),
            ("default-authority", "urn:oid:1.2.3"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into(),
        ..FeedSettings::default()
    };
    let mut settings = settings;
    if std::env::args().any(|a| a == "keep") {
        let keep = ("unidentified".to_owned(), "keep".to_owned());
        settings.mapping.extend([keep]);
    }
    let library = match std::env::var("HL7_MAPPINGS") {
        Ok(folder) => Library::load(Path::new(&folder)),
        Err(_) => Library::embedded(),
    };
    let library = library.map_err(|e| e.to_string())?;
    let pipeline = Pipeline::new(Feed::new(&settings)?, library);
    let bundles = std::env::var("HL7_BUNDLES").ok();
    let mut table = String::from(HEAD);
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    let mut messages = Vec::new();
    for path in &files {
        let bytes = Bytes::from(std::fs::read(path)?);
        for (number, place) in split(&bytes).messages.into_iter().enumerate() {
            let raw = bytes.slice(place);
            let reading = pipeline.read(raw.clone());
            let verdict = verdict(&reading.intake);
            let name = path.strip_prefix(&folder)?.display().to_string();
            row(&mut table, &name, number + 1, &verdict, &reading.intake);
            if let Some(folder) = &bundles {
                let file = format!("{}.{}.json", name.replace('/', "_"), number + 1);
                std::fs::write(Path::new(folder).join(file), bundle(&reading.intake))?;
            }
            if verbose {
                println!("{name}\t{verdict}");
                for issue in &reading.intake.issues {
                    println!("\t{issue}");
                }
            }
            *totals.entry(verdict).or_default() += 1;
            messages.push(raw);
        }
    }
    for (verdict, count) in &totals {
        println!("{count:6}  {verdict}");
    }
    if let Ok(path) = std::env::var("HL7_TABLE") {
        std::fs::write(path, table)?;
    }
    if !std::env::args().any(|a| a == "untimed") {
        time(&pipeline, &messages);
    }
    Ok(())
}

const HEAD: &str =
    "file\tnumber\ttype\toutcome\tresources\tactions\tissues\tunread count\tunread\n";

/// One line of the table.
fn row(table: &mut String, file: &str, number: usize, verdict: &str, intake: &Intake) {
    let counted = |names: Vec<String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            *counts.entry(name).or_default() += 1;
        }
        let cells = counts.iter().map(|(name, count)| match count {
            1 => name.clone(),
            count => format!("{name}={count}"),
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    let resources = intake.resources.iter();
    let resources = counted(
        resources
            .map(|r| r.identity.resource_type.to_string())
            .collect(),
    );
    let actions = counted(
        intake
            .actions
            .iter()
            .map(|a| a.kind.as_str().to_owned())
            .collect(),
    );
    let issues = counted(intake.issues.iter().map(|i| i.code.to_string()).collect());
    // Fields tell more than places here: PID-10 of all repetitions is one gap.
    let field = |position: &mappings::Position| {
        let text = position.to_string();
        let (segment, rest) = text.split_once('-').unwrap_or((&text, ""));
        let segment = segment.split('[').next().unwrap_or_default();
        let field = rest.split(['[', '.']).next().unwrap_or_default();
        format!("{segment}-{field}")
    };
    let unread = counted(intake.unread.iter().map(field).collect());
    let cells = [
        file,
        &number.to_string(),
        &intake.message_type,
        verdict,
        &resources,
        &actions,
        &issues,
        &intake.unread_count.to_string(),
        &unread,
    ];
    table.push_str(&cells.map(|c| c.replace(['\t', '\n', '\r'], " ")).join("\t"));
    table.push('\n');
}

/// The resources as one JSON array.
fn bundle(intake: &Intake) -> Vec<u8> {
    let mut bytes = b"[".to_vec();
    for (index, resource) in intake.resources.iter().enumerate() {
        if index > 0 {
            bytes.extend_from_slice(b",\n");
        }
        bytes.extend(resource.value.to_bytes());
    }
    bytes.push(b']');
    bytes
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "hl7") {
            files.push(path);
        }
    }
    Ok(())
}

fn verdict(intake: &Intake) -> String {
    match &intake.disposition {
        Disposition::Process => "AA processed".to_owned(),
        Disposition::Refuse { code, reason } => {
            let kind = if *code == AckCode::Reject {
                intake.message_type.as_str()
            } else {
                ""
            };
            format!("{} {} {kind}", code.as_str(), reason.code)
        }
    }
}

/// Time of each step over all messages that are processed, the best of several rounds.
fn time(pipeline: &Pipeline, messages: &[Bytes]) {
    const ROUNDS: usize = 7;
    let good: Vec<&Bytes> = messages
        .iter()
        .filter(|raw| pipeline.read((*raw).clone()).intake.disposition == Disposition::Process)
        .collect();
    let mut best = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let mut spent = [Duration::ZERO; 3];
        for raw in &good {
            let start = Instant::now();
            let mut issues = Vec::new();
            let Ok(decoded) = decode(raw, &Fallback::default(), &mut issues) else {
                continue;
            };
            let Ok(lines) = normalise(&decoded.text, &decoded.offsets, &mut issues) else {
                continue;
            };
            let Ok(message) = tokenize(&decoded.text, lines) else {
                continue;
            };
            let read = Instant::now();
            let agreed = guard::second_opinion(&message).is_ok();
            let guarded = Instant::now();
            std::hint::black_box(agreed);
            std::hint::black_box(pipeline.read((*raw).clone()));
            let whole = guarded.elapsed();
            for (sum, part) in spent.iter_mut().zip([read - start, guarded - read, whole]) {
                *sum += part;
            }
        }
        for (best, spent) in best.iter_mut().zip(spent) {
            *best = (*best).min(spent);
        }
    }
    let count = u32::try_from(good.len().max(1)).unwrap_or(1);
    let bytes: usize = good.iter().map(|raw| raw.len()).sum();
    println!("{count} messages, mean {} bytes", bytes / good.len().max(1));
    for (name, spent) in [
        "decode + normalise + tokenize",
        "second opinion",
        "whole path to the gateway",
    ]
    .iter()
    .zip(best)
    {
        println!(
            "{:8.1} µs  {name}",
            (spent / count).as_nanos() as f64 / 1000.0
        );
    }
}
