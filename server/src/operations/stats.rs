//! Statistics over a patient's observations.
//!
//! Spec: <https://hl7.org/fhir/R4/observation-operation-stats.html>. Counted are values of final, amended, corrected and
//! preliminary observations, in one unit. Left out: `include` and `limit` (the sources are what the same search finds),
//! values of components.

use conformance::Definitions;
use fhir_core::access::Act;
use fhir_core::datatype::decimal::Decimal;
use fhir_core::datatype::ucum;
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Number, Value, ValueRef};
use fhir_core::stats::{self, Statistic};
use fhir_store::{Only, SearchQuery, Stored, TotalMode};

use super::anomaly::{self, Timed};
use super::input::{Code, Input, parameter};
use crate::app::store_problem;
use crate::http::call::Call;
use crate::interactions::Answer;

/// Observations read at once.
const PAGE_RESOURCES: usize = 1_000;

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Statuses whose values count.
const STATUSES: [&str; 4] = ["final", "amended", "corrected", "preliminary"];

/// `Observation/$stats`
///
/// # Errors
/// `bad-parameter-value`; `invalid-resource` for values that do not go together; `too-costly`
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let input = Input::read(&mut call).await?;
    input.only(&[
        "subject",
        "code",
        "system",
        "coding",
        "duration",
        "period",
        "statistic",
    ])?;
    let Some(observation) = Definitions::r4().resource_type("Observation") else {
        return Err(Problem::new(
            ErrorKind::INTERNAL,
            "the definitions lack Observation",
        ));
    };
    call.access.permit(Act::Search, observation)?;
    let subject = input.required("subject")?;
    let wanted = wanted(&input)?;
    let dates = dates(&input, (call.server.clock)())?;
    let mut statistics = Vec::new();
    for code in codes(&input)? {
        let found = observations(&call, &subject, &code, &dates).await?;
        statistics.push(parameter(
            "statistics",
            "resource",
            statistics_of(&subject, &code, &dates, &wanted, &found)?,
        ));
    }
    Ok(super::input::answer(statistics))
}

fn bad(name: &str, text: &str) -> Problem {
    Problem::new(ErrorKind::BAD_PARAMETER_VALUE, text).at(name)
}

fn wanted(input: &Input) -> Result<Vec<&'static Statistic>, Problem> {
    let names: Vec<String> = input
        .texts("statistic")
        .iter()
        .flat_map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    if names.is_empty() {
        return Err(bad("statistic", "at least one `statistic` is needed"));
    }
    let known = || {
        stats::ALL
            .iter()
            .map(|s| s.code)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let find = |name: &String| {
        stats::named(name)
            .ok_or_else(|| bad("statistic", &format!("the statistics are: {}", known())))
    };
    names.iter().map(find).collect()
}

fn codes(input: &Input) -> Result<Vec<Code>, Problem> {
    let system = input.text("system")?;
    let plain = input.texts("code").into_iter().map(|code| Code {
        system: system.clone(),
        code,
        display: None,
    });
    let coded = input
        .values("coding", "valueCoding")
        .into_iter()
        .filter_map(Code::read);
    let codes: Vec<Code> = plain.chain(coded).collect();
    if codes.is_empty() {
        return Err(bad(
            "code",
            "a `code` with its `system`, or a `coding` is needed",
        ));
    }
    Ok(codes)
}

/// Search values of `date`, and the period as text.
struct Dates {
    conditions: Vec<String>,
    start: Option<String>,
    end: Option<String>,
}

fn dates(input: &Input, now: Instant) -> Result<Dates, Problem> {
    let period = input.values("period", "valuePeriod").into_iter().next();
    let of = |name: &str| {
        period
            .and_then(|p| p.get(name))
            .and_then(ValueRef::as_str)
            .map(|t| t.into_owned())
    };
    let (mut start, end) = (of("start"), of("end"));
    if let Some(hours) = input.text("duration")? {
        if period.is_some() {
            return Err(bad("duration", "give a `duration` or a `period`, not both"));
        }
        let hours = Decimal::parse(&hours)
            .map_err(|_| bad("duration", "`duration` is a number of hours"))?;
        let micros = hours
            .checked_mul(&Decimal::from(MICROS_PER_HOUR))
            .and_then(|micros| micros.to_scaled_i64(0))
            .filter(|micros| *micros > 0)
            .ok_or_else(|| bad("duration", "`duration` is a number of hours above zero"))?;
        start = Some(Instant(now.0.saturating_sub(micros).max(-62_000_000_000_000_000)).to_fhir());
    }
    let from = start.iter().map(|start| format!("ge{start}"));
    let to = end.iter().map(|end| format!("le{end}"));
    Ok(Dates {
        conditions: from.chain(to).collect(),
        start,
        end,
    })
}

