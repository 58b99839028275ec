//! The order in which a sender delivers changes nothing, and a changed mapping changes what was sent before.

use fhir_core::json::Value;
use system_tests::device_folder::{Delivery, observations, register, send, send_all, shuffled};
use system_tests::http_client::Client;
use system_tests::postgres::Postgres;
use system_tests::server::TestServer;

use super::{json, text};

/// Payloads of a sender that overlap, repeat, correct and contradict each other.
fn deliveries() -> Vec<Delivery> {
    let rows = |from: u32, to: u32, device: &str| -> String {
        let row = |n: u32| {
            format!(
                "{{\"deviceId\":\"{device}\",\"t\":\"2026-03-01T09:{:02}:{:02}Z\",\"hr\":{}}}\n",
                n / 60,
                n % 60,
                60 + n % 40
            )
        };
        (from..to).map(row).collect()
    };
    let at =
        |values: &str| format!("{{\"deviceId\":\"d1\",\"t\":\"2026-03-01T09:00:07Z\",{values}}}");
    let weight = |revision: u32, kg: &str| {
        format!(
            r#"{{"deviceId":"d1","t":"2026-03-01T09:00:00Z","id":"w1","revision":{revision},"weight_kg":{kg}}}"#
        )
    };
    let payloads = [
        rows(0, 40, "d1"),
        rows(20, 60, "d1"),
        rows(0, 30, "d2"),
        at(r#""hr":99"#),
        at(r#""hr":67.0"#),
        at(r#""hr":98"#),
        format!("[{},{}]", at(r#""spo2":97"#), at(r#""spo2":91"#)),
        at(r#""spo2":97"#),
        at(r#""systolic":120,"diastolic":80"#),
        at(r#""systolic":120,"diastolic":81"#),
        at(r#""temp":37.0"#),
        at(r#""temp":37.00"#),
        weight(1, "80.1"),
        weight(3, "80.3"),
        weight(2, "80.2"),
    ];
    let delivery = |text: String| Delivery {
        file: "a".into(),
        path: "/ingest/generic-json".into(),
        method: "POST",
        media_type: "application/octet-stream",
        bytes: text.into_bytes(),
        devices: ["d1".to_owned(), "d2".to_owned()].into(),
    };
    payloads.into_iter().map(delivery).collect()
}

fn check(start: impl Fn(u64) -> TestServer) {
    let deliveries = deliveries();
    let count = deliveries.len();
    let mut expected = None;
    for seed in 0..4 {
        let server = start(seed);
        let mut client = Client::connect(server.doors.http).unwrap();
        register(&mut client, &deliveries).unwrap();
        let order = match seed {
            0 => (0..count).collect(),
            seed => shuffled(count, seed),
        };
        let (left, right) = order.split_at(count / 2);
        let orders = match seed {
            0 => vec![order.clone()],
            1 => vec![[order.clone(), order.clone()].concat()],
            _ => vec![left.to_vec(), right.to_vec()],
        };
        send_all(server.doors.http, &deliveries, &orders).unwrap();
        let mut client = Client::connect(server.doors.http).unwrap();
        let found = observations(&mut client).unwrap();
        let expected = expected.get_or_insert_with(|| found.clone());
        let all = expected.keys().chain(found.keys());
        let differing = all.filter(|id| found.get(*id) != expected.get(*id));
        let differing: Vec<String> = differing
            .map(|id| {
                format!(
                    "{:?}
{:?}",
                    expected.get(id).map(Value::to_string),
                    found.get(id).map(Value::to_string)
                )
            })
            .collect();
        assert!(
            differing.is_empty(),
            "seed {seed}: {}",
            differing.join(
                "

"
            )
        );
    }
    let found = expected.unwrap_or_default();
    // 60 and 30 rates, a saturation, a pressure, a temperature and a weight.
    assert_eq!(found.len(), 94);
    let marked = found
        .values()
        .filter(|one| one.get("dataAbsentReason").is_some());
    assert_eq!(
        marked.count(),
        2,
        "the rate and the saturation that were told twice"
    );
    let numbers: Vec<&str> = found
        .values()
        .filter_map(|one| one.get("valueQuantity")?.get("value")?.number_text())
        .collect();
    assert!(
        numbers.contains(&"80.3") && numbers.contains(&"37.00"),
        "{numbers:?}"
    );
}

/// Verifies: SRS-350, RC-350
#[test]
fn any_order_gives_the_same_observations() {
    let folder = tempfile::tempdir().unwrap();
    check(|seed| TestServer::start(&folder.path().join(format!("{seed}.db"))).unwrap());
}

/// Verifies: SRS-350, RC-350
#[test]
fn any_order_gives_the_same_observations_on_postgresql() {
    if Postgres::start().unwrap().is_none() {
        return;
    }
    let servers = std::cell::RefCell::new(Vec::new());
    check(|_| {
        let postgres = Postgres::start().unwrap().unwrap();
        let server = TestServer::start_on(&postgres.url, &[]).unwrap();
        servers.borrow_mut().push(postgres);
        server
    });
}

const MAPPING: &str = "payload: thermo\nversion: VERSION\ninput: json\nzone: payload\ndevice: =dev\nrules:\n- measurement: body-temperature\n  value: =c\n  unit: UNIT\n  time: =when\ntests:\n- name: one\n  in: '{\"dev\":\"d1\",\"when\":\"2026-03-01T09:00:00Z\",\"c\":98.6}'\n  out:\n  - body-temperature 98.6 UNIT at 2026-03-01T09:00:00+00:00 device=d1\n";

/// Verifies: SRS-351
#[test]
fn a_changed_mapping_and_a_replay_give_new_values_with_history() {
    let folder = tempfile::tempdir().unwrap();
    let mappings = folder.path().join("devices");
    std::fs::create_dir(&mappings).unwrap();
    let write = |text: &str| std::fs::write(mappings.join("thermo.yaml"), text).unwrap();
    let database = folder.path().join("it.db");
    let arguments = ["--device-mappings", mappings.to_str().unwrap()];
    let delivery = Delivery {
        path: "/ingest/thermo".into(),
        bytes: br#"{"dev":"d1","when":"2026-03-01T09:00:00Z","c":98.6}"#.to_vec(),
        ..deliveries().remove(0)
    };
    // A mapping that takes degrees Fahrenheit for degrees Celsius: too hot to be true, so nothing is stored.
    write(&MAPPING.replace("VERSION", "1.0.0").replace("UNIT", "Cel"));
    let message = {
        let server = TestServer::start_with(&database, &arguments).unwrap();
        let mut client = Client::connect(server.doors.http).unwrap();
        register(&mut client, std::slice::from_ref(&delivery)).unwrap();
        let (status, answer) = send(&mut client, &delivery).unwrap();
        assert_eq!(
            (status, text(&answer, &["results", "0", "outcome"])),
            (207, "implausible".into())
        );
        text(&answer, &["messages", "0"])
    };
    let replay = |client: &mut Client| -> Value {
        let path = format!("/admin/quarantine/{message}/replay");
        json(&client.request("POST", &path, &[], b"").unwrap())
    };
    let fixed = MAPPING
        .replace("VERSION", "1.1.0")
        .replace("unit: UNIT", "unit: '[degF]'")
        .replace("UNIT", "[degF]");
    write(&fixed);
    let reference = {
        let server = TestServer::start_with(&database, &arguments).unwrap();
        let mut client = Client::connect(server.doors.http).unwrap();
        let answer = replay(&mut client);
        text(&answer, &["results", "0", "reference"])
    };
    // And once more, now marked as typed in by hand.
    let third = MAPPING
        .replace("VERSION", "1.2.0")
        .replace("unit: UNIT", "unit: '[degF]'\n  manual: dev")
        .replace(
            "UNIT at 2026-03-01T09:00:00+00:00 device=d1",
            "[degF] at 2026-03-01T09:00:00+00:00 device=d1 by hand",
        );
    write(&third);
    let server = TestServer::start_with(&database, &arguments).unwrap();
    let mut client = Client::connect(server.doors.http).unwrap();
    let answer = replay(&mut client);
    assert_eq!(text(&answer, &["results", "0", "reference"]), reference);
    let now = json(&client.get(&format!("/fhir/{reference}")).unwrap());
    assert_eq!(text(&now, &["meta", "versionId"]), "2");
    assert_eq!(text(&now, &["meta", "tag", "0", "code"]), "manual-entry");
    let before = json(
        &client
            .get(&format!("/fhir/{reference}/_history/1"))
            .unwrap(),
    );
    assert_eq!(text(&before, &["valueQuantity", "code"]), "[degF]");
    assert!(
        before
            .get("meta")
            .and_then(|meta| meta.get("tag"))
            .is_none()
    );
}
