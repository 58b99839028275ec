//! Sends every resource of NDJSON files through XML and back: `xml_round_trip FILE…`. Fails when one differs.

use fhir_core::json::Document;
use fhir_core::xml;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut count, mut failed) = (0, 0);
    for file in std::env::args().skip(1) {
        for (number, line) in std::fs::read_to_string(&file)?.lines().enumerate() {
            count += 1;
            if let Err(error) = round_trip(line) {
                failed += 1;
                eprintln!("{file}:{}: {error}", number + 1);
            }
        }
    }
    println!("{count} resources, {failed} failed");
    if failed == 0 {
        Ok(())
    } else {
        Err("not every resource survived".into())
    }
}

fn round_trip(line: &str) -> Result<(), Box<dyn std::error::Error>> {
    let document = Document::parse(line.as_bytes())?;
    let mut text = Vec::new();
    xml::write(document.root(), &mut text)?;
    let back = xml::read(std::str::from_utf8(&text)?)?.to_bytes();
    if Document::parse(&back)?.root().same_as(document.root()) {
        Ok(())
    } else {
        Err("differs".into())
    }
}
