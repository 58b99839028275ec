//! A simulator to start by hand: `ehr-simulator epic|oracle [port]`.
//!
//! Spec: none. Leaves out keys: the client `demo` with the secret `demo` may ask for everything.

use ehr_simulators::{Client, Simulator, Vendor, World};

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
        scopes: ["Patient", "Observation"]
            .map(|name| format!("system/{name}.rs"))
            .to_vec(),
    };
    let world = World::synthetic(vendor, 10, 200);
    let people: Vec<String> = world.people.keys().cloned().collect();
    let simulator = Simulator::start(vendor, port, world, client).await?;
    println!("fhir_base = \"{}\"", simulator.base());
    println!("client_id = \"demo\", secret \"demo\"");
    for id in people {
        println!("patient {id}");
    }
    std::future::pending().await
}
