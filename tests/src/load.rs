//! A load on loopback: so many connections, so many requests, then it stops by itself.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::http_client::Client;
use crate::process::cpu_seconds;

/// A request of a load.
pub struct Request {
    /// HTTP method.
    pub method: &'static str,
    /// Path with query.
    pub path: String,
    /// Body, empty for none.
    pub body: Vec<u8>,
}

/// What a load measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Requests answered.
    pub requests: u64,
    /// Answers with a status of 400 or more.
    pub refused: u64,
    /// Wall time in seconds.
    pub seconds: f64,
    /// CPU seconds of the server under load.
    pub server_cpu: f64,
    /// CPU seconds of the load itself.
    pub load_cpu: f64,
    /// Bytes of all answers' bodies.
    pub body_bytes: u64,
    /// Sorted latencies in microseconds.
    latencies: Vec<u32>,
}

impl Measured {
    /// Requests a second of wall time.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds.max(1e-9)
    }

    /// Server CPU microseconds a request.
    pub fn cpu_micros(&self) -> f64 {
        self.server_cpu * 1e6 / self.requests.max(1) as f64
    }

    /// The latency in milliseconds that this share of the requests did not exceed.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let at = ((self.latencies.len() as f64 * share) as usize)
            .min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(at)
            .map_or(0.0, |l| f64::from(*l) / 1000.0)
    }
}

/// What one exchange of a load came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exchanged {
    /// Whether the server did not do what it was asked.
    pub is_refused: bool,
    /// Bytes of the answer's body.
    pub body_bytes: u64,
}

/// One connection of a load: sends the n-th of all and reads the answer.
pub type Connection<'a> = Box<dyn FnMut(u64) -> io::Result<Exchanged> + 'a>;

/// How much a load is.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Connections at the same time.
    pub connections: usize,
    /// Exchanges of all connections.
    pub total: u64,
    /// Stops early after this.
    pub longest: Duration,
    /// Exchanges a second; `None` for as many as there can be. Latencies count from the time an exchange was due.
    pub pace: Option<f64>,
}

/// Runs `total` requests over `connections`; `make(n)` builds the n-th. Stops early after `longest`.
///
/// # Errors
/// When a connection breaks.
pub fn run(
    address: SocketAddr,
    server: u32,
    connections: usize,
    total: u64,
    longest: Duration,
    make: &(dyn Fn(u64) -> Request + Sync),
) -> io::Result<Measured> {
    let amount = Amount {
        connections,
        total,
        longest,
        pace: None,
    };
    run_each(server, amount, &|| {
        let mut client = Client::connect(address)?;
        Ok(Box::new(move |number| {
            let request = make(number);
            let headers: &[(&str, &str)] = if request.body.is_empty() {
                &[]
            } else {
                &[("content-type", "application/fhir+json")]
            };
            let response = client.request(request.method, &request.path, headers, &request.body)?;
            Ok(Exchanged {
                is_refused: response.status >= 400,
                body_bytes: response.body.len() as u64,
            })
        }))
    })
}

/// Runs exchanges over connections that `connect` makes.
///
/// # Errors
/// When a connection breaks.
pub fn run_each<'a>(
    server: u32,
    amount: Amount,
    connect: &(dyn Fn() -> io::Result<Connection<'a>> + Sync),
) -> io::Result<Measured> {
    let next = AtomicU64::new(0);
    let (server_before, load_before) = (cpu_seconds(&server.to_string()), cpu_seconds("self"));
    let start = Instant::now();
    let parts: Vec<io::Result<Measured>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..amount.connections)
            .map(|_| scope.spawn(|| connection(&next, start, amount, connect)))
            .collect();
        let joined = threads.into_iter().map(|t| {
            t.join()
                .unwrap_or_else(|_| Err(io::Error::other("load thread")))
        });
        joined.collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let mut all = Measured {
        seconds,
        ..Measured::default()
    };
    for part in parts {
        let part = part?;
        all.requests += part.requests;
        all.refused += part.refused;
        all.body_bytes += part.body_bytes;
        all.latencies.extend(part.latencies);
    }
    all.latencies.sort_unstable();
    all.server_cpu = cpu_seconds(&server.to_string()) - server_before;
    all.load_cpu = cpu_seconds("self") - load_before;
    Ok(all)
}

fn connection<'a>(
    next: &AtomicU64,
    start: Instant,
    amount: Amount,
    connect: &(dyn Fn() -> io::Result<Connection<'a>> + Sync),
) -> io::Result<Measured> {
    let mut exchange = connect()?;
    let mut measured = Measured::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= amount.total || start.elapsed() > amount.longest {
            return Ok(measured);
        }
        let mut begun = Instant::now();
        if let Some(pace) = amount.pace {
            let due = start + Duration::from_secs_f64(number as f64 / pace.max(1e-9));
            while Instant::now() < due {
                std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            }
            // A late start is the server's fault: it held up the exchange before.
            begun = due;
        }
        let exchanged = exchange(number)?;
        measured
            .latencies
            .push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        measured.requests += 1;
        measured.refused += u64::from(exchanged.is_refused);
        measured.body_bytes += exchanged.body_bytes;
    }
}
