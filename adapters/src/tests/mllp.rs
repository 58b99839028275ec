//! Framing: `<VT> message <FS><CR>` at every way to cut it.

use crate::mllp::{Deframer, Event, frame};

fn events(chunks: &[&[u8]], max: usize) -> (Vec<Event>, usize) {
    let mut deframer = Deframer::new(max);
    let mut found = Vec::new();
    for chunk in chunks {
        deframer.buffer().extend_from_slice(chunk);
        found.extend(std::iter::from_fn(|| deframer.next_event()));
    }
    (found, deframer.unfinished())
}

fn whole(content: &[u8]) -> Event {
    Event::Frame(content.to_vec().into())
}

/// Verifies: SRS-004, RC-012
#[test]
fn frames_cut_at_every_two_places() {
    let mut stream = frame(b"MSH|one\x1Cstill one\rPID|1\r");
    stream.extend_from_slice(&frame(b""));
    stream.extend_from_slice(&frame(b"MSH|two\r"));
    let expected = [
        whole(b"MSH|one\x1Cstill one\rPID|1\r"),
        whole(b""),
        whole(b"MSH|two\r"),
    ];
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let chunks = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(
                events(&chunks, 1000),
                (expected.to_vec(), 0),
                "cut at {first} and {second}"
            );
        }
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(events(&single, 1000).0, expected);
}

#[test]
fn garbage_between_frames_is_counted() {
    let stream = [
        b"junk\r\n".as_slice(),
        &frame(b"A"),
        b"\r\n\r\n",
        &frame(b"B"),
        b"\x1C\rmore",
    ]
    .concat();
    let (found, unfinished) = events(&[&stream], 100);
    assert_eq!(
        found,
        [
            Event::Garbage { bytes: 4 },
            whole(b"A"),
            whole(b"B"),
            Event::Garbage { bytes: 5 }
        ]
    );
    assert_eq!(unfinished, 0);
}

#[test]
fn half_frames_are_counted() {
    assert_eq!(events(&[b"\x0BMSH|half"], 100), (vec![], 9));
    assert_eq!(events(&[b"\x0BMSH|half\x1C"], 100), (vec![], 10));
    assert_eq!(events(&[b"\x0BMSH|half\x1Cx"], 100), (vec![], 11));
}

/// A sender that gives up and begins again on the same connection.
#[test]
fn a_frame_cut_by_the_next_is_reported() {
    let stream = [
        b"\x0BMSH|half".as_slice(),
        &frame(b"MSH|whole\r"),
        &frame(b"MSH|next\r"),
    ]
    .concat();
    let (found, unfinished) = events(&[&stream], 100);
    assert_eq!(
        found,
        [
            Event::Cut { bytes: 9 },
            whole(b"MSH|whole\r"),
            whole(b"MSH|next\r")
        ]
    );
    assert_eq!(unfinished, 0);
}

#[test]
fn large_frames_are_left_out_whole() {
    let content = [b"MSH|".as_slice(), &[b'x'; 50_000]].concat();
    let stream = [frame(&content), frame(b"next")].concat();
    for size in [1, 7, 1000, stream.len()] {
        let chunks: Vec<&[u8]> = stream.chunks(size).collect();
        let (found, unfinished) = events(&chunks, 10_000);
        match found.as_slice() {
            [Event::TooLarge { bytes, head }, next] => {
                assert_eq!(*bytes, content.len(), "in pieces of {size}");
                assert!(head.starts_with(b"MSH|xxx") && head.len() <= 10_001);
                assert_eq!(*next, whole(b"next"));
            }
            other => panic!("in pieces of {size}: {} events", other.len()),
        }
        assert_eq!(unfinished, 0);
    }
    assert_eq!(events(&[&frame(&[b'x'; 100])], 100).0.len(), 1);
    assert_eq!(
        events(&[&frame(&[b'x'; 100])], 100).0,
        [whole(&[b'x'; 100])]
    );
}
