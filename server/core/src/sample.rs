//! Samples of dense series as Observations: the id that says channel and instant, and the text around a sample.
//!
//! R4 Observation: <https://hl7.org/fhir/R4/observation.html>. All Observations of a series share their text but for id,
//! `meta.lastUpdated`, `effectiveDateTime` and `valueQuantity.value`; a template is that text with four gaps.
//!
//! Left out on purpose: storage, and any other shape. What does not fit a template is an ordinary resource.

use crate::body::Body;
use crate::datatype::date::MICROS_PER_SECOND;
use crate::ids::{Instant, ResourceId, VersionId, civil_from_days};
use crate::json::{Document, Number, Value};

/// Characters of a channel's name.
pub const CHANNEL_CHARS: usize = 32;
/// Digits behind the point a sample may have; instruments have few.
pub const SCALE_MAX: u8 = 15;
/// Largest digits of a sample, as a whole number.
pub const MANTISSA_MAX: i64 = 1 << 56;
/// Every sample has this version: what has another one is an ordinary resource.
pub const VERSION: VersionId = VersionId(1);

const ID_MARK: &str = "stoker-sample-id";
const TIME_MARK: &str = "stoker-sample-time";
const VALUE_MARK: &str = "987654321987654321";
const UPDATED_MARK: Instant = Instant(4_133_980_799_123_457);
/// Between the pieces of a stored template: JSON text never has this character as it is.
const GAP: char = '\u{1f}';

/// The id of a sample: `s`, the channel, `-`, the instant in hexadecimal.
pub fn id_text(channel: &str, at_us: i64) -> String {
    format!("s{channel}-{:016x}", at_us.cast_unsigned())
}

/// Channel and instant of a sample's id; `None` for any other id.
pub fn parse_id(id: &str) -> Option<(&str, i64)> {
    let (channel, instant) = id.strip_prefix('s')?.split_once('-')?;
    let is_hex = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if channel.len() != CHANNEL_CHARS || instant.len() != 16 || !is_hex(channel) || !is_hex(instant)
    {
        return None;
    }
    Some((
        channel,
        u64::from_str_radix(instant, 16).ok()?.cast_signed(),
    ))
}

/// How a sample's instant is written: the offset of the clock it was told by and the digits of its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Minutes east of UTC.
    pub offset_minutes: i16,
    /// Digits of the second's fraction, 0 to 6.
    pub digits: u8,
    /// Whether an offset of zero is written `Z`.
    pub is_zulu: bool,
}

impl Shown {
    /// As one small number.
    pub fn pack(self) -> i64 {
        i64::from(self.offset_minutes) * 16 + i64::from(self.digits) * 2 + i64::from(self.is_zulu)
    }

    /// Out of that number; `None` when it cannot be one.
    pub fn unpack(number: i64) -> Option<Self> {
        let rest = number.rem_euclid(16);
        let digits = u8::try_from(rest / 2).ok().filter(|digits| *digits <= 6)?;
        Some(Self {
            offset_minutes: i16::try_from(number.div_euclid(16)).ok()?,
            digits,
            is_zulu: rest % 2 == 1,
        })
    }

    /// The FHIR dateTime of an instant.
    pub fn text(self, at_us: i64) -> String {
        let local = at_us.saturating_add(i64::from(self.offset_minutes) * 60 * MICROS_PER_SECOND);
        let day_us = 86_400 * MICROS_PER_SECOND;
        let (year, month, day) = civil_from_days(local.div_euclid(day_us));
        let micros = local.rem_euclid(day_us);
        let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if self.digits > 0 {
            let digits = format!("{fraction:06}");
            out.push('.');
            out.push_str(digits.get(..usize::from(self.digits)).unwrap_or(&digits));
        }
        if self.is_zulu && self.offset_minutes == 0 {
            out.push('Z');
        } else {
            let sign = if self.offset_minutes < 0 { '-' } else { '+' };
            let minutes = self.offset_minutes.unsigned_abs();
            out.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
        }
        out
    }

