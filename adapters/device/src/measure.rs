//! The table of what can be measured: codes, units, profiles, plausible bounds; and exact unit conversion into it.
//!
//! R4 vital signs: <https://hl7.org/fhir/R4/observation-vitalsigns.html> (a code and the units of each profile), UCUM:
//! <https://ucum.org/ucum>. The rows stand in `measures.tsv`.
//!
//! Left out on purpose: conversions between mass and substance. They need a molar mass and another code.

use std::cmp::Ordering;
use std::sync::OnceLock;

use crate::decimal::Decimal;

const TABLE: &str = include_str!("../measures.tsv");
const PROFILE_BASE: &str = "http://hl7.org/fhir/StructureDefinition/";

/// One code of LOINC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coding {
    /// The LOINC code.
    pub code: &'static str,
    /// Its display text.
    pub display: &'static str,
}

/// Where values of a measure usually go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A resource for each value.
    Spot,
    /// Many values a day: kept narrow.
    Series,
}

/// A measure in one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Our name, `body-weight`.
    pub name: &'static str,
    /// UCUM code; empty for a panel.
    pub unit: &'static str,
    /// The panel this is a component of; empty for none.
    pub part_of: &'static str,
    /// Codes, most specific use first as the profile asks.
    pub codings: Vec<Coding>,
    /// Code of observation-category; empty for a component.
    pub category: &'static str,
    /// Canonical of the R4 profile.
    pub profile: Option<String>,
    /// Outside of it nothing living is: quarantined.
    pub hard: Option<(Decimal, Decimal)>,
    /// Outside of it is unusual: kept and marked.
    pub soft: Option<(Decimal, Decimal)>,
    /// Resource or series.
    pub mode: Mode,
}

/// What bounds say of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plausibility {
    /// Within both.
    Usual,
    /// Outside the soft bounds.
    Unusual,
    /// Outside the hard bounds.
    Impossible,
}

impl Measure {
    /// True for what is counted or lasts: it is of a time from and to, never of an instant.
    pub fn is_of_period(&self) -> bool {
        self.category == "activity"
    }

    /// Compares a value with the bounds.
    pub fn plausibility(&self, value: Decimal) -> Plausibility {
        let outside = |bounds: &(Decimal, Decimal)| {
            value.compare(bounds.0) == Ordering::Less
                || value.compare(bounds.1) == Ordering::Greater
        };
        if self.hard.as_ref().is_some_and(outside) {
            Plausibility::Impossible
        } else if self.soft.as_ref().is_some_and(outside) {
            Plausibility::Unusual
        } else {
            Plausibility::Usual
        }
    }
}

/// All rows.
pub fn measures() -> &'static [Measure] {
    static ROWS: OnceLock<Vec<Measure>> = OnceLock::new();
    ROWS.get_or_init(|| {
        TABLE
            .lines()
            .filter(|l| !l.starts_with('#') && !l.starts_with("measure\t"))
            .filter_map(row)
            .collect()
    })
}

/// The row of a measure in a unit.
pub fn measure(name: &str, unit: &str) -> Option<&'static Measure> {
    measures().iter().find(|m| m.name == name && m.unit == unit)
}

/// True when there is a measure of that name.
pub fn is_known(name: &str) -> bool {
    measures().iter().any(|m| m.name == name)
}

/// A value in a unit of the table, and what was done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTable {
    /// The row.
    pub measure: &'static Measure,
    /// The value in the row's unit.
    pub value: Decimal,
    /// True when the value was rounded, which the resource then says.
    pub rounded: bool,
}

/// Finds the row for a value, converting the unit when the measure has none of its own for it.
pub fn fit(name: &str, value: Decimal, unit: &str) -> Option<InTable> {
    if let Some(measure) = measure(name, unit) {
        return Some(InTable {
            measure,
            value,
            rounded: false,
        });
    }
    measures()
        .iter()
        .filter(|m| m.name == name)
        .find_map(|measure| {
            let (value, rounded) = convert(value, unit, measure.unit)?;
            Some(InTable {
                measure,
                value,
                rounded,
            })
        })
}

/// UCUM's own definitions, so that each is exact: 1 m[Hg] = 133.322 kPa, 1 cal = 4.184 J.
fn convert(value: Decimal, from: &str, to: &str) -> Option<(Decimal, bool)> {
    let over = |divisor: Decimal| {
        // One decimal more than sent keeps the rounding error under a tenth of the sender's last digit.
        Some((value.divided(divisor, value.scale() + 1)?, true))
    };
    match (from, to) {
        ("m", "cm") => Some((value.shifted(2)?, false)),
        ("mm", "cm") => Some((value.shifted(-1)?, false)),
        ("g", "kg") | ("cal", "kcal") => Some((value.shifted(-3)?, false)),
        ("kPa", "mm[Hg]") => over(Decimal::new(133_322, 6)),
        ("kJ", "kcal") => over(Decimal::new(4_184, 3)),
        ("[stone_av]", "[lb_av]") => Some((value.times(Decimal::new(14, 0))?, false)),
        _ => None,
    }
}

