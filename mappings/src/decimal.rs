//! Decimal texts: HL7 v2 NM to FHIR decimal, comparison and powers of ten, digit by digit and without floating point.
//!
//! FHIR: <https://hl7.org/fhir/R4/datatypes.html#decimal> (precision is kept); HL7 v2: chapter 2A.3.47 NM, "an optional
//! leading sign (+ or -), the digits and an optional decimal point".
//!
//! Left out on purpose: exponents in HL7 v2 (NM has none) and arithmetic that would have to round.

use std::cmp::Ordering;

/// Longest number taken, in characters. FHIR asks for 18 digits; instruments send under 30.
const NUMBER_CHARS_MAX: usize = 100;
/// Largest power of ten for [`scale`], either way.
const POWER_MAX: i32 = 50;

/// The FHIR spelling of an NM: sign, no superfluous leading zeros or plus, every digit after the point kept.
/// `None` when the text is no number.
pub(crate) fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    if text.len() > NUMBER_CHARS_MAX {
        return None;
    }
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let fraction = fraction.filter(|f| !f.is_empty());
    if !all_digits(whole)
        || !fraction.is_none_or(all_digits)
        || (whole.is_empty() && fraction.is_none())
    {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let mut out = String::with_capacity(text.len() + 2);
    if negative {
        out.push('-');
    }
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    Some(out)
}

/// A whole number within bounds.
pub(crate) fn integer(text: &str, least: i64, most: i64) -> Option<i64> {
    let decimal = parse(text)?;
    let whole = match decimal.split_once('.') {
        None => decimal.as_str(),
        Some(_) => return None,
    };
    whole.parse().ok().filter(|n| (least..=most).contains(n))
}

/// `<0.2` as its comparator and number. FHIR comparators: <https://hl7.org/fhir/R4/valueset-quantity-comparator.html>.
pub(crate) fn comparison(text: &str) -> Option<(&'static str, String)> {
    let text = text.trim();
    let (comparator, rest) = ["<=", ">=", "<", ">"]
        .into_iter()
        .find_map(|c| Some((c, text.strip_prefix(c)?)))?;
    Some((comparator, parse(rest)?))
}

/// A reference range that can mean one thing only: `3.5-5.1`, `3.5 - 5.1`, `-2.0 - 3.0`, `>=60`, `<=5`.
///
/// `<5` and `>60` stay text: FHIR's low and high are inclusive and have no comparator.
pub(crate) fn range(text: &str) -> Option<(Option<String>, Option<String>)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix(">=") {
        return Some((Some(parse(rest)?), None));
    }
    if let Some(rest) = text.strip_prefix("<=") {
        return Some((None, Some(parse(rest)?)));
    }
    let (low, high) = match text.split_once(" - ") {
        Some(pair) => pair,
        None => text
            .split_once('-')
            .filter(|(low, high)| !low.is_empty() && !high.starts_with(['-', '+']))?,
    };
    let (low, high) = (parse(low)?, parse(high)?);
    (compare(&low, &high)? != Ordering::Greater).then_some((Some(low), Some(high)))
}

/// Compares two texts that [`parse`] gave.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let split = |text: &str| -> Option<(bool, String, String)> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = fraction.trim_end_matches('0');
        let zero = whole == "0" && fraction.is_empty();
        Some((negative && !zero, whole.to_owned(), fraction.to_owned()))
    };
    let (a, b) = (split(a)?, split(b)?);
    let size =
        a.1.len()
            .cmp(&b.1.len())
            .then_with(|| a.1.cmp(&b.1))
            .then_with(|| a.2.cmp(&b.2));
    Some(match (a.0, b.0) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => size,
        (true, true) => size.reverse(),
    })
}

/// The number times ten to a power, exactly: the point moves, the digits stay. Device payloads send value and exponent.
pub(crate) fn scale(text: &str, power: i32) -> Option<String> {
    let decimal = parse(text)?;
    if power.abs() > POWER_MAX {
        return None;
    }
    let (sign, digits) = decimal
        .strip_prefix('-')
        .map_or(("", decimal.as_str()), |d| ("-", d));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut all = format!("{whole}{fraction}");
    let places = i32::try_from(fraction.len()).ok()? - power;
    let places = match usize::try_from(places) {
        Ok(places) => places,
        Err(_) => {
            all.extend(std::iter::repeat_n('0', places.unsigned_abs() as usize));
            0
        }
    };
    let padding = (places + 1).saturating_sub(all.len());
    all.insert_str(0, &"0".repeat(padding));
    let (whole, fraction) = all.split_at_checked(all.len() - places)?;
    parse(&if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies: every digit after the point survives.
    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("2.50", "2.50"),
            ("0", "0"),
            ("-0.0", "-0.0"),
            ("+7", "7"),
            ("007.10", "7.10"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            (" 5.4 ", "5.4"),
            (
                "1234567890123456789012345678",
                "1234567890123456789012345678",
            ),
            (
                "0.1234567890123456789012345678",
                "0.1234567890123456789012345678",
            ),
        ] {
            assert_eq!(parse(text).as_deref(), Some(expected), "{text}");
        }
        let long = "9".repeat(101);
        for text in [
            "", "-", ".", "+", "1e3", "1,5", "1 000", "<5", "5 mg", "--1", "1.2.3", "NaN", "５",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn comparisons() {
        assert_eq!(comparison("<0.20"), Some(("<", "0.20".into())));
        assert_eq!(comparison(">= 5"), Some((">=", "5".into())));
        for text in ["5", "<", "<>5", "=5", "<5 mg", "≥5"] {
            assert_eq!(comparison(text), None, "{text}");
        }
    }

    #[test]
    fn ranges_only_when_certain() {
        let pair = |l: &str, h: &str| Some((Some(l.to_owned()), Some(h.to_owned())));
        for (text, expected) in [
            ("3.5-5.1", pair("3.5", "5.1")),
            ("3.50 - 5.10", pair("3.50", "5.10")),
            ("-2.0 - 3.0", pair("-2.0", "3.0")),
            ("0-0", pair("0", "0")),
            (">=60", Some((Some("60".into()), None))),
            ("<=5", Some((None, Some("5".into())))),
            ("<5", None),
            (">60", None),
            ("5.1-3.5", None),
            ("-2--1", None),
            ("-5", None),
            ("3.5-5.1 mmol/L", None),
            ("negative", None),
            ("10-12-14", None),
            ("", None),
        ] {
            assert_eq!(range(text), expected, "{text}");
        }
    }

    #[test]
    fn scaling_moves_the_point() {
        for (text, power, expected) in [
            ("6550", -2, "65.50"),
            ("65", 0, "65"),
            ("65", 3, "65000"),
            ("5", -3, "0.005"),
            ("-1.20", 1, "-12.0"),
        ] {
            assert_eq!(scale(text, power).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(scale("1", 99), None);
    }
}
