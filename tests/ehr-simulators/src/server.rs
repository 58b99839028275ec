//! The listener: one task per connection, one request after the other.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc9112>. Leaves out TLS: loopback only.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{State, lock, wire};

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// What answers a request.
pub(crate) type Handler = fn(&mut State, &wire::Request) -> wire::Response;

pub(crate) async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, handler: Handler) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(connection(stream, state.clone(), handler));
    }
}

async fn connection(mut stream: TcpStream, state: Arc<Mutex<State>>, handler: Handler) {
    let mut buffer: Vec<u8> = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let (response, date) = {
            let mut state = lock(&state);
            let response = handler(&mut state, &request);
            (response, state.world.http_date())
        };
        if stream.write_all(&response.to_bytes(&date)).await.is_err() || response.cut {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<wire::Request> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(buffer.get(..at)?).into_owned();
            let mut request = wire::parse_head(&head)?;
            let length: usize = request
                .header("content-length")
                .map_or(Some(0), |text| text.parse().ok())?;
            let end = at + 4 + length;
            if buffer.len() >= end {
                request.body = buffer.get(at + 4..end)?.to_vec();
                buffer.drain(..end);
                return Some(request);
            }
        }
        if buffer.len() > REQUEST_BYTES_MAX {
            return None;
        }
        let mut chunk = [0_u8; 16 * 1024];
        let count = stream.read(&mut chunk).await.ok()?;
        if count == 0 {
            return None;
        }
        buffer.extend(chunk.iter().take(count));
    }
}