/// The UCUM code for what vendors call a unit; `None` when there is no doubt-free one.
pub fn ucum(vendor: &str) -> Option<&'static str> {
    let known = [
        (
            "/min",
            "/min count/min bpm beats/min beats/minute breaths/min breaths/minute BPM {beats}/min 1/min",
        ),
        ("mm[Hg]", "mm[Hg] mmHg mmhg MMHG"),
        ("kPa", "kPa"),
        ("%", "% percent pct"),
        ("Cel", "Cel degC °C celsius Celsius"),
        ("[degF]", "[degF] degF °F fahrenheit Fahrenheit"),
        ("kg", "kg kilogram kilograms"),
        ("g", "g gram grams"),
        ("[lb_av]", "[lb_av] lb lbs pound pounds"),
        ("[stone_av]", "[stone_av] st stone"),
        ("cm", "cm"),
        ("m", "m meter meters metre"),
        ("mm", "mm"),
        ("[in_i]", "[in_i] in inch inches"),
        ("kg/m2", "kg/m2 kg/m^2 kg/m²"),
        ("mg/dL", "mg/dL mg/dl"),
        ("mmol/L", "mmol/L mmol/l mmol<180.1558800000541>/L"),
        ("ms", "ms"),
        ("s", "s sec seconds"),
        ("min", "min minutes"),
        ("h", "h hr hours"),
        ("kcal", "kcal Cal kilocalories"),
        ("cal", "cal"),
        ("kJ", "kJ"),
        ("{steps}", "{steps} steps step"),
        ("L/min", "L/min"),
    ];
    known
        .iter()
        .find(|(_, names)| names.split(' ').any(|n| n == vendor.trim()))
        .map(|(code, _)| *code)
}

fn row(line: &'static str) -> Option<Measure> {
    let mut cells = line.split('\t');
    let mut cell = || cells.next();
    let (name, unit, part_of, codings, category, profile, hard, soft, mode) = (
        cell()?,
        cell()?,
        cell()?,
        cell()?,
        cell()?,
        cell()?,
        cell()?,
        cell()?,
        cell()?,
    );
    let codings = codings
        .split("; ")
        .filter_map(|c| c.split_once(' '))
        .map(|(code, display)| Coding { code, display });
    Some(Measure {
        name,
        unit,
        part_of,
        codings: codings.collect(),
        category,
        profile: (!profile.is_empty()).then(|| format!("{PROFILE_BASE}{profile}")),
        hard: bounds(hard),
        soft: bounds(soft),
        mode: if mode == "series" {
            Mode::Series
        } else {
            Mode::Spot
        },
    })
}

fn bounds(text: &str) -> Option<(Decimal, Decimal)> {
    let (low, high) = text.split_once("..")?;
    Some((Decimal::parse(low)?, Decimal::parse(high)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn every_row_reads() {
        let lines = TABLE.lines().filter(|l| !l.starts_with('#')).count() - 1;
        assert_eq!(measures().len(), lines);
        for m in measures() {
            assert!(!m.codings.is_empty(), "{}", m.name);
            assert!(
                m.part_of.is_empty() != m.category.is_empty(),
                "{}: a component has no category",
                m.name
            );
            assert!(
                m.unit.is_empty() || m.hard.is_some() && m.soft.is_some(),
                "{}",
                m.name
            );
            assert!(m.part_of.is_empty() || is_known(m.part_of), "{}", m.name);
        }
    }

    /// R4's oxygensat profile asks for 2708-6, the pulse oximeter's own code stands beside it.
    #[test]
    fn oxygen_saturation_has_both_codes() {
        let codes: Vec<_> = measure("oxygen-saturation", "%")
            .expect("row")
            .codings
            .iter()
            .map(|c| c.code)
            .collect();
        assert_eq!(codes, ["2708-6", "59408-5"]);
    }

    /// Verifies: SRS-001, RC-001
    #[test]
    fn conversions_are_exact_or_say_that_they_round() {
        for (name, value, unit, expected, in_unit, rounded) in [
            ("body-height", "1.750", "m", "175.0", "cm", false),
            ("body-weight", "74126", "g", "74.126", "kg", false),
            (
                "body-weight",
                "157.00",
                "[lb_av]",
                "157.00",
                "[lb_av]",
                false,
            ),
            ("systolic", "16.0", "kPa", "120.01", "mm[Hg]", true),
            ("body-weight", "11", "[stone_av]", "154", "[lb_av]", false),
        ] {
            let fitted = fit(name, d(value), unit).expect(name);
            let got = (
                fitted.value.to_string(),
                fitted.measure.unit,
                fitted.rounded,
            );
            assert_eq!(
                got,
                (expected.to_owned(), in_unit, rounded),
                "{name} {value} {unit}"
            );
        }
        assert_eq!(fit("glucose-meter", d("5"), "g"), None);
        assert_eq!(fit("body-temperature", d("37"), "C"), None);
    }

    #[test]
    fn vendors_units_are_no_ucum() {
        for (vendor, code) in [
            ("count/min", Some("/min")),
            ("mmHg", Some("mm[Hg]")),
            ("degC", Some("Cel")),
            ("C", None),
            ("IU", None),
            ("", None),
        ] {
            assert_eq!(ucum(vendor), code, "{vendor}");
        }
    }

    /// Verifies: SRS-028, RC-013
    #[test]
    fn bounds_decide() {
        let weight = measure("body-weight", "kg").expect("row");
        for (value, expected) in [
            ("0", Plausibility::Impossible),
            ("1.9", Plausibility::Unusual),
            ("70.0", Plausibility::Usual),
            ("701", Plausibility::Impossible),
        ] {
            assert_eq!(weight.plausibility(d(value)), expected, "{value}");
        }
    }
}
