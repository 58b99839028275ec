//! Hostile input: random changes to synthetic messages. No panic, no hang, nothing dropped without a word.

use super::support::{Random, adt, oru, pipeline, with_message};
use crate::hl7v2::batch::split;
use crate::hl7v2::guard::second_opinion;
use crate::mllp::{Deframer, Event, frame};
use crate::port::Disposition;

/// Bytes that mean something to some step.
const SPICE: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\r",
    b"|",
    b"^",
    b"~",
    b"\\",
    b"&",
    b"#",
    b"\"\"",
    b"\\X",
    b"\\.br\\",
    b"MSH|^~\\&|",
    b"MSH",
    b"PID|",
    b"OBX|",
    b"NTE|",
    b"\x0B",
    b"\x1C",
    b"\x1C\r",
    b"\0",
    b"\xFF",
    b"\xC3\xA9",
    b"\xC3",
    b"\x1B$B",
    b"\xEF\xBB\xBF",
    b"\xFF\xFE",
    b"8859/1",
    b"UNICODE UTF-16",
    b"GB 18030-2000",
    b"ISO IR87",
    b"\rZ1|",
    b"\rpid|",
    b" ",
    b"FHS|",
    b"BTS|9",
    b"\\T\\",
    b"\xE6\x97\xA5",
];

fn mutate(random: &mut Random, raw: &mut Vec<u8>) {
    for _ in 0..=random.below(6) {
        let at = random.below(raw.len() + 1);
        match random.below(6) {
            0 if at < raw.len() => {
                raw.remove(at);
            }
            1 if at < raw.len() => raw[at] = u8::try_from(random.below(256)).unwrap(),
            2 => raw.truncate(at),
            3 => {
                let end = (at + random.below(40)).min(raw.len());
                let copy = raw[at..end].to_vec();
                raw.splice(at..at, copy);
            }
            4 if at < raw.len() => raw.swap(at, 0),
            _ => {
                let spice = SPICE[random.below(SPICE.len())];
                raw.splice(at..at, spice.iter().copied());
            }
        }
    }
}

/// Of a message that is taken apart, every byte of the text is identifier, leaf, delimiter, line end, blank or local.
fn nothing_is_dropped(raw: &[u8]) {
    let read = with_message(raw, |message, _, _| {
        let mut covered = vec![false; message.text.len()];
        let ids = message
            .segments
            .iter()
            .map(|s| s.span.start..s.span.start + 3);
        let leaves = message.leaves.iter().map(|l| l.span.clone());
        for span in ids.chain(leaves).chain(message.local.iter().cloned()) {
            covered[span.start as usize..span.end as usize].fill(true);
        }
        let d = message.delimiters;
        let delimiters = [
            Some(d.field),
            Some(d.component),
            d.repetition,
            d.subcomponent,
        ];
        for (at, c) in message.text.char_indices() {
            let is_delimiter = delimiters.iter().flatten().any(|d| char::from(*d) == c);
            let is_blank = matches!(
                c,
                '\r' | '\n' | ' ' | '\t' | '\0' | '\u{0B}' | '\u{1C}' | '\u{FEFF}'
            );
            assert!(
                covered[at] || is_delimiter || is_blank,
                "byte {at} is dropped in {raw:?}"
            );
        }
        assert_eq!(second_opinion(message), Ok(()), "{raw:?}");
    });
    if let Err(issue) = read {
        assert!(!issue.code.is_empty());
    }
}

/// Verifies: SRS-025, RC-019
#[test]
fn mutated_messages_are_read_or_refused() {
    let pipeline = pipeline();
    let mut random = Random::new(20_240_310);
    let (mut processed, mut refused) = (0, 0);
    for round in 0..6_000 {
        let mut raw = if round % 2 == 0 {
            adt("M1", "4711")
        } else {
            oru("M2", "4711", "2.50")
        };
        mutate(&mut random, &mut raw);
        nothing_is_dropped(&raw);
        let intake = pipeline.read(raw.clone().into()).intake;
        assert_eq!(intake.raw, raw);
        match intake.disposition {
            Disposition::Process => processed += 1,
            Disposition::Refuse { .. } => {
                refused += 1;
                assert!(intake.resources.is_empty());
            }
        }
        let batch = split(&raw);
        assert!(
            batch
                .messages
                .windows(2)
                .all(|pair| pair[0].end <= pair[1].start)
        );
    }
    assert!(
        processed > 500 && refused > 500,
        "{processed} processed, {refused} refused: the mix is too easy or too hard"
    );
}

/// Verifies: SRS-025, RC-019
#[test]
fn noise_is_refused() {
    let pipeline = pipeline();
    let mut random = Random::new(7);
    for _ in 0..2_000 {
        let length = random.below(300);
        let raw: Vec<u8> = (0..length)
            .map(|_| u8::try_from(random.below(256)).unwrap())
            .collect();
        nothing_is_dropped(&raw);
        assert!(matches!(
            pipeline.read(raw.into()).intake.disposition,
            Disposition::Refuse { .. }
        ));
    }
}

/// Whatever garbage stands between, whole frames come out whole and in order.
#[test]
fn frames_survive_noise_in_any_pieces() {
    let mut random = Random::new(11);
    for _ in 0..300 {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for n in 0..random.below(6) {
            stream.extend((0..random.below(20)).map(|_| b"xyz\r\n\x1C"[random.below(6)]));
            let content = format!("MSH|{n}|{}\r", "x".repeat(random.below(200))).into_bytes();
            stream.extend_from_slice(&frame(&content));
            expected.push(content);
        }
        let mut deframer = Deframer::new(1_000);
        let mut found = Vec::new();
        let mut at = 0;
        while at < stream.len() {
            let end = (at + 1 + random.below(50)).min(stream.len());
            deframer.buffer().extend_from_slice(&stream[at..end]);
            at = end;
            while let Some(event) = deframer.next_event() {
                if let Event::Frame(content) = event {
                    found.push(content.to_vec());
                }
            }
        }
        assert_eq!(found, expected);
    }
}

/// A message of many short segments takes no more than linear time: this test would take minutes otherwise.
#[test]
fn many_segments_take_linear_time() {
    let mut raw = b"MSH|^~\\&|A|B|C|D|2024||ORU^R01|1|P|2.5\rPID|1||7^^^A&1.2&ISO\r".to_vec();
    for n in 0..40_000 {
        raw.extend_from_slice(
            format!(
                "Z{}{}|{n}\r",
                char::from(b'A' + (n % 26) as u8),
                n / 26 % 10
            )
            .as_bytes(),
        );
    }
    let intake = pipeline().read(raw.into()).intake;
    assert_eq!(intake.disposition, Disposition::Process);
    assert!(intake.unread_count >= 40_000);
}
