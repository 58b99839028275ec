//! Files taken apart. HL7 v2 chapter 2, "Batch protocol".

use std::io::BufReader;

use crate::batch_file::{BatchFile, Envelope, Item};

/// A short form of each item: `M3` a message of 3 segments, `C` cut, `L` too large, `H` `T` envelopes, `!code`.
fn items(file: &[u8], max: usize) -> String {
    // A small buffer, so that lines do not fit into it.
    let mut reader = BatchFile::new(BufReader::with_capacity(7, file), max);
    let mut found = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let segments = |raw: &[u8]| {
            let lines = raw.split(|b| matches!(b, b'\r' | b'\n'));
            lines.filter(|line| !line.is_empty()).count()
        };
        found.push(match item {
            Item::Message(raw) => format!("M{}", segments(&raw)),
            Item::Cut(raw) => format!("C{}", segments(&raw)),
            Item::TooLarge { bytes, head } => format!("L{bytes}/{}", head.len()),
            Item::Header(segment) => format!("H:{}", String::from_utf8_lossy(&segment)),
            Item::Trailer(Envelope::Batch) => "T".to_owned(),
            Item::Trailer(Envelope::File) => "TT".to_owned(),
            Item::Odd(issue) => format!("!{}", issue.code),
        });
    }
    found.join(" ")
}

/// Verifies: SRS-133, RC-133
#[test]
fn files_are_taken_apart_and_counted() {
    let m = "MSH|^~\\&|A\rPID|1\r";
    for (file, expected) in [
        (String::new(), ""),
        (m.to_owned(), "M2"),
        (m.trim_end().to_owned(), "M2"),
        (format!("{m}{m}{m}"), "M2 M2 M2"),
        (format!("{m}\r\n\r\n{m}").replace('\r', "\r\n"), "M2 M2"),
        (
            format!("FHS|^~\\&\rBHS|^~\\&\r{m}{m}BTS|2\rFTS|1\r"),
            "H:FHS|^~\\& H:BHS|^~\\& M2 M2 T TT",
        ),
        (
            format!("BHS|^~\\&\r{m}{m}BTS|3\r"),
            "H:BHS|^~\\& M2 M2 !batch-count T",
        ),
        (format!("BHS|x\r{m}BTS\r"), "H:BHS|x M2 T"),
        (
            format!("FHS|x\rBHS|x\r{m}BTS|1\rBHS|x\r{m}BTS|1\rFTS|3\r"),
            "H:FHS|x H:BHS|x M2 T H:BHS|x M2 T !batch-count TT",
        ),
        // Without its trailer the last message may have lost its end.
        (
            format!("BHS|x\r{m}{m}"),
            "H:BHS|x M2 C2 !batch-unfinished T",
        ),
        (
            format!("FHS|x\rBHS|x\r{m}BHS|x\r{m}BTS|1\r"),
            "H:FHS|x H:BHS|x M2 !batch-unfinished T H:BHS|x M2 T !batch-unfinished TT",
        ),
        (
            format!("{m}BTS|1\rFTS|1\r"),
            "M2 !batch-trailer T !batch-trailer TT",
        ),
        // What is no message is handed over too, and does not count.
        (format!("BHS|x\rsome text\r{m}BTS|1\r"), "H:BHS|x M1 M2 T"),
        ("PID|1\rPV1|1\r".to_owned(), "M2"),
        (format!("\u{FEFF}{m}{m}"), "M2 M2"),
        (format!("\u{0B}{m}\u{1C}\r\u{0B}{m}\u{1C}\r"), "M3 M3"),
    ] {
        assert_eq!(items(file.as_bytes(), 1_000), expected, "{file:?}");
    }
}

#[test]
fn raw_bytes_of_messages_are_kept() {
    let file = b"MSH|^~\\&|A\r\nOBX|1|TX|||a\nb\r\n\r\nMSH|^~\\&|B\r\n";
    let mut reader = BatchFile::new(&file[..], 1_000);
    let mut found = Vec::new();
    while let Some(Item::Message(raw)) = reader.next_item().unwrap() {
        found.push(raw);
    }
    assert_eq!(found.concat(), file);
}

#[test]
fn large_messages_are_left_out_and_the_others_are_not() {
    let m = "MSH|^~\\&|A\rPID|1\r";
    let big = format!("MSH|^~\\&|A\rOBX|{}\rOBX|2\r", "x".repeat(20_000));
    let file = format!("{m}{big}{m}");
    assert_eq!(
        items(file.as_bytes(), 1_000),
        format!("M2 L{}/4096 M2", big.len())
    );
    let one_line = format!("MSH|{}", "y".repeat(300_000));
    assert_eq!(items(one_line.as_bytes(), 1_000), "L300004/4096");
}

#[test]
fn utf_16_is_one_message() {
    let file: Vec<u8> = "\u{FEFF}MSH|^~\\&|A\rMSH|\r"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut reader = BatchFile::new(&file[..], 1_000);
    assert_eq!(
        reader.next_item().unwrap(),
        Some(Item::Message(file.clone().into()))
    );
    assert_eq!(reader.next_item().unwrap(), None);
}