async fn observations(
    call: &Call,
    subject: &str,
    code: &Code,
    dates: &Dates,
) -> Result<Vec<Stored>, Problem> {
    let server = &call.server;
    let escaped = |text: &str| {
        text.replace('\\', "\\\\")
            .replace(',', "\\,")
            .replace('$', "\\$")
            .replace('|', "\\|")
    };
    let token = match &code.system {
        Some(system) => format!("{}|{}", escaped(system), escaped(&code.code)),
        None => escaped(&code.code),
    };
    let mut parameters = vec![
        ("subject".to_owned(), escaped(subject)),
        ("code".to_owned(), token),
        ("status".to_owned(), STATUSES.join(",")),
    ];
    parameters.extend(
        dates
            .conditions
            .iter()
            .map(|d| ("date".to_owned(), d.clone())),
    );
    let observation = Definitions::r4().resource_type("Observation");
    let observation = observation
        .ok_or_else(|| Problem::new(ErrorKind::INTERNAL, "the definitions lack Observation"))?;
    let predicate = crate::search::condition_of(server, observation, &parameters)?;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = SearchQuery {
            resource_type: observation,
            predicate: predicate.clone(),
            sort: Vec::new(),
            limit: PAGE_RESOURCES,
            after,
            total: TotalMode::None,
            only: Only::Bodies,
        };
        let page = server
            .store
            .search(query)
            .await
            .map_err(|e| store_problem(&e))?;
        found.extend(page.matches);
        if found.len() > stats::VALUES_MAX {
            let text = format!(
                "more than {} observations; ask for a shorter time",
                stats::VALUES_MAX
            );
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text).at("duration"));
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// A value with its unit: UCUM code where there is one, else the unit's text.
struct Measured {
    value: Decimal,
    text: String,
    code: Option<String>,
    unit: Option<String>,
}

fn measured(observation: ValueRef<'_>) -> Result<Option<Measured>, Problem> {
    let Some(quantity) = observation.get("valueQuantity") else {
        return Ok(None);
    };
    let text = |name| {
        quantity
            .get(name)
            .and_then(ValueRef::as_str)
            .map(|t| t.into_owned())
    };
    let Some(digits) = quantity.get("value").and_then(ValueRef::number_text) else {
        return Ok(None);
    };
    if quantity.get("comparator").is_some() {
        return Err(mixed(
            "a value has a comparator (`<5`), so it is no single number",
        ));
    }
    let value = Decimal::parse(digits).map_err(|_| mixed("a value has too many digits"))?;
    let is_ucum = text("system").as_deref() == Some("http://unitsofmeasure.org");
    Ok(Some(Measured {
        value,
        text: digits.to_owned(),
        code: text("code").filter(|_| is_ucum),
        unit: text("unit"),
    }))
}

fn mixed(text: &str) -> Problem {
    Problem::new(ErrorKind::INVALID_RESOURCE, text).at("Observation.valueQuantity")
}

/// The values in the unit of the first, with the times they were measured at.
fn in_one_unit(found: &[Stored]) -> Result<(Vec<Timed>, Option<Measured>), Problem> {
    let mut first: Option<Measured> = None;
    let mut values = Vec::with_capacity(found.len());
    for stored in found {
        let document = Document::parse(&stored.json).map_err(|_| {
            Problem::new(
                ErrorKind::INTERNAL,
                "a stored resource cannot be read; the server's log has more",
            )
        })?;
        let Some(next) = measured(document.root())? else {
            continue;
        };
        let value = match &first {
            None => next.value.clone(),
            Some(first) => converted(&next, first)?,
        };
        values.push(Timed {
            at: anomaly::time_of(document.root()),
            value,
        });
        if first.is_none() {
            first = Some(next);
        }
    }
    Ok((values, first))
}

