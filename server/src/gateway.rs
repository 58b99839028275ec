//! The server's side of the port that feeds hand their messages to.
//!
//! Contract: `adapters/README.md`. Raw message, resources, Provenance and the message's state are one commit. A message whose
//! resources are not valid is kept with the reason; only when nothing could be stored must the sender send again.

mod actions;
mod desk;
mod identity;
mod known;
mod links;
mod merge;
mod plan;
pub(crate) mod provenance;
pub(crate) mod record;
mod repoint;

use std::sync::Arc;

use adapters::{
    AckCode, Commit, Disposition, Gateway, Intake, IntakeError, Issue, Outcome, Receipt, Severity,
};
use fhir_core::access::{Access, Channel};
use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{Bookkeeping, MessagePlace, MessageReceipt, MessageState, NewReview};
use mappings::ActionKind;

use crate::app::Server;
use crate::messages::OnError;
use crate::metrics::MessageOutcome;
use crate::write::{self, Attempts, Failure, Plan};
pub use desk::Sheet;
pub use plan::{EVERYBODY, Manner, Planned, Waiting, Wrote, plan};
pub use record::{UNMAPPED, issue_value};
use record::{carried_out, record};
pub use repoint::finish_merges;

/// Takes messages for a server.
pub struct ServerGateway {
    server: Arc<Server>,
}

