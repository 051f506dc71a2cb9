//! Serves the demo's fleet: `cargo run -p fleet-sim --example serve -- 127.0.0.1:9300 DIR` also writes one file_sd
//! document per metacluster into DIR.

use fleet_sim::{Fleet, FleetConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listener = tokio::net::TcpListener::bind(arguments.next().as_deref().unwrap_or("127.0.0.1:0")).await?;
    let address = listener.local_addr()?.to_string();
    let fleet = Fleet::new(FleetConfig::default())?;
    if let Some(folder) = arguments.next() {
        for metacluster in fleet.metaclusters() {
            let document = serde_json::to_string_pretty(&fleet.file_sd(&metacluster.name, &address))?;
            std::fs::write(format!("{folder}/{}.json", metacluster.name), document)?;
        }
    }
    println!("serving on http://{address}/");
    axum::serve(listener, fleet.router()).await?;
    Ok(())
}
