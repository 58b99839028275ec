//! An alert rule made ready: its settings checked, and which value of an Observation it looks at.

use device::alert::{Comparator, Rule};
use device::decimal::Decimal;
use fhir_core::datatype::ucum;
use fhir_core::json::ValueRef;

use super::super::settings::AlertRule;
use super::UCUM;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// A rule, ready.
pub struct Compiled {
    /// What was given.
    pub settings: AlertRule,
    /// What the state machine runs on.
    pub rule: Rule,
}

impl Compiled {
    /// Reads a rule.
    ///
    /// # Errors
    /// The setting that cannot be used.
    pub fn of(settings: &AlertRule) -> Result<Self, String> {
        if settings.name.is_empty() || settings.text.is_empty() || settings.code.is_empty() {
            return Err("`name`, `code` and `text` must not be empty".to_owned());
        }
        let decimal = |name: &str, text: &str| {
            Decimal::parse(text).ok_or_else(|| format!("`{name}` is a decimal such as \"2.5\""))
        };
        let hysteresis = decimal("hysteresis", &settings.hysteresis)?;
        if hysteresis.compare(Decimal::ZERO).is_lt() {
            return Err("`hysteresis` is not negative".to_owned());
        }
        if !ucum::is_unit(&settings.unit) {
            return Err("`unit` is a UCUM code such as `/min` or `%`".to_owned());
        }
        let micros = |seconds: u64| {
            i64::try_from(seconds.saturating_mul(MICROS_PER_SECOND)).unwrap_or(i64::MAX)
        };
        let rule = Rule {
            measure: settings.code.clone(),
            unit: settings.unit.clone(),
            comparator: match settings.comparator.as_str() {
                "<" => Comparator::Less,
                ">" => Comparator::Greater,
                _ => return Err("`comparator` is `<` or `>`".to_owned()),
            },
            limit: decimal("value", &settings.value)?,
            hysteresis,
            hold_us: micros(settings.hold_seconds),
            age_us_max: micros(settings.age_seconds_max),
        };
        Ok(Self {
            settings: settings.clone(),
            rule,
        })
    }

    /// The value this rule looks at, in its unit.
    pub fn value(&self, observation: ValueRef<'_>) -> Option<Decimal> {
        if self.is_of(observation) {
            return self.quantity(observation);
        }
        observation
            .get("component")
            .into_iter()
            .flat_map(ValueRef::items)
            .filter(|component| self.is_of(*component))
            .find_map(|component| self.quantity(component))
    }

    fn is_of(&self, element: ValueRef<'_>) -> bool {
        let is = |coding: ValueRef<'_>, name: &str, wanted: &str| {
            coding
                .get(name)
                .and_then(ValueRef::as_str)
                .is_some_and(|found| found == wanted)
        };
        element
            .get("code")
            .and_then(|code| code.get("coding"))
            .into_iter()
            .flat_map(ValueRef::items)
            .any(|coding| {
                is(coding, "code", &self.settings.code)
                    && is(coding, "system", &self.settings.system)
            })
    }

    fn quantity(&self, element: ValueRef<'_>) -> Option<Decimal> {
        let quantity = element.get("valueQuantity")?;
        // `<5` is no number to compare.
        if quantity.get("comparator").is_some() {
            return None;
        }
        let system = quantity.get("system").and_then(ValueRef::as_str)?;
        let code = quantity.get("code").and_then(ValueRef::as_str)?;
        if system != UCUM {
            return None;
        }
        let text = quantity.get("value").and_then(ValueRef::number_text)?;
        if code == self.settings.unit.as_str() {
            return Decimal::parse(text);
        }
        let (low, high) = ucum::convert(text, &code, &self.settings.unit)?;
        (low == high).then(|| Decimal::parse(&low))?
    }
}

#[cfg(test)]
mod tests {
    use fhir_core::json::Document;

    use super::*;

    fn rule() -> AlertRule {
        serde_json::from_str(
            r#"{"name":"low","code":"59408-5","comparator":"<","value":"90","unit":"%","text":"Low"}"#,
        )
        .unwrap()
    }

    #[test]
    fn rules_that_cannot_work_are_told() {
        assert!(Compiled::of(&rule()).is_ok());
        let check = |change: fn(&mut AlertRule), expected: &str| {
            let mut rule = rule();
            change(&mut rule);
            let why = Compiled::of(&rule).err().unwrap();
            assert!(why.contains(expected), "{why}");
        };
        check(|r| r.comparator = "=".into(), "comparator");
        check(|r| r.value = "high".into(), "value");
        check(|r| r.unit = "furlongs per".into(), "unit");
        check(|r| r.hysteresis = "-1".into(), "hysteresis");
        check(|r| r.text = String::new(), "text");
    }

    /// Verifies: SRS-346, RC-344
    #[test]
    fn values_count_in_the_rules_unit_or_not_at_all() {
        let compiled = Compiled::of(&AlertRule {
            code: "8310-5".into(),
            unit: "Cel".into(),
            ..rule()
        })
        .unwrap();
        let value = |quantity: &str| {
            let text = format!(
                r#"{{"code":{{"coding":[{{"system":"http://loinc.org","code":"8310-5"}}]}},"valueQuantity":{quantity}}}"#
            );
            let document = Document::parse(text.as_bytes()).unwrap();
            compiled.value(document.root()).map(|v| v.to_string())
        };
        let ucum = r#""system":"http://unitsofmeasure.org""#;
        let cel = format!(r#"{{"value":37.50,{ucum},"code":"Cel"}}"#);
        assert_eq!(value(&cel).as_deref(), Some("37.50"));
        let fahrenheit = format!(r#"{{"value":98.6,{ucum},"code":"[degF]"}}"#);
        assert_eq!(value(&fahrenheit).as_deref(), Some("37"));
        let other = format!(r#"{{"value":37,{ucum},"code":"kg"}}"#);
        assert_eq!(value(&other), None);
        assert_eq!(value(r#"{"value":37,"unit":"Cel"}"#), None);
        let less = format!(r#"{{"value":37,"comparator":"<",{ucum},"code":"Cel"}}"#);
        assert_eq!(value(&less), None);
    }
}
