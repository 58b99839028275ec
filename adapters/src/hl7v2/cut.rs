//! Tells a message that was cut off inside its last result from one that merely ends without a segment end.
//!
//! HL7 v2 chapter 2: each segment ends with CR; chapter 7: OBX-11 is required. Many senders leave out the last CR, and
//! some never send OBX-11; a sender that gives it in every result but the last one, and ends there without CR, was cut:
//! the last value may lack its last digits.

use super::tokenize::{Message, Segment};
use crate::issue::{Issue, Severity};

/// The field with the state of a result.
const STATE: u32 = 11;

/// The reason to refuse a message that was cut off, if it was.
pub fn cut(raw: &[u8], message: &Message<'_>) -> Option<Issue> {
    if matches!(raw.last(), None | Some(b'\r' | b'\n')) {
        return None;
    }
    let last = message.segments.last()?;
    let is_result = |segment: &Segment| segment.id.as_str() == "OBX";
    let has_state = |segment: &Segment| is_result(segment) && segment.fields >= STATE;
    let is_cut = is_result(last) && last.fields < STATE && message.segments.iter().any(has_state);
    is_cut.then(|| {
        let text = "the message ends inside its last OBX: no segment end and no OBX-11, which its other results have; \
                    send it again whole";
        Issue::new(Severity::Error, "message-cut", text)
    })
}
