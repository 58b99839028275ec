//! Decimals: text, order, keys, precision, arithmetic.

use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).expect(text)
}

fn key(text: &str) -> SortKey {
    SortKey::from_decimal(&decimal(text))
}

/// In ascending order, each a different value.
const ASCENDING: &[&str] = &[
    "-1e10000",
    "-1e59",
    "-1e58",
    "-123456789012345678901234567890.5",
    "-123456789012345678901234567890",
    "-101",
    "-100.5",
    "-100",
    "-99.999",
    "-10",
    "-9.5",
    "-2.51",
    "-2.5",
    "-2.49",
    "-2",
    "-1.1",
    "-1.01",
    "-1",
    "-0.1",
    "-0.05",
    "-1e-57",
    "-1e-59",
    "-1e-60",
    "-1e-10000",
    "0",
    "1e-10000",
    "1e-60",
    "1e-59",
    "1e-57",
    "0.05",
    "0.1",
    "0.10001",
    "0.9",
    "1",
    "1.01",
    "1.1",
    "2",
    "2.49",
    "2.5",
    "2.51",
    "9.5",
    "10",
    "99.999",
    "100",
    "100.5",
    "101",
    "123456789012345678901234567890",
    "123456789012345678901234567890.5",
    "1e57",
    "1e58",
    "1e59",
    "9e9999",
    "1e10000",
];

/// Spec: <https://hl7.org/fhir/R4/datatypes.html#decimal>
#[test]
fn text_follows_the_regex() {
    for text in [
        "0", "-0", "0.0", "1", "10", "-1.50", "1e2", "1E+2", "1.5e-10", "0e0",
    ] {
        assert!(Decimal::parse(text).is_ok(), "{text}");
    }
    for text in [
        "", "-", "+1", "01", "1.", ".5", "1e", "e1", "1e+", "1 ", " 1", "1_0", "NaN", "1.2.3", "١",
        "--1", "1e--1",
    ] {
        assert_eq!(
            Decimal::parse(text),
            Err(DecimalError::NotADecimal),
            "{text}"
        );
    }
    assert_eq!(
        Decimal::parse(&"1".repeat(1_001)),
        Err(DecimalError::TooManyDigits)
    );
    assert!(Decimal::parse(&"1".repeat(1_000)).is_ok());
    for text in ["1e10001", "1e-10001", "1e99999999999"] {
        assert_eq!(
            Decimal::parse(text),
            Err(DecimalError::ExponentTooLarge),
            "{text}"
        );
    }
}

/// Verifies: SRS-001, RC-001
#[test]
fn keys_sort_like_the_numbers() {
    for (i, a) in ASCENDING.iter().enumerate() {
        for (j, b) in ASCENDING.iter().enumerate() {
            assert_eq!(decimal(a).cmp(&decimal(b)), i.cmp(&j), "{a} {b}");
            assert_eq!(key(a).cmp(&key(b)), i.cmp(&j), "keys of {a} {b}");
            assert_eq!(
                key(a).as_bytes().cmp(key(b).as_bytes()),
                i.cmp(&j),
                "bytes of {a} {b}"
            );
        }
        assert!(SortKey::min() < key(a) && key(a) < SortKey::max(), "{a}");
        assert_eq!(key(a).to_decimal(), Some(decimal(a)), "{a}");
    }
}

#[test]
fn keys_of_a_dense_grid_sort_like_the_numbers() {
    let grid: Vec<Decimal> = (-3_000i64..3_000)
        .map(|n| Decimal::from(n).checked_mul(&decimal("0.01")).unwrap())
        .collect();
    for pair in grid.windows(2) {
        assert!(pair[0] < pair[1]);
        assert!(
            SortKey::from_decimal(&pair[0]) < SortKey::from_decimal(&pair[1]),
            "{} {}",
            pair[0],
            pair[1]
        );
    }
}

#[test]
fn equal_values_have_equal_short_keys() {
    for (a, b) in [
        ("2.5", "2.50"),
        ("2.5", "25e-1"),
        ("100", "1e2"),
        ("0", "-0.000"),
        ("0.001", "1E-3"),
        ("-7", "-7.0"),
    ] {
        assert_eq!(key(a), key(b), "{a} {b}");
        assert_eq!(decimal(a), decimal(b));
    }
    for (text, bytes) in [
        ("2.5", 2),
        ("0", 1),
        ("120", 2),
        ("-2.5", 3),
        ("98.6", 3),
        ("1234.56", 4),
    ] {
        assert_eq!(key(text).as_bytes().len(), bytes, "{text}");
    }
    assert_eq!(SortKey::min().to_decimal(), None);
    assert_eq!(SortKey::max().to_decimal(), None);
}

