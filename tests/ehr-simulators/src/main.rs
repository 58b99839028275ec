//! A simulator to start by hand: `ehr-simulator epic|oracle [port]`.
//!
//! Spec: none. It runs on the real clock. Leaves out keys: the client `demo` with the secret `demo` may ask for everything.

use ehr_simulators::{Client, Simulator, Vendor, World, wall_clock_s};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut words = std::env::args().skip(1);
    let vendor = match words.next().as_deref() {
        Some("epic") => Vendor::Epic,
        Some("oracle") => Vendor::Oracle,
        _ => {
            eprintln!("usage: ehr-simulator epic|oracle [port]");
            return Ok(());
        }
    };
    let port = words.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let client = Client {
        id: "demo".to_owned(),
        jwks: None,
        secret: Some("demo".to_owned()),
        scopes: ["Patient.rs", "Observation.rs", "Observation.c"]
            .map(|what| format!("system/{what}"))
            .to_vec(),
    };
    let mut world = World::synthetic(vendor, 10, 200);
    world.advance_s(wall_clock_s() - world.now_s());
    let people: Vec<String> = world.people.keys().cloned().collect();
    let simulator = Simulator::start(vendor, port, world, client).await?;
    println!("fhir_base = \"{}\"", simulator.base());
    println!("client_id = \"demo\", secret \"demo\"");
    for id in people {
        println!("patient {id}");
    }
    simulator.keep_time().await;
    Ok(())
}
