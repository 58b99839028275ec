//! TEMPORARY
use super::Answer; use crate::http::call::Call; use fhir_core::issue::Problem;
pub async fn handle(_: Call) -> Result<Answer, Problem> { Ok(Answer::default()) }
pub async fn handle_form(_: Call) -> Result<Answer, Problem> { Ok(Answer::default()) }
