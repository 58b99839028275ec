//! Keys and states of walks as the store keeps them: keys as hashes, states as JSON.
//!
//! Leaves out versions of the form: a member that is missing means what its absence meant when it was added.

use ehr::port::{Counts, SourceKey, UnderWay, WalkKey, WalkKind, WalkState};
use ehr::tenant::Persona;
use fhir_core::ids::Instant;
use fhir_core::json::Value;
use fhir_store::{EhrCounts, EhrKey};
use sha2::{Digest, Sha256};

/// Every persona there is.
pub const PERSONAS: [Persona; 3] = [Persona::System, Persona::Provider, Persona::Patient];

/// The key of a walk.
pub fn walk_key(walk: &WalkKey) -> EhrKey {
    key(&[
        "walk",
        &walk.tenant,
        walk.persona.as_str(),
        &walk.subject,
        &walk.resource_type,
        // No category is another thing than an empty one.
        walk.category.as_deref().map_or("none", |_| "some"),
        walk.category.as_deref().unwrap_or_default(),
    ])
}

/// The key of a record.
pub fn record_key(source: &SourceKey) -> EhrKey {
    key(&[
        "record",
        &source.tenant,
        source.persona.as_str(),
        &source.resource_type,
        &source.id,
    ])
}

/// A key of texts; each with its length, so that no two lists are alike.
pub fn key(parts: &[&str]) -> EhrKey {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut key = [0_u8; 16];
    key.iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    EhrKey(key)
}

/// The persona of its word.
pub fn persona(word: &str) -> Option<Persona> {
    PERSONAS
        .into_iter()
        .find(|persona| persona.as_str() == word)
}

/// The accounting as the store counts.
pub fn stored_counts(counts: &Counts) -> EhrCounts {
    let n = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    EhrCounts {
        received: n(counts.received),
        new: n(counts.new),
        changed: n(counts.changed),
        unchanged: n(counts.unchanged),
        stale: n(counts.stale),
        masked: n(counts.masked),
        rejected: n(counts.rejected),
        vanished: n(counts.vanished),
        tombstoned: n(counts.tombstoned),
        withheld: n(counts.withheld),
        late_filed: n(counts.late_filed),
    }
}

