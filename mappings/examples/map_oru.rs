//! Prints how long one ORU^R01 with eight OBX takes to become a Patient and eight Observations.
//!
//! `cargo run --release -p mappings --example map_oru [RUNS]`. Reading the message and storing the result are not in it.

use std::time::Instant;

use mappings::{Context, Library, Select, SourceTree, sample};

/// The server's allocator, so that the numbers are the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn message() -> String {
    let mut text = String::from(
        "MSH|^~\\&|LAB|NORTH|||20240301120000+0100||ORU^R01^ORU_R01|M1|P|2.5.1\n\
         PID|1||4711^^^NORTH&1.2.3&ISO^MR||Example^Anna||19800229|F|||1 Test St^^Sampletown^ST^01234\n\
         OBR|1|P1^ADT|F1^LAB^1.2.4^ISO|24323-8^Panel^LN|||202403011000|||||||||||||||||CH|F\n",
    );
    let tests = [
        ("2345-7", "Glucose", "5.40"),
        ("2951-2", "Sodium", "140"),
        ("2823-3", "Potassium", "4.1"),
        ("2160-0", "Creatinine", "0.90"),
    ];
    for n in 1..=8 {
        let (code, name, value) = tests[(n - 1) % tests.len()];
        text.push_str(&format!(
            "OBX|{n}|NM|{code}^{name}^LN|{n}|{value}|mmol/L^^UCUM|3.9-5.6|N|||F|||202403011005||T1^Tester^Tom\n"
        ));
    }
    text
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs: u32 = std::env::args().nth(1).map_or(Ok(20_000), |n| n.parse())?;
    let start = Instant::now();
    let library = Library::embedded()?;
    println!("library loaded in {:?}", start.elapsed());
    let select = Select::Hl7v2 {
        code: "ORU",
        trigger: "R01",
        structure: Some("ORU_R01"),
    };
    let mapping = library
        .mapping_for(&select)
        .ok_or("no mapping for ORU^R01")?;
    let source = SourceTree::Hl7v2(sample::segments(&message())?);
    let context = Context::default();
    let output = mapping.run(&source, &context)?;
    println!(
        "{} resources, {} issues",
        output.resources.len(),
        output.issues.len()
    );
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..runs {
        let output = mapping.run(&source, &context)?;
        bytes += output.resources.len();
    }
    let each = start.elapsed() / runs;
    println!(
        "{each:?} for each message, {:?} for each resource ({bytes} resources)",
        each / 9
    );
    Ok(())
}
