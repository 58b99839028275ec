//! End to end: the real program, asked over HTTP and MLLP as a user would.

mod conformance;
mod device_broker;
mod device_hourly;
mod device_order;
mod devices;
mod examples;
mod feeds;
mod hl7_policies;
mod hl7_robustness;
mod hl7_scenarios;
mod message_state;
mod messages;
mod read_back;
mod references;
mod rest;
mod rest_more;
mod search_more;
mod validation;

use fhir_core::json::Value;
use system_tests::http_client::{Client, Response};
use system_tests::server::TestServer;

/// A server of its own for each test; it ends with the test.
struct Ground {
    server: TestServer,
    _folder: tempfile::TempDir,
}

impl Ground {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let server = TestServer::start(&folder.path().join("it.db")).expect("start");
        Self {
            server,
            _folder: folder,
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.server.doors.http).expect("connect")
    }
}

fn json(response: &Response) -> Value {
    Value::parse(&response.body).unwrap_or_else(|e| panic!("{e}: {}", response.text()))
}

/// The resources of a Bundle.
fn resources(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{}", response.text());
    let bundle = json(response);
    let entries = bundle
        .get("entry")
        .and_then(Value::as_array)
        .unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry.get("resource").cloned())
        .collect()
}

/// Follows names and array places down a value; the text at the end.
fn text(value: &Value, path: &[&str]) -> String {
    let mut at = value;
    for step in path {
        let next = match step.parse::<usize>() {
            Ok(index) => at.as_array().and_then(|items| items.get(index)),
            Err(_) => at.get(step),
        };
        at = next.unwrap_or_else(|| panic!("no `{step}` of {path:?} in {value}"));
    }
    at.as_str()
        .or_else(|| at.number_text())
        .map_or_else(|| at.to_string(), str::to_owned)
}
