//! Feeds TEMPORARY
use std::net::SocketAddr;
use std::sync::Arc;
use crate::app::Server;
pub struct Feeds { address: Option<SocketAddr> }
impl Feeds {
    pub fn none() -> Self { Self { address: None } }
    pub async fn start(_: &Arc<Server>, address: SocketAddr) -> Result<Self, String> { Ok(Self { address: Some(address) }) }
    pub fn address(&self) -> Option<SocketAddr> { self.address }
    pub async fn stop(&self) {}
}
