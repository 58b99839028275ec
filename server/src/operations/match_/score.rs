//! How alike two descriptions of a person are: points for what agrees, by a table anybody can check.

use fhir_core::datatype::string::normalise;
use fhir_core::json::Value;

/// Points of each feature; together 100.
const IDENTIFIER: u32 = 45;
const BIRTH_DATE: u32 = 20;
const FAMILY: u32 = 15;
const GIVEN: u32 = 10;
const GENDER: u32 = 5;
const CONTACT: u32 = 5;

/// Hundredths from which a match is probable, and possible.
const PROBABLE: u32 = 75;
const POSSIBLE: u32 = 40;

/// What is known of a person, normalised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// System and value.
    pub identifiers: Vec<(String, String)>,
    /// Family names.
    pub families: Vec<String>,
    /// Given names.
    pub givens: Vec<String>,
    /// As in the data.
    pub birth_date: Option<String>,
    gender: Option<String>,
    contacts: Vec<String>,
}

/// <http://terminology.hl7.org/CodeSystem/match-grade>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// An identifier agrees and nothing contradicts.
    Certain,
    /// Most agrees.
    Probable,
    /// Some agrees.
    Possible,
    /// Too little agrees.
    CertainlyNot,
}

impl Grade {
    /// The code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Probable => "probable",
            Self::Possible => "possible",
            Self::CertainlyNot => "certainly-not",
        }
    }
}

/// How alike two persons are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// 0 to 100.
    pub hundredths: u32,
    /// The grade.
    pub grade: Grade,
}

impl Score {
    /// `0.85`
    pub fn decimal(self) -> String {
        format!("{}.{:02}", self.hundredths / 100, self.hundredths % 100)
    }
}

impl Person {
    /// Reads a Patient.
    pub fn of(patient: &Value) -> Self {
        let items = |value: &Value, name: &str| -> Vec<Value> {
            let items = value.get(name).and_then(Value::as_array);
            items.unwrap_or_default().to_vec()
        };
        let text = |value: &Value, name: &str| {
            let text = value.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let normal = |text: &str| normalise(text).into_owned();
        let mut person = Self::default();
        for identifier in items(patient, "identifier") {
            let value = text(&identifier, "value");
            if !value.is_empty() && text(&identifier, "use") != "old" {
                person
                    .identifiers
                    .push((text(&identifier, "system"), value));
            }
        }
        for name in items(patient, "name") {
            person.families.push(normal(&text(&name, "family")));
            let given = items(&name, "given");
            let given = given.iter().filter_map(Value::as_str).map(normal);
            person.givens.extend(given);
        }
        for contact in items(patient, "telecom") {
            let value: String = text(&contact, "value")
                .chars()
                .filter(|c| c.is_alphanumeric() || *c == '@')
                .collect();
            person.contacts.push(value.to_lowercase());
        }
        for list in [
            &mut person.families,
            &mut person.givens,
            &mut person.contacts,
        ] {
            list.retain(|text| !text.is_empty());
            list.sort();
            list.dedup();
        }
        let given = |name| Some(text(patient, name)).filter(|text| !text.is_empty());
        person.birth_date = given("birthDate");
        person.gender = given("gender");
        person
    }

    /// How alike `other` is, by what this one knows: what it does not know counts neither way.
    pub fn compare(&self, other: &Self) -> Score {
        let (mut points, mut possible) = (0, 0);
        let mut judge = |verdict: Option<bool>, weight: u32| {
            if let Some(agrees) = verdict {
                possible += weight;
                points += if agrees { weight } else { 0 };
            }
            verdict
        };
        let identifier = judge(self.identifier_agrees(other), IDENTIFIER);
        let birth_date = judge(agree(&self.birth_date, &other.birth_date), BIRTH_DATE);
        let family = judge(share(&self.families, &other.families), FAMILY);
        judge(share(&self.givens, &other.givens), GIVEN);
        judge(agree(&self.gender, &other.gender), GENDER);
        judge(share(&self.contacts, &other.contacts), CONTACT);
        let hundredths = (points * 100).checked_div(possible).unwrap_or(0);
        let contradicts = birth_date == Some(false) || family == Some(false);
        let supports = birth_date == Some(true) || family == Some(true);
        let grade = match identifier {
            Some(true) if !contradicts && supports => Grade::Certain,
            // Without an identifier even a perfect agreement may be a namesake.
            _ if hundredths >= PROBABLE => Grade::Probable,
            _ if hundredths >= POSSIBLE => Grade::Possible,
            _ => Grade::CertainlyNot,
        };
        Score { hundredths, grade }
    }

    /// Whether an identifier is the same; `None` when the two have none of a common system.
    fn identifier_agrees(&self, other: &Self) -> Option<bool> {
        if self
            .identifiers
            .iter()
            .any(|mine| !mine.0.is_empty() && other.identifiers.contains(mine))
        {
            return Some(true);
        }
        let has_common = self
            .identifiers
            .iter()
            .any(|(system, _)| other.identifiers.iter().any(|(theirs, _)| theirs == system));
        has_common.then_some(false)
    }
}

fn agree(mine: &Option<String>, theirs: &Option<String>) -> Option<bool> {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => Some(mine == theirs),
        _ => None,
    }
}

fn share(mine: &[String], theirs: &[String]) -> Option<bool> {
    if mine.is_empty() || theirs.is_empty() {
        return None;
    }
    Some(mine.iter().any(|text| theirs.contains(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(text: &str) -> Person {
        Person::of(&Value::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn agreement_is_graded() {
        let known = person(
            r#"{"identifier":[{"system":"urn:mrn","value":"7"}],"name":[{"family":"Zorn","given":["Ada","Eva"]}],"birthDate":"1980-02-03","gender":"female"}"#,
        );
        for (text, grade, hundredths) in [
            (
                r#"{"identifier":[{"system":"urn:mrn","value":"7"}],"birthDate":"1980-02-03"}"#,
                Grade::Certain,
                100,
            ),
            // The identifier may have been mistyped or reused: the name contradicts.
            (
                r#"{"identifier":[{"system":"urn:mrn","value":"7"}],"name":[{"family":"Other"}]}"#,
                Grade::Probable,
                75,
            ),
            (
                r#"{"name":[{"family":"zörn","given":["ada"]}],"birthDate":"1980-02-03"}"#,
                Grade::Probable,
                100,
            ),
            (
                r#"{"name":[{"family":"Zorn","given":["Ida"]}],"birthDate":"1980-02-03"}"#,
                Grade::Probable,
                77,
            ),
            (
                r#"{"name":[{"family":"Zorn","given":["Ida"]}],"birthDate":"1981-02-03","gender":"female"}"#,
                Grade::Possible,
                40,
            ),
            (
                r#"{"identifier":[{"system":"urn:mrn","value":"8"}],"name":[{"family":"Zorn"}]}"#,
                Grade::CertainlyNot,
                25,
            ),
            (r#"{"identifier":[{"value":"7"}]}"#, Grade::CertainlyNot, 0),
        ] {
            let score = person(text).compare(&known);
            assert_eq!(
                (score.grade, score.hundredths),
                (grade, hundredths),
                "{text}"
            );
        }
        assert_eq!(
            person(r#"{"birthDate":"1980-02-03"}"#)
                .compare(&known)
                .decimal(),
            "1.00"
        );
    }
}
