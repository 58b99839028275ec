//! Who may use `/admin`: whoever has the admin token; without a token only this machine, and only in open mode on a
//! loopback address.
//!
//! <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>. Left out: roles, and tokens of more than one person.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};
use fhir_core::issue::{ErrorKind, Problem};
use sha2::{Digest, Sha256};

use crate::app::Server;
use crate::http::call::OPEN_AGENT;
use crate::http::negotiate::Format;
use crate::http::reply;

/// What the audit trail names for whoever has the token.
pub const ADMIN_AGENT: &str = "admin";

/// Stands before every URL under `/admin`, so that none is left open by forgetting to ask. A handler that wants the name
/// for the audit trail asks [`admit`] as well.
///
/// # Errors
/// Those of the rest of the chain.
pub async fn only_administrators(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    // The path as the routes see it, escapes decoded: another spelling must not lead around this.
    let path = request.match_info().as_str();
    if path == "/admin" || path.starts_with("/admin/") {
        let server = request.app_data::<web::Data<Server>>();
        let admitted = match server {
            Some(server) => admit(server, request.request()).map(|_| ()),
            None => Err(Problem::new(
                ErrorKind::UNAVAILABLE,
                "the server is starting",
            )),
        };
        if let Err(problem) = admitted {
            return Ok(request.into_response(refusal(&problem)));
        }
    }
    next.call(request)
        .await
        .map(ServiceResponse::map_into_boxed_body)
}

/// The answer to who may not, or whose request failed.
pub fn refusal(problem: &Problem) -> HttpResponse {
    let mut response = reply::problem(problem, Format::Json);
    if response.status() == StatusCode::UNAUTHORIZED {
        reply::set(&mut response, header::WWW_AUTHENTICATE, "Bearer");
    }
    response
}

/// The name of who asks, for the audit trail.
///
/// # Errors
/// `unauthenticated` for a missing or wrong token, `forbidden` when there is none and the server is reachable.
pub fn admit(server: &Server, request: &HttpRequest) -> Result<&'static str, Problem> {
    let Some(token) = &server.config.admin_token else {
        return open(server, request);
    };
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if given.is_some_and(|given| is_same(given, token.reveal())) {
        return Ok(ADMIN_AGENT);
    }
    let text = "give the admin token: `Authorization: Bearer …`, on the command line `--token` or STOKER_ADMIN_TOKEN";
    Err(Problem::new(ErrorKind::UNAUTHENTICATED, text))
}

fn open(server: &Server, request: &HttpRequest) -> Result<&'static str, Problem> {
    let is_here = request
        .peer_addr()
        .is_some_and(|peer| peer.ip().is_loopback());
    if !is_here || !server.config.http.ip().is_loopback() {
        let text = "administration over the network needs a token: start the server with STOKER_ADMIN_TOKEN set";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text));
    }
    // A page of some other site, shown in a browser on this machine, comes from this machine too.
    let fetched = request
        .headers()
        .get(HeaderName::from_static("sec-fetch-site"));
    let is_foreign = fetched.is_some_and(|site| site != "same-origin" && site != "none");
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|h| h.to_str().ok());
    if is_foreign || !host.is_some_and(is_loopback_name) {
        let text = "administration without a token is for programs and pages of this machine only";
        return Err(Problem::new(ErrorKind::FORBIDDEN, text));
    }
    Ok(OPEN_AGENT)
}

/// A name of a site elsewhere can be made to stand for this machine; what the client calls us shows it.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Takes the same time wherever they differ: of the hashes nothing can be learnt about the token.
fn is_same(given: &str, token: &str) -> bool {
    let (given, token) = (Sha256::digest(given), Sha256::digest(token));
    let difference = given
        .iter()
        .zip(token.iter())
        .fold(0_u8, |sum, (a, b)| sum | (a ^ b));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same("0123456789abcdef", "0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            assert!(!is_same(other, "0123456789abcdef"), "{other}");
        }
    }

    #[test]
    fn names_of_this_machine_are_known() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "example.org:80",
            "127.0.0.1.example.org",
            "10.0.0.1:80",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
