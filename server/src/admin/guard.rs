//! Who may use `/admin`: only this machine, and only in open mode on a loopback address.

use actix_web::HttpRequest;
use fhir_core::issue::{ErrorKind, Problem};

use crate::app::Server;
use crate::http::call::OPEN_AGENT;

/// The name of who asks, for the audit trail.
///
/// # Errors
/// `forbidden` when the server is reachable from elsewhere.
pub fn admit(server: &Server, request: &HttpRequest) -> Result<&'static str, Problem> {
    let is_here = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().is_loopback());
    if is_here && server.config.http.ip().is_loopback() {
        return Ok(OPEN_AGENT);
    }
    let text = "administration is for this machine only";
    Err(Problem::new(ErrorKind::FORBIDDEN, text))
}
