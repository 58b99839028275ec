//! The server's side of the port that feeds hand their messages to.
//!
//! Contract: `adapters/README.md`. Raw message, resources, Provenance and the message's state are one commit. A message whose
//! resources are not valid is kept with the reason; only when nothing could be stored must the sender send again.

mod merge;
mod provenance;

use std::sync::Arc;

use adapters::{
    AckCode, Commit, Disposition, Gateway, Intake, IntakeError, Issue, Outcome, Receipt, Severity,
};
use conformance::Definitions;
use fhir_core::access::{Access, Channel};
use fhir_core::ids::{ResourceId, ResourceKey};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::{Document, Value};
use fhir_store::{MessageReceipt, MessageRecord, MessageState};
use mappings::{Produced, Write};

use crate::app::{Server, store_problem};
use crate::interaction::Interaction;
use crate::metrics::MessageOutcome;
use crate::write::{self, Attempts, Draft, Failure, Need, Plan, Step};

/// Issues kept with a message at most; the mappings bound theirs lower.
const ISSUES_KEPT_MAX: usize = 1_000;

/// Takes messages for a server.
pub struct ServerGateway {
    server: Arc<Server>,
}

impl ServerGateway {
    /// The gateway of a server.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        Arc::new(Self { server })
    }

    async fn take(&self, intake: Intake) -> Result<Receipt, IntakeError> {
        let result = match &intake.disposition {
            Disposition::Process => self.process(&intake).await,
            Disposition::Refuse { code, reason } => self.refuse(&intake, *code, reason).await,
        };
        let outcome = match &result {
            Ok(receipt) if receipt.repeat => MessageOutcome::Repeated,
            Ok(Receipt {
                outcome: Outcome::Processed,
                ..
            }) => MessageOutcome::Processed,
            Ok(_) | Err(IntakeError::Invalid(_)) => MessageOutcome::Refused,
            Err(_) => MessageOutcome::NotStored,
        };
        self.server.metrics.message(outcome);
        result
    }

    /// Writes resources and message; tries anew when something came between.
    async fn process(&self, intake: &Intake) -> Result<Receipt, IntakeError> {
        let access = access(intake);
        let mut attempts = Attempts::new(&self.server);
        loop {
            let plan = match self.plan(intake).await {
                Ok(plan) => plan,
                Err(problem) => return self.invalid(intake, &problem).await,
            };
            match write::submit(&self.server, &access, plan).await {
                Ok((_, receipt)) => return Ok(answer(receipt)),
                Err(Failure::Repeated(receipt)) => return Ok(answer(Some(receipt))),
                Err(Failure::Moved) => attempts
                    .again()
                    .await
                    .map_err(|problem| not_stored(&problem))?,
                Err(Failure::Problem(problem)) => return self.invalid(intake, &problem).await,
            }
        }
    }

    async fn plan(&self, intake: &Intake) -> Result<Plan, Problem> {
        let mut drafts = Vec::with_capacity(intake.resources.len() + 1);
        let mut made = Vec::with_capacity(intake.resources.len() + 1);
        for produced in &intake.resources {
            let key = key(produced)?;
            if let Some(draft) = self.draft(&key, produced).await? {
                drafts.push(draft);
            }
            made.push(key);
        }
        if !made.is_empty() {
            let (key, resource) = provenance::build(intake, &made, (self.server.clock)())?;
            drafts.push(put(key.clone(), &resource)?);
            made.push(key);
        }
        let is_clean = intake
            .issues
            .iter()
            .all(|issue| issue.severity == Severity::Information);
        let state = if is_clean && intake.unread_count == 0 {
            MessageState::Processed
        } else {
            MessageState::Warnings
        };
        let message = Some(record(intake, state, None, made));
        Ok(Plan {
            drafts,
            expects: Vec::new(),
            message,
        })
    }

    /// The draft for one resource; `None` when what is stored shall stay.
    async fn draft(
        &self,
        key: &ResourceKey,
        produced: &Produced,
    ) -> Result<Option<Draft>, Problem> {
        if produced.write == Write::Replace {
            return put(key.clone(), &produced.value).map(Some);
        }
        let current = self
            .server
            .store
            .read(key)
            .await
            .map_err(|e| store_problem(&e))?;
        let Some(current) = current.filter(|stored| !stored.deleted) else {
            return put(key.clone(), &produced.value).map(Some);
        };
        if produced.write == Write::Create {
            return Ok(None);
        }
        let stored = Value::parse(&current.json)
            .map_err(|_| Problem::new(ErrorKind::INTERNAL, "the stored resource cannot be read"))?;
        let merged = merge::merge(
            key.resource_type,
            stored,
            &produced.value,
            &produced.cleared,
            &produced.lists,
        );
        // The merge is right for this version only.
        let need = Need::Snapshot(current.version);
        put(key.clone(), &merged).map(|draft| Some(Draft { need, ..draft }))
    }

    /// Keeps a message that its adapter has refused.
    async fn refuse(
        &self,
        intake: &Intake,
        code: AckCode,
        reason: &Issue,
    ) -> Result<Receipt, IntakeError> {
        let text = format!("{} {reason}", code.as_str());
        let message = Some(record(
            intake,
            MessageState::Refused,
            Some(text),
            Vec::new(),
        ));
        let plan = Plan {
            message,
            ..Plan::default()
        };
        match write::submit(&self.server, &access(intake), plan).await {
            Ok((_, receipt)) => Ok(Receipt {
                outcome: Outcome::Refused {
                    code,
                    reason: reason.clone(),
                },
                ..answer(receipt)
            }),
            Err(Failure::Repeated(receipt)) => Ok(answer(Some(receipt))),
            Err(Failure::Moved) => Err(IntakeError::Unavailable(
                "the message could not be kept".to_owned(),
            )),
            Err(Failure::Problem(problem)) => Err(not_stored(&problem)),
        }
    }

    /// Keeps a message whose resources cannot be stored, and says why; unless storing as such is what failed.
    async fn invalid(&self, intake: &Intake, problem: &Problem) -> Result<Receipt, IntakeError> {
        if problem.status() >= 500 {
            return Err(not_stored(problem));
        }
        let issues: Vec<Issue> = problem.issues.iter().map(to_issue).collect();
        let first = issues
            .first()
            .cloned()
            .unwrap_or_else(|| Issue::new(Severity::Error, "invalid", "not valid"));
        let receipt = self.refuse(intake, AckCode::Error, &first).await?;
        if receipt.repeat {
            Ok(receipt)
        } else {
            Err(IntakeError::Invalid(issues))
        }
    }
}

