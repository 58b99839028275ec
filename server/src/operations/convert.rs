//! An HL7 v2 message in, the Bundle it becomes out; nothing is stored and nothing stored is looked at.
//!
//! Spec: <https://hl7.org/fhir/R4/resource-operation-convert.html>. Left out: other directions, and FHIR in.

use fhir_core::issue::{ErrorKind, Problem};

use crate::admin::messages::tryout::chosen;
use crate::http::call::Call;
use crate::interactions::Answer;
use crate::messages::preview::bundle;

/// `POST [base]/$convert?feed=lab` with a message as `x-application/hl7-v2+er7` or `application/hl7-v2`
///
/// # Errors
/// `unsupported-media-type`; `invalid-resource` with the reason for a message that would be refused
pub async fn handle(mut call: Call) -> Result<Answer, Problem> {
    let mut feed = None;
    for (name, value) in call.query()? {
        match name.as_str() {
            "feed" => feed = Some(value),
            "_format" | "_pretty" => {}
            other => {
                let text = "`$convert` takes `feed`; remove the parameter";
                return Err(Problem::new(ErrorKind::UNKNOWN_PARAMETER, text).at(other));
            }
        }
    }
    let raw = call.hl7v2().await?;
    let pipeline = chosen(&call.server, feed.as_deref())?;
    let intake = pipeline.read(raw).intake;
    Ok(Answer::ok(bundle(&intake)?.to_bytes()))
}