    /// The moments the text stands for, half-open.
    pub fn range(self, at_us: i64) -> (i64, i64) {
        let width = MICROS_PER_SECOND / 10_i64.pow(u32::from(self.digits.min(6)));
        (at_us, at_us.saturating_add(width))
    }
}

/// A decimal with its digits: `mantissa` × 10^-`scale`, written with exactly `scale` digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleValue {
    /// All digits as a whole number.
    pub mantissa: i64,
    /// Digits behind the point.
    pub scale: u8,
}

impl SampleValue {
    /// A value, when it is small enough to be kept narrow.
    pub fn new(mantissa: i128, scale: u32) -> Option<Self> {
        let mantissa = i64::try_from(mantissa).ok()?;
        let scale = u8::try_from(scale).ok()?;
        (mantissa.unsigned_abs() < MANTISSA_MAX.unsigned_abs() && scale <= SCALE_MAX)
            .then_some(Self { mantissa, scale })
    }

    /// As one number; small values give small numbers.
    pub fn pack(self) -> i64 {
        self.mantissa * 16 + i64::from(self.scale)
    }

    /// Out of that number.
    pub fn unpack(number: i64) -> Self {
        Self {
            mantissa: number.div_euclid(16),
            scale: u8::try_from(number.rem_euclid(16)).unwrap_or(0),
        }
    }

    /// The JSON number.
    pub fn text(self) -> String {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let scale = usize::from(self.scale);
        let digits = self.mantissa.unsigned_abs().to_string();
        if scale == 0 {
            return format!("{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        match digits.split_at_checked(digits.len() - scale) {
            Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
            None => format!("{sign}{digits}"),
        }
    }

    /// Whether two values are the same number, whatever their digits.
    pub fn is_equal(self, other: Self) -> bool {
        let at = |value: Self, scale: u8| {
            i128::from(value.mantissa) * 10_i128.pow(u32::from(scale - value.scale))
        };
        let scale = self.scale.max(other.scale);
        at(self, scale) == at(other, scale)
    }
}

/// The text all Observations of a series share, in five pieces around id, time of storage, instant and value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    pieces: [String; 5],
}

impl Template {
    /// The template of an Observation with `effectiveDateTime` and `valueQuantity.value`; `None` for other shapes.
    pub fn of(observation: &Value) -> Option<Self> {
        let mut value = observation.clone();
        let map = value.as_object_mut()?;
        map.get("effectiveDateTime")?;
        map.insert("effectiveDateTime", Value::from(TIME_MARK));
        let quantity = map.get_mut("valueQuantity")?.as_object_mut()?;
        quantity.get("value")?;
        quantity.insert("value", Value::Number(Number::parse(VALUE_MARK)?));
        let document = Document::parse(&value.to_bytes()).ok()?;
        let body = Body::new(document.root(), &ResourceId::parse(ID_MARK)?);
        let text = String::from_utf8(body.to_bytes(VERSION, UPDATED_MARK)).ok()?;
        if text.contains(GAP) {
            return None;
        }
        let mut rest = text.as_str();
        let mut pieces: [String; 5] = Default::default();
        let updated = UPDATED_MARK.to_fhir();
        let marks = [ID_MARK, updated.as_str(), TIME_MARK, VALUE_MARK];
        let [a, b, c, d, last] = &mut pieces;
        for (piece, mark) in [a, b, c, d].into_iter().zip(marks) {
            let (before, after) = rest.split_once(mark)?;
            *piece = before.to_owned();
            rest = after;
        }
        *last = rest.to_owned();
        let is_once = marks.iter().all(|mark| text.matches(mark).count() == 1);
        is_once.then_some(Self { pieces })
    }

    /// The text to store.
    pub fn to_text(&self) -> String {
        self.pieces.join("\u{1f}")
    }