impl Gateway for ServerGateway {
    fn commit(&self, intake: Intake) -> Commit<'_> {
        Box::pin(self.take(intake))
    }
}

fn access(intake: &Intake) -> Access {
    Access::full(intake.feed.clone(), Channel::Feed(intake.feed.clone()))
}

fn key(produced: &Produced) -> Result<ResourceKey, Problem> {
    let identity = &produced.identity;
    let resource_type = Definitions::r4().resource_type(&identity.resource_type);
    match (resource_type, ResourceId::parse(&identity.id)) {
        (Some(resource_type), Some(id)) => Ok(ResourceKey { resource_type, id }),
        _ => Err(Problem::new(
            ErrorKind::INVALID_RESOURCE,
            "the mapping named no R4 type or no id",
        )),
    }
}

fn put(key: ResourceKey, resource: &Value) -> Result<Draft, Problem> {
    let document = Document::parse(&resource.to_bytes()).map_err(|error| {
        Problem::new(
            ErrorKind::BAD_JSON,
            format!("the mapping's output: {error}"),
        )
    })?;
    Ok(Draft {
        key,
        step: Step::Put(Arc::new(document)),
        need: Need::Nothing,
        interaction: Interaction::Update,
    })
}

fn record(
    intake: &Intake,
    state: MessageState,
    reason: Option<String>,
    made: Vec<ResourceKey>,
) -> MessageRecord {
    MessageRecord {
        feed: intake.feed.clone(),
        media_type: intake.media_type.to_owned(),
        raw: intake.raw.clone(),
        sender: intake.dedupe.sender.clone(),
        control_id: intake.dedupe.control_id.clone(),
        message_type: intake.message_type.clone(),
        state,
        reason,
        issues_json: issues_json(intake),
        made,
        bookkeeping: fhir_store::Bookkeeping::default(),
    }
}

/// The issues and the loss report as JSON for the message log.
fn issues_json(intake: &Intake) -> String {
    let issues = intake.issues.iter().take(ISSUES_KEPT_MAX).map(|issue| {
        let mut members = vec![
            ("severity", Value::from(issue.severity.as_str())),
            ("code", Value::from(issue.code.as_ref())),
            ("text", Value::from(issue.text.as_ref())),
        ];
        if let Some(position) = &issue.position {
            members.push(("position", Value::from(position.to_string().as_str())));
        }
        if let Some(offset) = issue.offset {
            members.push(("offset", Value::from(i64::from(offset))));
        }
        Value::object(members)
    });
    let unread = intake
        .unread
        .iter()
        .map(|position| Value::from(position.to_string().as_str()));
    let log = Value::object([
        ("issues", Value::Array(issues.collect())),
        ("unread", Value::Array(unread.collect())),
        (
            "unreadCount",
            Value::from(i64::try_from(intake.unread_count).unwrap_or(i64::MAX)),
        ),
    ]);
    String::from_utf8(log.to_bytes()).unwrap_or_default()
}

fn answer(receipt: Option<MessageReceipt>) -> Receipt {
    let Some(receipt) = receipt else {
        return Receipt {
            message_id: String::new(),
            repeat: false,
            outcome: Outcome::Processed,
        };
    };
    let outcome = match receipt.state {
        MessageState::Processed
        | MessageState::Warnings
        | MessageState::Parked
        | MessageState::Replayed
        | MessageState::Received
        | MessageState::Superseded => Outcome::Processed,
        MessageState::Refused | MessageState::Discarded => {
            refused(receipt.reason.as_deref().unwrap_or_default())
        }
    };
    Receipt {
        message_id: receipt.id.to_string(),
        repeat: receipt.repeat,
        outcome,
    }
}

/// The earlier refusal of a message that came again; its reason begins with the code of the answer.
fn refused(reason: &str) -> Outcome {
    let code = if reason.starts_with(AckCode::Reject.as_str()) {
        AckCode::Reject
    } else {
        AckCode::Error
    };
    let text = reason
        .strip_prefix(code.as_str())
        .unwrap_or(reason)
        .trim_start()
        .to_owned();
    Outcome::Refused {
        code,
        reason: Issue::new(Severity::Error, "refused-before", text),
    }
}

fn to_issue(issue: &fhir_core::issue::Issue) -> Issue {
    let place = issue
        .expression
        .as_deref()
        .map(|place| format!("{place}: "))
        .unwrap_or_default();
    Issue::new(
        Severity::Error,
        issue.kind.id,
        format!("{place}{}", issue.diagnostics),
    )
}

fn not_stored(problem: &Problem) -> IntakeError {
    if problem.kind() == ErrorKind::OVERLOADED {
        IntakeError::Overloaded
    } else {
        IntakeError::Unavailable(problem.to_string())
    }
}
