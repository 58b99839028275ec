//! The limits of this machine that benchmarks print beside Stoker's figures: actix handlers that do nothing else.
//!
//! * `GET /constant`: a constant body of one Observation.
//! * `GET /bundle`: a constant searchset of 50 Observations.
//! * `POST /parse`: parses the JSON body and answers without storing it.

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use fhir_core::json::Document;
use system_tests::synthetic;

const FHIR_JSON: &str = "application/fhir+json";

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let workers = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(2);
    let one = Bytes::from(synthetic::observation(1, 100));
    let mut searchset = String::from(r#"{"resourceType":"Bundle","type":"searchset","entry":["#);
    for number in 0..50 {
        let comma = if number > 0 { "," } else { "" };
        let resource = synthetic::observation(number, 100);
        searchset.push_str(&format!(
            r#"{comma}{{"fullUrl":"http://127.0.0.1/fhir/Observation/{number}","resource":{resource},"search":{{"mode":"match"}}}}"#
        ));
    }
    searchset.push_str("]}");
    let searchset = Bytes::from(searchset);
    let server = HttpServer::new(move || {
        let (one, searchset) = (one.clone(), searchset.clone());
        App::new()
            .route("/constant", web::get().to(move || constant(one.clone())))
            .route(
                "/bundle",
                web::get().to(move || constant(searchset.clone())),
            )
            .route("/parse", web::post().to(parse))
    })
    .workers(workers)
    .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("listening {address}");
    }
    server.run().await
}

async fn constant(body: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type(FHIR_JSON).body(body)
}

async fn parse(body: Bytes) -> HttpResponse {
    match Document::parse(&body) {
        Ok(document) if document.root().is_object() => {
            HttpResponse::Created().content_type(FHIR_JSON).body("{}")
        }
        _ => HttpResponse::BadRequest().finish(),
    }
}
