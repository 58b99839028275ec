//! Alert rules run on committed Observations, real ones and samples alike, in the order of the commits.
//!
//! Guide: `docs/guide/subscriptions.md`. The state machine is [`device::alert`]. A raised alert marks the Observation with an
//! interpretation, where it has none, and makes one Flag or DetectedIssue, whose id follows from rule, subject and time: what a
//! crash repeats changes nothing. Each change of state is one version of it, and so one notification to who subscribed.
//!
//! Left out: judging by trends; `$stats` reports how unusual a value is, and nothing acts on that.

mod rule;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use conformance::Definitions;
use device::alert::{Change, Comparator, Seen, State};
use fhir_core::access::{Access, Channel};
use fhir_core::datatype::date::{Zone, range_of};
use fhir_core::ids::{Instant, ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value, ValueRef};
use fhir_store::{LiveAlert, Stored};
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use rule::Compiled;

use super::settings::{AlertRule, Makes};
use crate::app::{Server, store_problem};
use crate::interaction::Interaction;
use crate::operations::parameters;
use crate::write::{self, Draft, Failure, Need, Plan, Step};

/// The name in the audit trail.
const AGENT: &str = "alerts";
/// System of the codes that name rules.
const RULE_SYSTEM: &str = "urn:stoker:alert-rule";
const INTERPRETATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
const UCUM: &str = "http://unitsofmeasure.org";
/// Observations with these statuses hold no value to act on.
const NOT_VALID: [&str; 4] = ["entered-in-error", "cancelled", "registered", "unknown"];
/// Longest span of an effective time that counts as an instant, in microseconds: a second.
const INSTANT_US_MAX: i64 = 1_000_000;
/// Attempts to write what an alert makes, each after another write came between.
const ATTEMPTS_MAX: usize = 20;

/// A rule and where it stands, for people.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct View {
    /// The rule.
    pub rule: AlertRule,
    /// `settings` or `admin`: where it comes from.
    pub origin: &'static str,
    /// Subjects it has seen values of.
    pub subjects: usize,
    /// Subjects it is raised for.
    pub raised: usize,
}

struct Standing {
    state: State,
    made: Option<String>,
    is_changed: bool,
}