fn converted(next: &Measured, first: &Measured) -> Result<Decimal, Problem> {
    match (&next.code, &first.code) {
        (Some(from), Some(to)) if from == to => Ok(next.value.clone()),
        (Some(from), Some(to)) => ucum::convert(&next.text, from, to)
            .filter(|(low, high)| low == high)
            .and_then(|(exact, _)| Decimal::parse(&exact).ok())
            .ok_or_else(|| {
                mixed("values are in units that do not convert exactly into each other")
            }),
        (None, None) if next.unit == first.unit => Ok(next.value.clone()),
        _ => Err(mixed(
            "some values have a UCUM unit and others have not, or their units differ",
        )),
    }
}

fn statistics_of(
    subject: &str,
    code: &Code,
    dates: &Dates,
    wanted: &[&'static Statistic],
    found: &[Stored],
) -> Result<Value, Problem> {
    let (timed, unit) = in_one_unit(found)?;
    let unusual = anomaly::extension(&timed);
    let mut values: Vec<Decimal> = timed.into_iter().map(|timed| timed.value).collect();
    values.sort();
    let mut components = Vec::new();
    for statistic in wanted {
        let result = if statistic.code == "total-count" {
            i64::try_from(found.len()).ok().map(Decimal::from)
        } else {
            statistic.of(&values)
        };
        let number = result.and_then(|value| Number::parse(&value.to_string()));
        let coding = Value::object([
            ("system", Value::from(stats::SYSTEM)),
            ("code", Value::from(statistic.code)),
            ("display", Value::from(statistic.display)),
        ]);
        let mut component = vec![(
            "code",
            Value::object([("coding", Value::Array(vec![coding]))]),
        )];
        match number {
            Some(number) => {
                component.push(("valueQuantity", quantity(number, statistic, unit.as_ref())))
            }
            None => {
                let reason = Value::object([
                    (
                        "system",
                        Value::from("http://terminology.hl7.org/CodeSystem/data-absent-reason"),
                    ),
                    ("code", Value::from("not-performed")),
                ]);
                let reason = Value::object([
                    ("coding", Value::Array(vec![reason])),
                    ("text", Value::from("too few values")),
                ]);
                component.push(("dataAbsentReason", reason));
            }
        }
        components.push(Value::object(component));
    }
    let mut coding = vec![("code", Value::from(code.code.as_str()))];
    if let Some(system) = &code.system {
        coding.insert(0, ("system", Value::from(system.as_str())));
    }
    let mut members = vec![
        ("resourceType", Value::from("Observation")),
        ("extension", Value::Array(unusual.into_iter().collect())),
        ("status", Value::from("final")),
        (
            "code",
            Value::object([("coding", Value::Array(vec![Value::object(coding)]))]),
        ),
        (
            "subject",
            Value::object([("reference", Value::from(subject))]),
        ),
    ];
    let ends = [("start", &dates.start), ("end", &dates.end)];
    let period: Vec<(&str, Value)> = ends
        .into_iter()
        .filter_map(|(name, end)| end.as_deref().map(|text| (name, Value::from(text))))
        .collect();
    if !period.is_empty() {
        members.push(("effectivePeriod", Value::object(period)));
    }
    members.push(("component", Value::Array(components)));
    // An empty array is not allowed in FHIR.
    members.retain(|(_, value)| value.as_array().is_none_or(|items| !items.is_empty()));
    Ok(Value::object(members))
}

fn quantity(number: Number, statistic: &Statistic, unit: Option<&Measured>) -> Value {
    let mut members = vec![("value", Value::Number(number))];
    // A variance has the unit squared, which is not spelled here: a number without unit is no wrong unit.
    let unit = unit.filter(|_| !statistic.is_count && statistic.code != "variance");
    if let Some(unit) = unit {
        if let Some(text) = unit.unit.as_ref().or(unit.code.as_ref()) {
            members.push(("unit", Value::from(text.as_str())));
        }
        if let Some(code) = &unit.code {
            members.push(("system", Value::from("http://unitsofmeasure.org")));
            members.push(("code", Value::from(code.as_str())));
        }
    }
    Value::object(members)
}