/// The accounting by name, in the order of the table.
pub fn count_names(counts: &EhrCounts) -> [(&'static str, i64); 11] {
    [
        ("received", counts.received),
        ("new", counts.new),
        ("changed", counts.changed),
        ("unchanged", counts.unchanged),
        ("stale", counts.stale),
        ("masked", counts.masked),
        ("rejected", counts.rejected),
        ("vanished", counts.vanished),
        ("deleted", counts.tombstoned),
        ("withheld", counts.withheld),
        ("lateFiled", counts.late_filed),
    ]
}

/// A state as JSON, without its revision, which has a column.
pub fn write(state: &WalkState) -> String {
    let mut members = vec![("sweep", number(state.sweep))];
    let times = [
        ("completeTo", state.complete_to),
        ("sweptAt", state.swept_at),
    ];
    for (name, at) in times {
        members.extend(at.map(|at| (name, Value::from(at.0))));
    }
    members.push(("gaps", texts(&state.gaps)));
    let since = state.kept_back_since;
    members.extend(since.map(|sweep| ("keptBackSince", number(sweep))));
    if let Some(failure) = &state.failure {
        members.push(("failure", failure.as_str().into()));
    }
    if let Some(way) = &state.under_way {
        members.push(("underWay", write_way(way)));
    }
    Value::object(members).to_string()
}

fn write_way(way: &UnderWay) -> Value {
    let counts = count_names(&stored_counts(&way.counts));
    let counts = counts.map(|(name, count)| (name, Value::from(count)));
    let mut members = vec![
        ("isSweep", Value::Bool(way.kind == WalkKind::Sweep)),
        ("started", way.started.0.into()),
        ("pages", number(u64::from(way.pages))),
        ("restarts", number(u64::from(way.restarts))),
        ("counts", Value::object(counts)),
        ("gaps", texts(&way.gaps)),
        ("whole", Value::Bool(way.whole)),
    ];
    members.extend(way.from.map(|at| ("from", Value::from(at.0))));
    members.extend(way.next.as_deref().map(|next| ("next", Value::from(next))));
    Value::object(members)
}

/// A state from JSON.
///
/// # Errors
/// What is missing; then the row was not written by us.
pub fn read(revision: i64, text: &str) -> Result<WalkState, String> {
    let value = Value::parse(text.as_bytes()).map_err(|e| format!("a walk's state: {e}"))?;
    let under_way = value.get("underWay").map(read_way).transpose()?;
    Ok(WalkState {
        revision: u64::try_from(revision).map_err(|_| "a walk's revision is negative")?,
        complete_to: instant(&value, "completeTo"),
        swept_at: instant(&value, "sweptAt"),
        sweep: count(&value, "sweep")?,
        gaps: list(&value, "gaps"),
        kept_back_since: count(&value, "keptBackSince").ok(),
        failure: value
            .get("failure")
            .and_then(Value::as_str)
            .map(str::to_owned),
        under_way,
    })
}

fn read_way(value: &Value) -> Result<UnderWay, String> {
    let is = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
    let small = |name: &str| u32::try_from(count(value, name)?).map_err(|e| e.to_string());
    let counts = value.get("counts").ok_or("a walk's state has no counts")?;
    let of = |name: &str| count(counts, name);
    Ok(UnderWay {
        kind: if is("isSweep") {
            WalkKind::Sweep
        } else {
            WalkKind::Changes
        },
        from: instant(value, "from"),
        started: instant(value, "started").ok_or("a walk's state has no start")?,
        next: value.get("next").and_then(Value::as_str).map(str::to_owned),
        pages: small("pages")?,
        restarts: small("restarts")?,
        counts: Counts {
            received: of("received")?,
            new: of("new")?,
            changed: of("changed")?,
            unchanged: of("unchanged")?,
            stale: of("stale")?,
            masked: of("masked")?,
            rejected: of("rejected")?,
            vanished: of("vanished")?,
            tombstoned: of("deleted")?,
            withheld: of("withheld")?,
            late_filed: of("lateFiled")?,
        },
        gaps: list(value, "gaps"),
        whole: is("whole"),
    })
}

/// A count as JSON.
pub fn number(count: u64) -> Value {
    Value::from(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Texts as a JSON array.
pub fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| text.as_str().into()).collect())
}

fn instant(value: &Value, name: &str) -> Option<Instant> {
    value.get(name)?.number_text()?.parse().ok().map(Instant)
}

fn count(value: &Value, name: &str) -> Result<u64, String> {
    let text = value.get(name).and_then(Value::number_text);
    let count = text.and_then(|text| text.parse().ok());
    count.ok_or_else(|| format!("a walk's state has no `{name}`"))
}

fn list(value: &Value, name: &str) -> Vec<String> {
    let items = value
        .get(name)
        .and_then(Value::as_array)
        .unwrap_or_default();
    let texts = items.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_went() {
        let full = WalkState {
            revision: 7,
            complete_to: Some(Instant(5)),
            swept_at: Some(Instant(-4)),
            sweep: 3,
            gaps: vec!["withheld".to_owned()],
            kept_back_since: Some(2),
            failure: Some("refused".to_owned()),
            under_way: Some(UnderWay {
                kind: WalkKind::Sweep,
                from: Some(Instant(1)),
                started: Instant(2),
                next: Some("https://ehr.example.org/next?a=\"b\"".to_owned()),
                pages: 4,
                restarts: 1,
                counts: Counts {
                    received: 9,
                    new: 8,
                    late_filed: 1,
                    tombstoned: 2,
                    ..Counts::default()
                },
                gaps: vec!["a".to_owned(), "b".to_owned()],
                whole: true,
            }),
        };
        for state in [full, WalkState::default()] {
            let revision = i64::try_from(state.revision).unwrap();
            assert_eq!(read(revision, &write(&state)), Ok(state));
        }
        assert!(read(1, "{}").is_err());
    }

    #[test]
    fn no_category_is_another_walk_than_an_empty_one() {
        let walk = |category: Option<&str>| WalkKey {
            tenant: "t".to_owned(),
            persona: Persona::System,
            subject: "p".to_owned(),
            resource_type: "Observation".to_owned(),
            category: category.map(str::to_owned),
        };
        assert_ne!(walk_key(&walk(None)), walk_key(&walk(Some(""))));
        assert_ne!(walk_key(&walk(Some("a"))), walk_key(&walk(Some("b"))));
    }
}