/// The rules in force and where they stand.
pub struct Alerts {
    rules: Vec<(Compiled, &'static str)>,
    standing: HashMap<(String, String), Standing>,
    has_moved: bool,
}

/// The rules of the settings file and those added since; a rule of the file counts where both have the name.
///
/// # Errors
/// `unavailable`
pub async fn rules(server: &Server) -> Result<Vec<(AlertRule, &'static str)>, Problem> {
    let mut all: Vec<(AlertRule, &'static str)> = server
        .config
        .alert
        .iter()
        .map(|rule| (rule.clone(), "settings"))
        .collect();
    let added = server.store.live_rules().await;
    for (name, text) in added.map_err(|e| store_problem(&e))? {
        if all.iter().any(|(rule, _)| rule.name == name) {
            continue;
        }
        match serde_json::from_str(&text) {
            Ok(rule) => all.push((rule, "admin")),
            Err(error) => tracing::error!(%name, %error, "a stored alert rule cannot be read"),
        }
    }
    Ok(all)
}

impl Alerts {
    /// As stored.
    ///
    /// # Errors
    /// `unavailable`
    pub async fn open(server: &Server) -> Result<Self, Problem> {
        server.live.rules_changed.store(false, Ordering::Relaxed);
        let mut compiled = Vec::new();
        for (rule, origin) in rules(server).await? {
            match Compiled::of(&rule) {
                Ok(rule) => compiled.push((rule, origin)),
                Err(why) => {
                    tracing::error!(rule = %rule.name, %why, "an alert rule cannot be used")
                }
            }
        }
        let mut alerts = Self {
            rules: compiled,
            standing: HashMap::new(),
            has_moved: false,
        };
        let stored = server.store.live_alerts().await;
        for row in stored.map_err(|e| store_problem(&e))? {
            let standing = Standing {
                state: State::of_parts(row.phase, row.since, row.last),
                made: row.made,
                is_changed: false,
            };
            alerts.standing.insert((row.rule, row.subject), standing);
        }
        alerts.show(server);
        Ok(alerts)
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether rules were added or removed since.
    pub fn are_outdated(&self, server: &Server) -> bool {
        // What moved since the last place was stored must not be forgotten.
        server.live.rules_changed.load(Ordering::Relaxed)
            && !self.standing.values().any(|standing| standing.is_changed)
    }

    /// States that changed since they were stored.
    pub fn changed(&self) -> Vec<LiveAlert> {
        let changed = self
            .standing
            .iter()
            .filter(|(_, standing)| standing.is_changed);
        changed
            .map(|((rule, subject), standing)| {
                let (phase, since, last) = standing.state.parts();
                LiveAlert {
                    rule: rule.clone(),
                    subject: subject.clone(),
                    phase,
                    since,
                    last,
                    made: standing.made.clone(),
                }
            })
            .collect()
    }

    /// Whether an alert was raised or cleared since states were stored.
    pub fn have_moved(&self) -> bool {
        self.has_moved
    }

    /// They are stored now.
    pub fn written(&mut self) {
        self.has_moved = false;
        for standing in self.standing.values_mut() {
            standing.is_changed = false;
        }
    }

    /// Shows people where the rules stand.
    fn show(&self, server: &Server) {
        let view = self.rules.iter().map(|(compiled, origin)| {
            let mine =
                |((rule, _), _): &(&(String, String), &Standing)| *rule == compiled.settings.name;
            let all = || self.standing.iter().filter(mine);
            View {
                rule: compiled.settings.clone(),
                origin,
                subjects: all().count(),
                raised: all().filter(|(_, s)| s.state.is_raised()).count(),
            }
        });
        let mut shown = server
            .live
            .alert_view
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shown = view.collect();
    }

    /// Moves the rules with a committed Observation.
    ///
    /// # Errors
    /// `unavailable` and its kin: nothing counts as seen then.
    pub async fn see(&mut self, server: &Arc<Server>, change: &Stored) -> Result<(), Problem> {
        if self.rules.is_empty() || change.deleted {
            return Ok(());
        }
        let document = parameters::stored(&change.json)?;
        let observation = document.root();
        let Some((subject, at)) = subject_and_time(observation) else {
            return Ok(());
        };
        let mut moved = Vec::new();
        for (index, (compiled, _)) in self.rules.iter().enumerate() {
            let Some(value) = compiled.value(observation) else {
                continue;
            };
            let key = (compiled.settings.name.clone(), subject.clone());
            let before = self.standing.get(&key).map(|standing| standing.state);
            let mut state = before.unwrap_or_default();
            let seen = Seen {
                at_us: at,
                received_us: change.updated.0,
                value,
            };
            let change = state.see(&compiled.rule, seen);
            if before != Some(state) {
                moved.push((index, key, state, change));
            }
        }
        for (index, key, state, moved) in moved {
            let made = self.standing.get(&key).and_then(|s| s.made.clone());
            let made = match (moved, self.rules.get(index)) {
                (Some(moved), Some((compiled, _))) => {
                    self.has_moved = true;
                    act(server, compiled, &key.1, change, moved, made).await?
                }
                _ => made,
            };
            let standing = Standing {
                state,
                made,
                is_changed: true,
            };
            self.standing.insert(key, standing);
        }
        if self.has_moved {
            self.show(server);
        }
        Ok(())
    }
}

/// Whose value it is and when it was measured; `None` when it is none to act on.
fn subject_and_time(observation: ValueRef<'_>) -> Option<(String, i64)> {
    let status = observation.get("status").and_then(ValueRef::as_str)?;
    if NOT_VALID.contains(&status.as_ref()) {
        return None;
    }
    let subject = observation.get("subject")?.get("reference")?.as_str()?;
    let names = ["effectiveDateTime", "effectiveInstant", "effectivePeriod"];
    let time = names.into_iter().find_map(|name| observation.get(name))?;
    let range = range_of(time.get("start").unwrap_or(time), Zone::UTC)?;
    // "On that day" says nothing about holding for ten seconds.
    (range.end.saturating_sub(range.start) <= INSTANT_US_MAX)
        .then(|| (subject.into_owned(), range.start))
}

/// Writes what a change of state makes; answers what is open now.
async fn act(
    server: &Arc<Server>,
    compiled: &Compiled,
    subject: &str,
    observation: &Stored,
    change: Change,
    made: Option<String>,
) -> Result<Option<String>, Problem> {
    match change {
        Change::Raised(at) => {
            let (key, resource) = raised(compiled, subject, observation, at)?;
            let name = key.to_string();
            put(server, key, move |_| Some(resource.clone())).await?;
            interpret(server, compiled, observation).await?;
            tracing::info!(rule = %compiled.settings.name, made = %name, "an alert was raised");
            Ok(Some(name))
        }
        Change::Cleared(at) => {
            if let Some(name) = made
                && let Some(key) = key_of(&name)
            {
                put(server, key, |stored| cleared(stored?, at)).await?;
                tracing::info!(rule = %compiled.settings.name, made = %name, "an alert was cleared");
            }
            Ok(None)
        }
    }
}

fn key_of(name: &str) -> Option<ResourceKey> {
    let (type_name, id) = name.split_once('/')?;
    Some(ResourceKey {
        resource_type: Definitions::r4().resource_type(type_name)?,
        id: ResourceId::parse(id)?,
    })
}

fn text(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

fn list(value: Value) -> Value {
    Value::Array(vec![value])
}

fn raised(
    compiled: &Compiled,
    subject: &str,
    observation: &Stored,
    at: i64,
) -> Result<(ResourceKey, Value), Problem> {
    let settings = &compiled.settings;
    let hash = Sha256::digest(format!("{}|{subject}|{at}", settings.name).as_bytes());
    let hex: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    let type_name = match settings.makes {
        Makes::Flag => "Flag",
        Makes::DetectedIssue => "DetectedIssue",
    };
    let missing = || Problem::new(ErrorKind::INTERNAL, "the definitions lack a type");
    let key = key_of(&format!("{type_name}/alert-{hex}")).ok_or_else(missing)?;
    let coding = Value::object([
        ("system", text(RULE_SYSTEM)),
        ("code", text(settings.name.replace(' ', "-"))),
    ]);
    let code = Value::object([
        ("coding", list(coding)),
        ("text", text(settings.text.as_str())),
    ]);
    let reference = |to: String| Value::object([("reference", text(to))]);
    let start = Value::object([("start", text(Instant(at).to_fhir()))]);
    let resource = match settings.makes {
        Makes::Flag => {
            let category = Value::object([
                (
                    "system",
                    text("http://terminology.hl7.org/CodeSystem/flag-category"),
                ),
                ("code", text("clinical")),
            ]);
            let detail = Value::object([
                (
                    "url",
                    text("http://hl7.org/fhir/StructureDefinition/flag-detail"),
                ),
                ("valueReference", reference(observation.key.to_string())),
            ]);
            Value::object([
                ("resourceType", text("Flag")),
                ("id", text(key.id.as_str())),
                ("extension", list(detail)),
                ("status", text("active")),
                (
                    "category",
                    list(Value::object([("coding", list(category))])),
                ),
                ("code", code),
                ("subject", reference(subject.to_owned())),
                ("period", start),
            ])
        }
        Makes::DetectedIssue => {
            let mut members = vec![
                ("resourceType", text("DetectedIssue")),
                ("id", text(key.id.as_str())),
                ("status", text("preliminary")),
                ("code", code),
            ];
            // `DetectedIssue.patient` takes patients only.
            if subject.starts_with("Patient/") {
                members.push(("patient", reference(subject.to_owned())));
            }
            members.push(("identifiedPeriod", start));
            members.push(("implicated", list(reference(observation.key.to_string()))));
            members.push(("detail", text(settings.text.as_str())));
            Value::object(members)
        }
    };
    Ok((key, resource))
}

/// The resource of a cleared alert; `None` when it says so already, or somebody else ended it.
fn cleared(stored: &Value, at: i64) -> Option<Value> {
    let mut value = stored.clone();
    let map = value.as_object_mut()?;
    let type_name = map.get("resourceType")?.as_str()?.to_owned();
    let (open, ended, period) = match type_name.as_str() {
        "Flag" => ("active", "inactive", "period"),
        _ => ("preliminary", "final", "identifiedPeriod"),
    };
    if map.get("status")?.as_str()? != open {
        return None;
    }
    map.insert("status", Value::from(ended));
    let end = Value::from(Instant(at).to_fhir());
    match map.get_mut(period).and_then(Value::as_object_mut) {
        Some(period) => period.insert("end", end),
        None => map.insert(period, Value::object([("end", end)])),
    }
    Some(value)
}

/// Marks the Observation as high or low, unless it says something of the kind already.
async fn interpret(
    server: &Arc<Server>,
    compiled: &Compiled,
    observation: &Stored,
) -> Result<(), Problem> {
    let (code, display) = match compiled.rule.comparator {
        Comparator::Less => ("L", "Low"),
        Comparator::Greater => ("H", "High"),
    };
    put(server, observation.key.clone(), |stored| {
        let mut value = stored?.clone();
        let map = value.as_object_mut()?;
        if map.get("interpretation").is_some() {
            return None;
        }
        let coding = Value::object([
            ("system", text(INTERPRETATION)),
            ("code", text(code)),
            ("display", text(display)),
        ]);
        let concept = Value::object([("coding", list(coding))]);
        map.insert("interpretation", list(concept));
        Some(value)
    })
    .await
}

/// Writes what `make` makes of the current content, as often as others come between. What cannot be stored for what it
/// says is logged and left: the log of changes must go on.
async fn put(
    server: &Arc<Server>,
    key: ResourceKey,
    make: impl Fn(Option<&Value>) -> Option<Value>,
) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS_MAX {
        let stored = server.store.read(&key).await;
        let stored = stored.map_err(|e| store_problem(&e))?;
        // What was made and then changed or deleted by somebody is theirs.
        let version = stored.as_ref().map(|stored| stored.version);
        let current = match stored.filter(|stored| !stored.deleted) {
            Some(stored) => Some(parameters::stored(&stored.json)?.root().to_value()),
            None => None,
        };
        let Some(value) = make(current.as_ref()) else {
            return Ok(());
        };
        let is_own_new = current.is_none();
        if is_own_new && version.is_some() {
            return Ok(());
        }
        let is_flag = matches!(key.resource_type.name(), "Flag" | "DetectedIssue");
        let is_raise = is_flag
            && matches!(
                value.get("status").and_then(Value::as_str),
                Some("active" | "preliminary")
            );
        if is_raise && !is_own_new {
            // Raised before a crash: it stands already.
            return Ok(());
        }
        let document = Document::parse(&value.to_bytes())
            .map_err(|_| Problem::new(ErrorKind::INTERNAL, "an alert made no JSON"))?;
        let draft = Draft {
            key: key.clone(),
            step: Step::Put(Arc::new(document)),
            need: version.map_or(Need::Nothing, Need::Snapshot),
            interaction: Interaction::Update,
        };
        let plan = Plan {
            drafts: vec![draft],
            ..Plan::default()
        };
        let access = Access::full(AGENT, Channel::Feed(AGENT.to_owned()));
        match write::submit(server, &access, plan).await {
            Ok(_) => return Ok(()),
            Err(Failure::Moved | Failure::Repeated(_)) => {}
            Err(Failure::Problem(problem)) => {
                if matches!(
                    problem.kind(),
                    ErrorKind::UNAVAILABLE | ErrorKind::OVERLOADED | ErrorKind::INTERNAL
                ) {
                    return Err(problem);
                }
                tracing::error!(%problem, resource = %key, "what an alert made cannot be stored");
                return Ok(());
            }
        }
    }
    Err(Problem::new(
        ErrorKind::UNAVAILABLE,
        "other writes came first each time",
    ))
}