/// "100: values that equal 100, to 3 significant figures precision, so this is actually searching for values in the
/// range [99.5 ... 100.5)". Spec: <https://hl7.org/fhir/R4/search.html#number>
#[test]
fn precision_is_implied_by_the_digits() {
    for (text, low, high) in [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1.00", "0.995", "1.005"),
        ("1e2", "95", "105"),
        ("5.4e-3", "0.00535", "0.00545"),
        ("5.4", "5.35", "5.45"),
        ("5.40", "5.395", "5.405"),
        ("0", "-0.5", "0.5"),
        ("-3", "-3.5", "-2.5"),
        ("2", "1.5", "2.5"),
    ] {
        assert_eq!(
            decimal(text).implicit_range(),
            (decimal(low), decimal(high)),
            "{text}"
        );
    }
}

/// "the recommended value for the approximation is 10% of the stated value".
/// Spec: <https://hl7.org/fhir/R4/search.html#prefix>
#[test]
fn approximate_is_ten_percent() {
    for (text, low, high) in [
        ("100", "90", "110"),
        ("-100", "-110", "-90"),
        ("0", "-0.5", "0.5"),
        ("1", "0.5", "1.5"),
        ("5.40", "4.86", "5.94"),
    ] {
        assert_eq!(
            decimal(text).approximate_range(),
            (decimal(low), decimal(high)),
            "{text}"
        );
    }
}

#[test]
fn sums_and_products_are_exact() {
    for (a, b, sum, difference, product) in [
        ("0.1", "0.2", "0.3", "-0.1", "0.02"),
        ("1", "-1", "0", "2", "-1"),
        ("99.9", "0.1", "100", "99.8", "9.99"),
        ("-5", "3", "-2", "-8", "-15"),
        ("0", "7", "7", "-7", "0"),
        (
            "1e20",
            "1e-20",
            "100000000000000000000.00000000000000000001",
            "99999999999999999999.99999999999999999999",
            "1",
        ),
        (
            "123456789.123456789",
            "987654321.987654321",
            "1111111111.11111111",
            "-864197532.864197532",
            "121932631356500531.347203169112635269",
        ),
    ] {
        assert_eq!(
            decimal(a).checked_add(&decimal(b)),
            Some(decimal(sum)),
            "{a}+{b}"
        );
        assert_eq!(
            decimal(a).checked_sub(&decimal(b)),
            Some(decimal(difference)),
            "{a}-{b}"
        );
        assert_eq!(
            decimal(a).checked_mul(&decimal(b)),
            Some(decimal(product)),
            "{a}*{b}"
        );
    }
    assert_eq!(decimal("1e10000").checked_add(&decimal("1e-10000")), None);
}

#[test]
fn text_comes_back_readable() {
    for (text, shown) in [
        ("2.50", "2.50"),
        ("-0.0", "0.0"),
        ("1e3", "1000"),
        ("1.0e3", "1000"),
        ("0.050", "0.050"),
        ("0.00", "0.00"),
        ("1e-3", "0.001"),
        ("12e-1", "1.2"),
        ("1e100", "1e100"),
        ("-1.5e-100", "-15e-101"),
    ] {
        assert_eq!(decimal(text).to_string(), shown);
        assert_eq!(decimal(&decimal(text).to_string()), decimal(text));
    }
}

#[test]
fn scaled_integers_round_half_away() {
    for (text, places, scaled) in [
        ("52.5200066", 7, Some(525_200_066)),
        ("-0.00000005", 7, Some(-1)),
        ("-0.00000004", 7, Some(0)),
        ("0.000000005", 7, Some(0)),
        ("180", 7, Some(1_800_000_000)),
        ("1e3", 0, Some(1_000)),
        ("0", 7, Some(0)),
        ("1e30", 7, None),
    ] {
        assert_eq!(decimal(text).to_scaled_i64(places), scaled, "{text}");
    }
}
