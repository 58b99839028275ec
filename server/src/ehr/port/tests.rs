//! The contract of the port on a real database.

use std::sync::Arc;

use super::*;
use crate::config::Config;

async fn server(folder: &std::path::Path) -> Arc<Server> {
    let config = Config {
        database: format!("sqlite:{}", folder.join("port.db").display()),
        ..Config::default()
    };
    let http = config.http;
    Server::open(config, http).await.unwrap()
}

/// Verifies: SRS-200, RC-200
#[tokio::test]
async fn the_port_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let port = ServerPort::new(Arc::clone(&server), "t");
    ehr::contract::check(&port).await.unwrap();
    server.store.close().await;
}