impl ServerGateway {
    /// The gateway of a server.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        Arc::new(Self { server })
    }

    /// Carries out a message in the given manner.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn take(&self, intake: Intake, manner: &Manner) -> Result<Receipt, IntakeError> {
        let result = match &intake.disposition {
            Disposition::Process => self.process(&intake, manner).await,
            Disposition::Refuse { reason, .. } if self.parks(&intake, reason) => {
                self.park_unidentified(&intake, manner, reason).await
            }
            Disposition::Refuse { code, reason } => {
                self.refuse(&intake, manner, *code, reason).await
            }
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
    async fn process(&self, intake: &Intake, manner: &Manner) -> Result<Receipt, IntakeError> {
        let result = self.carry_out(intake, manner).await;
        let Ok(Carried::Repeated(earlier)) = result else {
            return result.map(|carried| match carried {
                Carried::Done(receipt) => answer(receipt),
                Carried::Repeated(receipt) => answer(Some(receipt)),
            });
        };
        // What was refused and comes again is tried again: the reason may be gone.
        if earlier.state != MessageState::Refused || manner.place != MessagePlace::New {
            return Ok(answer(Some(earlier)));
        }
        let again = Manner {
            place: MessagePlace::Again(earlier.id),
            ..manner.clone()
        };
        match self.carry_out(intake, &again).await? {
            Carried::Done(receipt) => Ok(answer(receipt)),
            Carried::Repeated(receipt) => Ok(answer(Some(receipt))),
        }
    }

    async fn carry_out(&self, intake: &Intake, manner: &Manner) -> Result<Carried, IntakeError> {
        // A merge must see every resource that refers to the loser, so no other message is under way with it.
        let unites = intake
            .actions
            .iter()
            .any(|action| !matches!(action.kind, ActionKind::Link | ActionKind::Unlink));
        let lock = &self.server.messages.merging;
        let (mut alone, mut together) = (None, None);
        if unites {
            alone = Some(lock.write().await);
        } else {
            together = Some(lock.read().await);
        }
        let result = self.attempts(intake, manner).await;
        if unites && matches!(result, Ok(Carried::Done(_))) {
            // What one commit could not take. A failure leaves the rest to the next start; the merge itself is durable.
            if let Err(problem) = finish_merges(&self.server).await {
                tracing::error!(%problem, "a merge is not finished yet");
            }
        }
        drop((alone.take(), together.take()));
        result
    }

    async fn attempts(&self, intake: &Intake, manner: &Manner) -> Result<Carried, IntakeError> {
        let access = access(intake);
        let mut attempts = Attempts::new(&self.server);
        loop {
            let plan = match self.plan(intake, manner).await {
                Ok(plan) => plan,
                Err(problem) => return self.invalid(intake, manner, &problem).await,
            };
            match write::submit(&self.server, &access, plan).await {
                Ok((_, receipt)) => return Ok(Carried::Done(receipt)),
                Err(Failure::Repeated(receipt)) => return Ok(Carried::Repeated(receipt)),
                Err(Failure::Moved) => attempts
                    .again()
                    .await
                    .map_err(|problem| not_stored(&problem))?,
                Err(Failure::Problem(problem)) => {
                    return self.invalid(intake, manner, &problem).await;
                }
            }
        }
    }

    async fn plan(&self, intake: &Intake, manner: &Manner) -> Result<Plan, Problem> {
        let mut planned = plan(&self.server, intake, manner).await?;
        if let Some(waiting) = planned.wait.clone() {
            return Ok(self.parked(intake, manner, planned, &waiting));
        }
        let mut made = planned.made.clone();
        if !made.is_empty() {
            let (key, resource) = provenance::build(intake, &made, (self.server.clock)())?;
            let sheet = planned.desk.open(&key).await?;
            let is_same = sheet
                .value
                .as_ref()
                .is_some_and(|known| provenance::is_same(known, &resource));
            if !is_same {
                sheet.put(resource);
            }
            made.push(key);
        }
        let drafts = planned.desk.drafts()?;
        let (state, reason) = outcome(intake, manner, &planned);
        let bookkeeping = Bookkeeping {
            place: manner.place,
            revisions: planned.revisions,
            pair_revisions: planned.pair_times,
            aliases: planned.known.added,
            owners: planned.owners,
            reviews: planned.reviews,
            ..Bookkeeping::default()
        };
        let message = record(intake, &planned.issues, state, reason, made, bookkeeping);
        Ok(Plan {
            drafts,
            message: Some(message),
            ..Plan::default()
        })
    }

    /// The plan for a message that waits: it is kept, and nothing else.
    fn parked(
        &self,
        intake: &Intake,
        manner: &Manner,
        planned: Planned<'_>,
        waiting: &Waiting,
    ) -> Plan {
        let (state, reason) = match waiting {
            Waiting::ForDecision(text) => (MessageState::Parked, format!("review: {text}")),
            Waiting::ForMessage(id) => (MessageState::Parked, waits_for(*id)),
            Waiting::ForFeed(id) => (MessageState::Received, halted_by(*id)),
        };
        let bookkeeping = Bookkeeping {
            place: manner.place,
            reviews: planned.reviews,
            ..Bookkeeping::default()
        };
        let message = record(
            intake,
            &planned.issues,
            state,
            Some(reason),
            Vec::new(),
            bookkeeping,
        );
        Plan {
            message: Some(message),
            ..Plan::default()
        }
    }

    /// Keeps a message that its adapter has refused.
    async fn refuse(
        &self,
        intake: &Intake,
        manner: &Manner,
        code: AckCode,
        reason: &Issue,
    ) -> Result<Receipt, IntakeError> {
        let text = format!("{} {reason}", code.as_str());
        let bookkeeping = Bookkeeping {
            place: manner.place,
            holds: self.holds(intake, code),
            ..Bookkeeping::default()
        };
        let message = record(
            intake,
            &[],
            MessageState::Refused,
            Some(text),
            Vec::new(),
            bookkeeping,
        );
        let plan = Plan {
            message: Some(message),
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

    /// Whether the feed wants a message that names nobody to wait for a person.
    fn parks(&self, intake: &Intake, reason: &Issue) -> bool {
        reason.code == "no-identity" && self.server.messages.parks_unidentified(&intake.feed)
    }

    /// Keeps a message that names nobody, and asks a person whose it is: a corrected copy of it is read, or it is set aside.
    async fn park_unidentified(
        &self,
        intake: &Intake,
        manner: &Manner,
        reason: &Issue,
    ) -> Result<Receipt, IntakeError> {
        let is_new = manner.place == MessagePlace::New;
        let review = NewReview {
            kind: "unidentified",
            subjects: Vec::new(),
            text: "the message names nobody; replay it with a corrected copy, or discard it"
                .to_owned(),
        };
        let bookkeeping = Bookkeeping {
            place: manner.place,
            reviews: is_new.then_some(review).into_iter().collect(),
            ..Bookkeeping::default()
        };
        let text = format!("review: {reason}");
        let state = MessageState::Parked;
        let message = record(intake, &[], state, Some(text), Vec::new(), bookkeeping);
        let plan = Plan {
            message: Some(message),
            ..Plan::default()
        };
        match write::submit(&self.server, &access(intake), plan).await {
            Ok((_, receipt)) => Ok(answer(receipt)),
            Err(Failure::Repeated(receipt)) => Ok(answer(Some(receipt))),
            Err(Failure::Moved) => Err(IntakeError::Unavailable(
                "the message could not be kept".to_owned(),
            )),
            Err(Failure::Problem(problem)) => Err(not_stored(&problem)),
        }
    }

    /// Whose later messages wait for this one, by the feed's policy. A rejected message is not the feed's at all.
    fn holds(&self, intake: &Intake, code: AckCode) -> Vec<String> {
        let policy = self.server.messages.on_error(&intake.feed);
        match (code, policy) {
            (AckCode::Reject, _) | (_, OnError::Continue) => Vec::new(),
            (_, OnError::Halt) => vec![EVERYBODY.to_owned()],
            (_, OnError::ParkPatient) => {
                plan::subjects(intake, &known::Known::default()).unwrap_or_default()
            }
        }
    }

    /// Keeps a message whose resources cannot be stored, and says why; unless storing as such is what failed.
    async fn invalid(
        &self,
        intake: &Intake,
        manner: &Manner,
        problem: &Problem,
    ) -> Result<Carried, IntakeError> {
        if problem.status() >= 500 {
            return Err(not_stored(problem));
        }
        let issues: Vec<Issue> = problem.issues.iter().map(to_issue).collect();
        let first = issues
            .first()
            .cloned()
            .unwrap_or_else(|| Issue::new(Severity::Error, "invalid", "not valid"));
        let receipt = self.refuse(intake, manner, AckCode::Error, &first).await?;
        if receipt.repeat {
            // The gateway's own form of the earlier answer.
            Err(match receipt.outcome {
                Outcome::Refused { reason, .. } => IntakeError::Invalid(vec![reason]),
                Outcome::Processed => IntakeError::Invalid(issues),
            })
        } else {
            Err(IntakeError::Invalid(issues))
        }
    }
}

/// What came of carrying out a message.
enum Carried {
    Done(Option<MessageReceipt>),
    Repeated(MessageReceipt),
}

/// The reason of a message that waits for another.
pub fn waits_for(message: i64) -> String {
    format!("waits for message {message};")
}

/// The reason of a message of a halted feed.
pub fn halted_by(message: i64) -> String {
    format!("the feed is halted by message {message};")
}

/// State and reason of a message that was carried out.
fn outcome(
    intake: &Intake,
    manner: &Manner,
    planned: &Planned<'_>,
) -> (MessageState, Option<String>) {
    let superseded = planned
        .written
        .iter()
        .filter(|(_, wrote)| *wrote == Wrote::Superseded)
        .count();
    let given = planned
        .written
        .iter()
        .filter(|(_, wrote)| *wrote == Wrote::Given)
        .count();
    let reason =
        (superseded > 0).then(|| format!("superseded: {superseded} resources are stored newer"));
    if superseded > 0 && given == 0 && intake.actions.is_empty() {
        return (MessageState::Superseded, reason);
    }
    let state = carried_out(intake, &planned.issues);
    let is_again = matches!(manner.place, MessagePlace::Again(_));
    if is_again && state == MessageState::Processed {
        (MessageState::Replayed, reason)
    } else {
        (state, reason)
    }
}

impl Gateway for ServerGateway {
    fn commit(&self, intake: Intake) -> Commit<'_> {
        Box::pin(async move { self.take(intake, &Manner::default()).await })
    }
}

fn access(intake: &Intake) -> Access {
    Access::full(intake.feed.clone(), Channel::Feed(intake.feed.clone()))
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
        | MessageState::Discarded
        | MessageState::Replayed
        | MessageState::Received
        | MessageState::Superseded => Outcome::Processed,
        MessageState::Refused => refused(receipt.reason.as_deref().unwrap_or_default()),
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
