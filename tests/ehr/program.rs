//! The real program with tenants: from a file, registered, on a schedule, killed at any page, asked over HTTP.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ehr::auth::keys::KeyRing;
use ehr::clock::{Machine, Surroundings as _};
use ehr::identity::local_id;
use ehr_simulators::{Client as EhrClient, Simulator, Vendor, World, wall_clock_s};
use fhir_core::json::Value;
use system_tests::http_client::{Client, Response};
use system_tests::process::{Process, built_program};

/// Longest wait for a run; a loaded machine is slow.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A simulator and the folder of a server that copies it.
pub struct Ground {
    pub simulator: Simulator,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Ground {
    pub fn new(vendor: Vendor, people: u64, rows: u64, skew_s: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = KeyRing::open(&folder.path().join("keys")).unwrap();
        ring.rotate(Machine.now(), 7).unwrap();
        let client = EhrClient {
            id: "client-1".to_owned(),
            jwks: Some(ring.jwks().unwrap()),
            secret: None,
            scopes: ["Patient", "Observation"]
                .map(|of| format!("system/{of}.rs"))
                .to_vec(),
        };
        let mut world = World::synthetic(vendor, people, rows);
        world.advance_s(wall_clock_s() + skew_s - world.now_s());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let simulator = runtime
            .block_on(Simulator::start(vendor, 0, world, client))
            .unwrap();
        Self {
            simulator,
            folder,
            runtime,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The tenant's file.
    pub fn toml(&self, vendor: &str, extra: &str) -> String {
        let patients = self.simulator.with(|state| {
            let ids = state.world.people.keys().map(|id| format!("{id:?}"));
            ids.collect::<Vec<_>>().join(", ")
        });
        format!(
            "tenant = \"north\"\nvendor = \"{vendor}\"\nfhir_base = \"{}\"\nclient_id = \"client-1\"\n\
             types = [\"Patient\", \"Observation\"]\n{extra}\n\
             auth = {{ method = \"private-key-jwt\", keys = {:?} }}\n\
             cohort = {{ patients = [{patients}] }}\n[profile]\npage_size = 7\n",
            self.simulator.base(),
            self.path("keys"),
        )
    }

    pub fn server(&self) -> Served {
        Served::start(&self.path("stoker.db"), None)
    }

    /// What the source holds: id and digits.
    fn there(&self) -> BTreeMap<String, String> {
        self.simulator.with(|state| {
            let world = &state.world;
            let rows = world.rows.iter().map(|row| {
                let id = local_id("north", "Observation", &row.id);
                (id, digits(&world.render(row, "", false)))
            });
            rows.collect()
        })
    }

    pub fn assert_equal(&self, client: &mut Client) {
        let mut here = BTreeMap::new();
        let mut path = "/fhir/Observation?_count=1000".to_owned();
        loop {
            let bundle = json(&client.get(&path).unwrap());
            for entry in bundle
                .get("entry")
                .and_then(Value::as_array)
                .unwrap_or_default()
            {
                let body = entry.get("resource").unwrap();
                let id = body.get("id").and_then(Value::as_str).unwrap().to_owned();
                let version = body.get("meta").and_then(|meta| meta.get("versionId"));
                assert_eq!(
                    version.and_then(Value::as_str),
                    Some("1"),
                    "nothing was written twice"
                );
                assert!(here.insert(id, digits(body)).is_none());
            }
            let links = bundle
                .get("link")
                .and_then(Value::as_array)
                .unwrap_or_default();
            let next = links
                .iter()
                .find(|link| link.get("relation").and_then(Value::as_str) == Some("next"));
            let Some(next) = next.and_then(|link| link.get("url")?.as_str()) else {
                break;
            };
            path = next[next.find("/fhir").unwrap()..].to_owned();
        }
        assert_eq!(here, self.there());
    }
}

/// All digits of a resource, in order.
fn digits(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("{} ", number.as_str()),
        Value::Array(items) => items.iter().map(digits).collect(),
        Value::Object(members) => members.iter().map(|(_, item)| digits(item)).collect(),
        _ => String::new(),
    }
}

pub fn json(response: &Response) -> Value {
    Value::parse(&response.body).unwrap_or_else(|e| panic!("{e}: {}", response.text()))
}

pub fn number(value: &Value, path: &[&str]) -> i64 {
    let found = path.iter().try_fold(value, |at, name| at.get(name));
    let text = found.and_then(Value::number_text);
    text.unwrap_or_else(|| panic!("no {path:?} in {value}"))
        .parse()
        .unwrap()
}

pub struct Served {
    pub address: std::net::SocketAddr,
    pub process: Process,
    pub client: Client,
}

impl Served {
    fn start(database: &Path, tenants: Option<&Path>) -> Self {
        let mut command = Command::new(built_program("stoker").unwrap());
        command.args(["serve", "--http", "127.0.0.1:0", "--mllp", "off"]);
        command.args(["--database", &format!("sqlite:{}", database.display())]);
        if let Some(tenants) = tenants {
            command.arg("--tenants").arg(tenants);
        }
        command.env("RUST_LOG", "error");
        let mut process = Process::start_with(&mut command).unwrap();
        let address = process.wait_for(Duration::from_secs(60), |line| {
            line.strip_prefix("listening http ")?.trim().parse().ok()
        });
        let address = address.unwrap();
        let client = Client::connect(address).unwrap();
        Self {
            address,
            process,
            client,
        }
    }

    /// Asks as a page of another site would.
    pub fn foreign(&mut self, method: &str, path: &str) -> u16 {
        let headers = [("sec-fetch-site", "cross-site")];
        let answer = self.client.request(method, path, &headers, b"");
        answer.unwrap().status
    }

    pub fn register(&mut self, toml: &str) {
        let answer = self.client.post("/admin/tenants", toml.as_bytes()).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    }

    pub fn tenant(&mut self) -> Value {
        json(&self.client.get("/admin/tenants/north").unwrap())
    }

    /// Starts a run and waits for its record; answers outcome and report.
    pub fn run(&mut self) -> Value {
        let before = runs(&self.tenant()).len();
        let answer = self.client.post("/admin/tenants/north/run", b"").unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        self.wait_for_run(before)
    }

    pub fn wait_for_run(&mut self, before: usize) -> Value {
        let deadline = Instant::now() + RUN_LIMIT;
        loop {
            let state = self.tenant();
            let runs = runs(&state);
            let closed = state.get("running").and_then(Value::as_bool) == Some(false);
            if closed && runs.len() > before {
                return runs[0].clone();
            }
            assert!(Instant::now() < deadline, "the run did not end: {state}");
            std::thread::yield_now();
        }
    }
}

pub fn runs(tenant: &Value) -> Vec<Value> {
    let runs = tenant.get("runs").and_then(Value::as_array);
    runs.unwrap_or_else(|| panic!("no runs in {tenant}"))
        .to_vec()
}

pub fn outcome(run: &Value) -> &str {
    run.get("outcome").and_then(Value::as_str).unwrap()
}

/// Verifies: SRS-201, RC-201
#[test]
fn a_registered_tenant_runs_and_survives_a_restart() {
    let ground = Ground::new(Vendor::Oracle, 2, 25, 0);
    let mut server = ground.server();
    server.register(&ground.toml("oracle", ""));
    let run = server.run();
    assert_eq!(outcome(&run), "complete", "{run}");
    assert_eq!(number(&run, &["report", "counts", "new"]), 2 + 50);
    ground.assert_equal(&mut server.client);

    let complete = json(
        &server
            .client
            .get("/admin/tenants/north/completeness")
            .unwrap(),
    );
    assert_eq!(
        number(&complete, &["total"]),
        number(&server.tenant(), &["searches"])
    );
    let gaps = "/admin/tenants/north/completeness?incomplete=true";
    assert_eq!(
        number(&json(&server.client.get(gaps).unwrap()), &["total"]),
        0
    );
    let basics = json(
        &server
            .client
            .get("/fhir/Basic?code=ehr-completeness")
            .unwrap(),
    );
    assert!(
        !basics
            .get("entry")
            .and_then(Value::as_array)
            .unwrap()
            .is_empty()
    );

    server.process.kill().unwrap();
    let mut server = ground.server();
    let run = server.run();
    assert_eq!(outcome(&run), "complete");
    assert_eq!(number(&run, &["report", "counts", "new"]), 0);
    let counts = server.tenant().get("counts").cloned().unwrap();
    assert_eq!(
        counts.get("addsUp").and_then(Value::as_bool),
        Some(true),
        "{counts}"
    );
    ground.assert_equal(&mut server.client);

    let id = ground
        .simulator
        .with(|state| state.world.rows[0].id.clone());
    let source = format!("/admin/tenants/north/source?type=Observation&id={id}");
    let raw = server.client.get(&source).unwrap();
    assert_eq!(raw.status, 200, "{}", raw.text());
    assert_eq!(json(&raw).get("id").and_then(Value::as_str), Some(&*id));
    drop(ground.runtime);
}

/// A `kill -9` after any number of answers: the next process goes on at the page, nothing is lost or doubled.
///
/// Verifies: SRS-200, RC-200
#[test]
fn kill_9_at_any_page_loses_and_doubles_nothing() {
    let ground = Ground::new(Vendor::Epic, 2, 40, 0);
    let toml = ground.toml("epic", "");
    let mut kills = 0;
    for answers in 1.. {
        let mut server = ground.server();
        server.register(&toml);
        // More every round: pages that were asked for and not stored are asked for again.
        let target = ground.simulator.requests() + answers;
        let begun = server.client.post("/admin/tenants/north/run", b"").unwrap();
        assert_eq!(begun.status, 202);
        let deadline = Instant::now() + RUN_LIMIT;
        let mut is_done = false;
        while ground.simulator.requests() < target && !is_done {
            let state = server.tenant();
            // Not before it is closed: until then another run is refused.
            let closed = state.get("running").and_then(Value::as_bool) == Some(false);
            is_done = closed && !runs(&state).is_empty();
            assert!(Instant::now() < deadline, "nothing moves");
        }
        if is_done {
            // A page session that a kill broke off too often is told and goes on with the next run.
            let first = runs(&server.tenant())[0].clone();
            let ended = outcome(&first) == "complete"
                || (0..5).any(|_| outcome(&server.run()) == "complete");
            assert!(ended, "{}", server.tenant());
            ground.assert_equal(&mut server.client);
            let state = server.tenant();
            let counts = state.get("counts").unwrap();
            assert_eq!(counts.get("addsUp").and_then(Value::as_bool), Some(true));
            assert_eq!(number(counts, &["new"]), 2 + 80, "{counts}");
            break;
        }
        kills += 1;
        server.process.kill().unwrap();
    }
    assert!(kills >= 3, "the run was interrupted {kills} times");
}

/// Throttling, HTML errors, forgotten tokens, dead pages, cut answers, and a clock ten minutes off.
///
/// Verifies: SRS-201, RC-201
#[test]
fn with_faults_and_a_wrong_clock_the_copy_equals_the_source() {
    let ground = Ground::new(Vendor::Epic, 2, 30, 600);
    ground.simulator.with(|state| {
        state.faults.throttle_every = 11;
        state.faults.html_503_every = 13;
        state.faults.expire_token_every = 7;
        state.faults.kill_pages_every = 17;
        state.faults.cut_every = 19;
    });
    let mut server = ground.server();
    server.register(&ground.toml("epic", ""));
    let ended = (0..5).any(|_| outcome(&server.run()) == "complete");
    assert!(ended, "{}", server.tenant());
    ground.assert_equal(&mut server.client);
    let counts = server.tenant().get("counts").cloned().unwrap();
    assert_eq!(
        counts.get("addsUp").and_then(Value::as_bool),
        Some(true),
        "{counts}"
    );
}

/// What the source stops to grant is named, and nothing is deleted for it; granted again, it goes on.
///
/// Verifies: SRS-202, RC-202
#[test]
fn a_withdrawn_scope_is_a_named_gap() {
    let ground = Ground::new(Vendor::Oracle, 1, 20, 0);
    let mut server = ground.server();
    server.register(&ground.toml("oracle", ""));
    assert_eq!(outcome(&server.run()), "complete");
    ground.simulator.with(|state| {
        state
            .client
            .scopes
            .retain(|scope| !scope.contains("Observation"))
    });
    let run = server.run();
    assert!(
        run.to_string().contains("Observation"),
        "a withdrawn scope is named: {run}"
    );
    ground.assert_equal(&mut server.client);
    ground.simulator.with(|state| {
        state.client.scopes.push("system/Observation.rs".to_owned());
        let patient = state.world.people.keys().next().cloned().unwrap();
        let now = state.world.now_s();
        // True ten years ago, filed now.
        state
            .world
            .add_number(&patient, 1, now - 3_650 * 86_400, now);
        state.world.advance_s(120);
    });
    let run = server.run();
    assert_eq!(number(&run, &["report", "counts", "new"]), 1, "{run}");
    ground.assert_equal(&mut server.client);
}

/// Verifies: SRS-203, RC-203
#[test]
fn tenants_of_the_folder_run_on_their_schedule_and_cannot_be_removed() {
    let ground = Ground::new(Vendor::Epic, 1, 5, 0);
    let folder = ground.path("tenants");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("north.toml");
    std::fs::write(&file, ground.toml("epic", "every_min = 60")).unwrap();
    let mut server = Served::start(&ground.path("stoker.db"), Some(&folder));
    let run = server.wait_for_run(0);
    assert_eq!(outcome(&run), "complete");
    ground.assert_equal(&mut server.client);
    let answer = server
        .client
        .request("DELETE", "/admin/tenants/north", &[], b"")
        .unwrap();
    assert_eq!(answer.status, 409);
    let again = server
        .client
        .post("/admin/tenants", ground.toml("epic", "").as_bytes());
    assert_eq!(again.unwrap().status, 409);
    for (method, path) in [
        ("GET", "/admin/tenants"),
        ("POST", "/admin/tenants"),
        ("GET", "/admin/tenants/north"),
        ("DELETE", "/admin/tenants/north"),
        ("POST", "/admin/tenants/north/run"),
        ("POST", "/admin/tenants/north/normalise"),
        ("GET", "/admin/tenants/north/observations"),
        ("POST", "/admin/tenants/north/observations"),
        ("DELETE", "/admin/tenants/north/observations/x"),
        ("GET", "/admin/tenants/north/completeness"),
        ("GET", "/admin/tenants/north/reviews"),
        ("DELETE", "/admin/tenants/north/reviews/x"),
        ("GET", "/admin/tenants/north/source?type=Patient&id=x"),
    ] {
        assert_eq!(server.foreign(method, path), 403, "{method} {path}");
    }
    let set = json(&server.client.get("/ehr/jwks.json").unwrap());
    let keys = set.get("keys").and_then(Value::as_array).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].get("d").is_none(), "no private part");
    assert_eq!(
        server.client.get("/ehr/south/jwks.json").unwrap().status,
        404
    );
}

/// Verifies: SRS-203, RC-203
#[test]
fn a_file_that_cannot_be_used_is_refused_with_its_line() {
    let ground = Ground::new(Vendor::Epic, 1, 1, 0);
    let mut server = ground.server();
    for (toml, needle) in [
        (ground.toml("epic", "colour = 1"), "line 6"),
        (ground.toml("epik", ""), "epik"),
        (ground.toml("epic", "every_min = 0"), "every_min"),
        ("tenant = ".to_owned(), "line 1"),
    ] {
        let answer = server
            .client
            .post("/admin/tenants", toml.as_bytes())
            .unwrap();
        assert_eq!(answer.status, 400, "{needle}");
        assert!(
            answer.text().contains(needle),
            "{needle}: {}",
            answer.text()
        );
    }
    for path in ["/admin/tenants/north", "/admin/tenants/north/completeness"] {
        assert_eq!(server.client.get(path).unwrap().status, 404);
    }
    let list = json(&server.client.get("/admin/tenants").unwrap());
    assert_eq!(
        list.get("tenants")
            .and_then(Value::as_array)
            .map(<[Value]>::len),
        Some(0)
    );
}