    /// Out of the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        let pieces: Vec<String> = text.split(GAP).map(str::to_owned).collect();
        Some(Self {
            pieces: pieces.try_into().ok()?,
        })
    }

    /// The Observation of a sample.
    pub fn render(
        &self,
        id: &str,
        updated: Instant,
        (at_us, shown): (i64, Shown),
        value: SampleValue,
    ) -> Vec<u8> {
        let [before, to_updated, to_time, to_value, end] = &self.pieces;
        let fixed: usize = self.pieces.iter().map(String::len).sum();
        let mut out = Vec::with_capacity(fixed + 128);
        for text in [
            before,
            id,
            to_updated,
            &updated.to_fhir(),
            to_time,
            &shown.text(at_us),
            to_value,
            &value.text(),
            end,
        ] {
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn ids_say_channel_and_instant() {
        for at in [0, 1, -1, 1_772_355_600_000_001, i64::MIN] {
            let id = id_text(CHANNEL, at);
            assert!(ResourceId::parse(&id).is_some());
            assert_eq!(parse_id(&id), Some((CHANNEL, at)));
        }
        for other in [
            "",
            "s",
            "s-1",
            "0b9c5c1e-7f3a-8a51-9f3e-000000000000",
            &id_text(CHANNEL, 7).to_uppercase(),
            &format!("s{CHANNEL}-7"),
        ] {
            assert_eq!(parse_id(other), None, "{other}");
        }
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn values_and_times_keep_their_digits() {
        for text in ["0", "61", "61.50", "-0.5", "0.000", "98.0"] {
            let digits: String = text.chars().filter(|c| *c != '.').collect();
            let scale = text.split_once('.').map_or(0, |(_, f)| f.len());
            let value = SampleValue::new(digits.parse().unwrap(), scale as u32).unwrap();
            assert_eq!(SampleValue::unpack(value.pack()).text(), text);
        }
        assert_eq!(SampleValue::new(1 << 56, 0), None);
        assert_eq!(SampleValue::new(1, 16), None);
        let at = 1_772_355_600_500_000;
        for (offset_minutes, digits, is_zulu, expected) in [
            (0, 1, true, "2026-03-01T09:00:00.5Z"),
            (0, 3, false, "2026-03-01T09:00:00.500+00:00"),
            (60, 6, true, "2026-03-01T10:00:00.500000+01:00"),
            (-570, 1, false, "2026-02-28T23:30:00.5-09:30"),
        ] {
            let shown = Shown {
                offset_minutes,
                digits,
                is_zulu,
            };
            assert_eq!(Shown::unpack(shown.pack()), Some(shown));
            assert_eq!(shown.text(at), expected);
        }
    }

    #[test]
    fn equal_numbers_are_equal_with_other_digits() {
        let value = |mantissa, scale| SampleValue { mantissa, scale };
        assert!(value(61, 0).is_equal(value(6100, 2)));
        assert!(!value(61, 0).is_equal(value(611, 1)));
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn a_rendered_sample_is_the_observation_it_came_from() {
        let text = br#"{"resourceType":"Observation","id":"x","meta":{"profile":["p"]},"status":"final","effectiveDateTime":"2026-03-01T10:00:00+01:00","valueQuantity":{"value":61.50,"code":"/min"},"note":[{"text":"a"}]}"#;
        let document = Document::parse(text).unwrap();
        let value = document.root().to_value();
        let template = Template::parse(&Template::of(&value).unwrap().to_text()).unwrap();
        let shown = Shown {
            offset_minutes: 60,
            digits: 0,
            is_zulu: false,
        };
        let sample = SampleValue {
            mantissa: 6150,
            scale: 2,
        };
        let rendered = template.render("x", Instant(5), (1_772_355_600_000_000, shown), sample);
        let body = Body::new(document.root(), &ResourceId::parse("x").unwrap());
        assert_eq!(rendered, body.to_bytes(VERSION, Instant(5)));
    }

    #[test]
    fn other_shapes_have_no_template() {
        for text in [
            r#"{"resourceType":"Observation","effectiveDateTime":"2026"}"#,
            r#"{"resourceType":"Observation","valueQuantity":{"value":1}}"#,
            r#"{"resourceType":"Observation","effectiveDateTime":"2026","valueQuantity":{"value":1},"note":"987654321987654321"}"#,
        ] {
            let value = Value::parse(text.as_bytes()).unwrap();
            assert_eq!(Template::of(&value), None, "{text}");
        }
    }
}
