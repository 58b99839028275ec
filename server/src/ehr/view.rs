//! Tenants, runs, completeness and questions as JSON for people and programs.
//!
//! Left out: the tenant's secrets and key material, which are references in its file and are not shown either.

use ehr::identity::local_id;
use ehr::port::{WalkKey, WalkState};
use ehr::run::RunReport;
use fhir_core::json::Value;
use fhir_store::{EhrCounts, EhrReview, EhrRun};

use super::state::{count_names, number, stored_counts, texts};
use super::tenants::{Entry, Origin};

/// Entries of one list in a report at most; a cohort of thousands fails in the same way thousands of times.
const LISTED_MAX: usize = 100;

/// A tenant in a list.
pub fn tenant(entry: &Entry) -> Value {
    let tenant = &entry.tenant;
    let (origin, file) = match &entry.origin {
        Origin::File(path) => ("file", Some(path.display().to_string())),
        Origin::Registered => ("registered", None),
    };
    let cohort = &tenant.cohort;
    let patients = cohort.patients.len() + cohort.identifiers.len();
    let mut members = vec![
        ("tenant", Value::from(tenant.name.as_str())),
        ("vendor", tenant.profile.name.as_str().into()),
        ("fhirBase", tenant.fhir_base.as_str().into()),
        ("persona", tenant.persona.as_str().into()),
        ("types", texts(&tenant.types)),
        ("patients", number(patients as u64)),
        ("origin", origin.into()),
    ];
    members.extend(file.map(|file| ("file", Value::from(file))));
    let group = cohort.group.as_deref();
    members.extend(group.map(|group| ("group", Value::from(group))));
    let every_min = tenant.every_min;
    members.extend(every_min.map(|every_min| ("everyMinutes", number(u64::from(every_min)))));
    let running = entry.running();
    members.push(("running", Value::Bool(!entry.is_free())));
    if let Some((run, started)) = running {
        members.push(("runningSince", started.to_fhir().into()));
        members.push(("progress", report(&run.report(), None)));
    }
    Value::object(members)
}

/// A report of a run.
pub fn report(report: &RunReport, error: Option<&str>) -> Value {
    let pairs = |pairs: &[(String, String)]| {
        let shown = pairs.iter().take(LISTED_MAX).map(|(what, why)| {
            Value::object([
                ("what", Value::from(what.as_str())),
                ("why", why.as_str().into()),
            ])
        });
        Value::Array(shown.collect())
    };
    let rules = report.rules.iter();
    let rules = rules.map(|(rule, times)| (*rule, number(*times)));
    let mut members = vec![
        ("counts", counts(&stored_counts(&report.counts))),
        ("searchesEnded", number(report.completed)),
        ("requests", number(report.requests)),
        ("merged", number(report.merged)),
        ("toReview", number(report.to_review)),
        ("rules", Value::object(rules)),
        ("goesOnNextTime", number(report.failed.len() as u64)),
        ("failed", pairs(&report.failed)),
        ("leftOut", number(report.skipped.len() as u64)),
        ("skipped", pairs(&report.skipped)),
        ("warnings", texts(&report.warnings)),
    ];
    members.extend(error.map(|error| ("error", Value::from(error))));
    Value::object(members)
}

/// The accounting, and whether every resource received has exactly one fate.
pub fn counts(counts: &EhrCounts) -> Value {
    let fates = counts.new
        + counts.changed
        + counts.unchanged
        + counts.stale
        + counts.masked
        + counts.rejected;
    let names = count_names(counts).map(|(name, count)| (name, Value::from(count)));
    let mut value = Value::object(names);
    if let Some(members) = value.as_object_mut() {
        members.insert("addsUp", Value::Bool(fates == counts.received));
    }
    value
}

/// A run that ended.
pub fn run(run: &EhrRun) -> Value {
    let report = Value::parse(run.report.as_bytes());
    Value::object([
        ("started", Value::from(run.started.to_fhir())),
        ("ended", run.ended.to_fhir().into()),
        ("outcome", run.outcome.as_str().into()),
        ("report", report.unwrap_or(Value::Null)),
    ])
}

/// What may be believed about one search of one patient.
pub fn walk(key: &WalkKey, state: &WalkState) -> Value {
    let subject = match key.subject.strip_prefix("group:") {
        Some(group) => ("group", Value::from(group)),
        None => {
            let id = local_id(&key.tenant, "Patient", &key.subject);
            ("patient", format!("Patient/{id}").into())
        }
    };
    let mut members = vec![
        subject,
        ("type", key.resource_type.as_str().into()),
        ("persona", key.persona.as_str().into()),
        ("isComplete", Value::Bool(is_complete(state))),
    ];
    let category = key.category.as_deref();
    members.extend(category.map(|category| ("category", Value::from(category))));
    let times = [
        ("completeTo", state.complete_to),
        ("sweptAt", state.swept_at),
    ];
    for (name, at) in times {
        members.extend(at.map(|at| (name, Value::from(at.to_fhir()))));
    }
    if !state.gaps.is_empty() {
        members.push(("except", texts(&state.gaps)));
    }
    let failure = state.failure.as_deref();
    members.extend(failure.map(|failure| ("failure", Value::from(failure))));
    if let Some(way) = &state.under_way {
        members.push(("pagesSoFar", number(u64::from(way.pages))));
    }
    Value::object(members)
}

/// Whether everything filed before `complete_to` is here, without exception.
pub fn is_complete(state: &WalkState) -> bool {
    state.complete_to.is_some() && state.gaps.is_empty() && state.failure.is_none()
}

/// A question for a person.
pub fn review(review: &EhrReview) -> Value {
    Value::object([
        ("id", Value::from(format!("{:?}", review.key))),
        ("kind", review.kind.as_str().into()),
        ("resource", review.resource.as_str().into()),
        ("detail", review.detail.as_str().into()),
        ("at", review.at.to_fhir().into()),
    ])
}
