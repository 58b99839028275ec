//! Connections: order, back-pressure, failures, stopping. Real sockets on a free port, and pipes in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, yield_now};

use super::support::{Failure, MemoryGateway, adt, oru, pipeline, settings, surroundings};
use crate::connection::serve;
use crate::counters::Counters;
use crate::listener::{Mllp, Settings};
use crate::mllp::{Deframer, Event, frame};
use crate::port::{Adapter, Gateway, IntakeError};
use crate::shared::Shared;
use crate::stop::{Stop, StopHandle};

/// A connection in memory, its counters, and its task.
struct Peer {
    stream: DuplexStream,
    deframer: Deframer,
    counters: Arc<Counters>,
    served: JoinHandle<()>,
}

fn connect(gateway: Arc<dyn Gateway>, settings: Settings, stop: Stop) -> Peer {
    let (stream, server) = duplex(64 * 1024);
    let counters = Arc::<Counters>::default();
    let shared = Shared::new(
        settings,
        Arc::new(pipeline()),
        gateway,
        surroundings(),
        Arc::clone(&counters),
    );
    let served = tokio::spawn(serve(server, shared, stop));
    Peer {
        stream,
        deframer: Deframer::new(1 << 20),
        counters,
        served,
    }
}

impl Peer {
    async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(&frame(message)).await.unwrap();
    }

    /// MSA-1 and MSA-2 of the next answer; `None` when the connection ends.
    async fn answer(&mut self) -> Option<(String, String)> {
        answer(&mut self.stream, &mut self.deframer).await
    }
}

async fn answer<S: tokio::io::AsyncRead + Unpin>(
    stream: &mut S,
    deframer: &mut Deframer,
) -> Option<(String, String)> {
    loop {
        match deframer.next_event() {
            Some(Event::Frame(bytes)) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let msa = text
                    .split('\r')
                    .find(|s| s.starts_with("MSA"))
                    .unwrap()
                    .to_owned();
                let mut fields = msa.split('|').skip(1).map(str::to_owned);
                return Some((fields.next().unwrap(), fields.next().unwrap_or_default()));
            }
            Some(other) => panic!("{other:?}"),
            None => {
                let read = stream.read_buf(deframer.buffer()).await;
                if !matches!(read, Ok(n) if n > 0) {
                    return None;
                }
            }
        }
    }
}

/// Lets other tasks run until something is so; fails when it never becomes so.
async fn until(mut so: impl FnMut() -> bool) {
    for _ in 0..1_000_000 {
        if so() {
            return;
        }
        yield_now().await;
    }
    panic!("it never became so");
}

fn pair(code: &str, id: &str) -> Option<(String, String)> {
    Some((code.to_owned(), id.to_owned()))
}

/// Verifies: SRS-002, RC-006
#[tokio::test]
async fn no_answer_before_the_commit_is_durable() {
    let (gateway, gate) = MemoryGateway::gated();
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    peer.send(&adt("M1", "1")).await;
    until(|| gateway.running.load(Ordering::SeqCst) == 1).await;
    let mut byte = [0];
    tokio::select! {
        biased;
        _ = peer.stream.read(&mut byte) => panic!("answered before the commit"),
        () = yield_now() => {}
    }
    gate.add_permits(1);
    assert_eq!(peer.answer().await, pair("AA", "M1"));
}

/// Messages about different patients commit together, and are answered in the order received.
#[tokio::test]
async fn pipelined_messages_are_answered_in_order() {
    let (gateway, gate) = MemoryGateway::gated();
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    for n in 0..40 {
        peer.send(&adt(&format!("M{n}"), &format!("{n}"))).await;
    }
    let window = settings().window;
    until(|| gateway.running.load(Ordering::SeqCst) == window).await;
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(
        gateway.running.load(Ordering::SeqCst),
        window,
        "the window bounds what is under way"
    );
    gate.add_permits(40);
    for n in 0..40 {
        assert_eq!(peer.answer().await, pair("AA", &format!("M{n}")));
    }
    assert_eq!(gateway.running_max.load(Ordering::SeqCst), window);
}

/// A later message about the same patient waits for the earlier one.
#[tokio::test]
async fn messages_about_one_patient_keep_their_order() {
    let (gateway, gate) = MemoryGateway::gated();
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    for (id, mrn) in [("M1", "1"), ("M2", "2"), ("M3", "1"), ("M4", "3")] {
        peer.send(&adt(id, mrn)).await;
    }
    until(|| gateway.running.load(Ordering::SeqCst) == 2).await;
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(
        gateway.running.load(Ordering::SeqCst),
        2,
        "M3 waits for M1, and M4 behind it"
    );
    gate.add_permits(4);
    for id in ["M1", "M2", "M3", "M4"] {
        assert_eq!(peer.answer().await, pair("AA", id));
    }
    let order = gateway.control_ids();
    let place = |id: &str| order.iter().position(|o| o == id).unwrap();
    assert!(place("M1") < place("M3"));
}

/// Verifies: SRS-003, RC-007
#[tokio::test]
async fn a_repeated_message_is_answered_again_and_changes_nothing() {
    let gateway = Arc::new(MemoryGateway::default());
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    for _ in 0..3 {
        peer.send(&oru("M1", "1", "5.0")).await;
        assert_eq!(peer.answer().await, pair("AA", "M1"));
    }
    // The same control id with other content is another message.
    peer.send(&oru("M1", "1", "6.0")).await;
    assert_eq!(peer.answer().await, pair("AA", "M1"));
    assert_eq!(gateway.control_ids(), ["M1", "M1"]);
}

#[tokio::test]
async fn refusals_are_answered_and_kept() {
    let gateway = Arc::new(MemoryGateway::default());
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    peer.send(b"no message at all").await;
    assert_eq!(peer.answer().await, pair("AE", ""));
    peer.send(b"MSH|^~\\&|A|B|C|D|2024||ZZZ^Z01|M2|P|2.5\r")
        .await;
    assert_eq!(peer.answer().await, pair("AR", "M2"));
    peer.send(&adt("M3", "1")).await;
    assert_eq!(peer.answer().await, pair("AA", "M3"));
    assert_eq!(gateway.committed.lock().unwrap().len(), 3);
    let counters = &peer.counters;
    let counts = [&counters.accepted, &counters.errors, &counters.rejected]
        .map(|c| c.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 1, 1]);
}

/// Nothing stored: AR, and later messages do not overtake the one that must come again.
///
/// Verifies: SRS-016, RC-006
#[tokio::test]
async fn a_message_that_was_not_stored_ends_a_pipelining_connection() {
    let failure = Failure::Error(IntakeError::Overloaded);
    let gateway = MemoryGateway::failing(vec![failure]);
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    let both = [frame(&adt("M1", "1")), frame(&adt("M2", "1"))].concat();
    peer.stream.write_all(&both).await.unwrap();
    assert_eq!(peer.answer().await, pair("AR", "M1"));
    assert_eq!(peer.answer().await, None);
    assert!(gateway.control_ids().is_empty(), "M2 was held back");
}

#[tokio::test]
async fn a_sender_that_waits_goes_on_after_not_stored() {
    let failures = vec![Failure::Error(IntakeError::Unavailable("x".into()))];
    let gateway = MemoryGateway::failing(failures);
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    peer.send(&adt("M1", "1")).await;
    assert_eq!(peer.answer().await, pair("AR", "M1"));
    peer.send(&adt("M1", "1")).await;
    assert_eq!(peer.answer().await, pair("AA", "M1"));
    assert_eq!(peer.counters.not_stored.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn invalid_resources_are_answered_with_an_error() {
    let gateway = MemoryGateway::failing(vec![Failure::Error(IntakeError::Invalid(Vec::new()))]);
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway, settings(), stop);
    peer.send(&adt("M1", "1")).await;
    assert_eq!(peer.answer().await, pair("AE", "M1"));
}

/// When it is not known whether a message was stored, nothing is said about it.
///
/// Verifies: SRS-002, RC-006
#[tokio::test]
async fn an_unknown_outcome_closes_the_connection_without_answer() {
    let gateway = MemoryGateway::failing(vec![Failure::Panic]);
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway, settings(), stop);
    peer.send(&adt("M1", "1")).await;
    assert_eq!(peer.answer().await, None);
}

/// What was received is finished and answered; then the connection closes.
///
/// Verifies: SRS-022, RC-006
#[tokio::test]
async fn stopping_answers_what_was_received() {
    let (gateway, gate) = MemoryGateway::gated();
    let (handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    peer.send(&adt("M1", "1")).await;
    peer.send(&adt("M2", "1")).await;
    until(|| {
        gateway.running.load(Ordering::SeqCst) == 1
            && peer.counters.received.load(Ordering::Relaxed) == 2
    })
    .await;
    handle.stop();
    gate.add_permits(2);
    assert_eq!(peer.answer().await, pair("AA", "M1"));
    assert_eq!(peer.answer().await, pair("AA", "M2"));
    assert_eq!(peer.answer().await, None);
    peer.served.await.unwrap();
    assert_eq!(gateway.control_ids(), ["M1", "M2"]);
}

#[tokio::test]
async fn a_half_frame_at_the_end_is_counted() {
    let gateway = Arc::new(MemoryGateway::default());
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway.clone(), settings(), stop);
    peer.send(&adt("M1", "1")).await;
    peer.stream.write_all(b"\x0BMSH|^~\\&|half").await.unwrap();
    peer.stream.shutdown().await.unwrap();
    assert_eq!(peer.answer().await, pair("AA", "M1"));
    assert_eq!(peer.answer().await, None);
    peer.served.await.unwrap();
    assert_eq!(peer.counters.frames_cut.load(Ordering::Relaxed), 1);
    assert_eq!(gateway.control_ids(), ["M1"]);
}

/// Silence inside a frame ends the connection; the clock of this test is not the real one.
#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection() {
    for (bytes, cut) in [(b"\x0BMSH|half".as_slice(), 1), (b"".as_slice(), 0)] {
        let (_handle, stop) = StopHandle::new();
        let mut peer = connect(Arc::new(MemoryGateway::default()), settings(), stop);
        peer.stream.write_all(bytes).await.unwrap();
        assert_eq!(peer.answer().await, None);
        peer.served.await.unwrap();
        assert_eq!(peer.counters.frames_cut.load(Ordering::Relaxed), cut);
    }
}

/// A slow commit is not silence of the sender.
#[tokio::test(start_paused = true)]
async fn a_slow_commit_does_not_end_a_connection() {
    let (gateway, gate) = MemoryGateway::gated();
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(
        gateway.clone(),
        Settings {
            idle_timeout_s: 5,
            ..settings()
        },
        stop,
    );
    peer.send(&adt("M1", "1")).await;
    until(|| gateway.running.load(Ordering::SeqCst) == 1).await;
    tokio::time::advance(Duration::from_secs(3_600)).await;
    gate.add_permits(1);
    assert_eq!(peer.answer().await, pair("AA", "M1"));
}

#[tokio::test]
async fn a_frame_over_the_limit_is_rejected_by_name() {
    let gateway = Arc::new(MemoryGateway::default());
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(
        gateway.clone(),
        Settings {
            frame_bytes_max: 2_000,
            ..settings()
        },
        stop,
    );
    let mut large = adt("M1", "1");
    large.extend_from_slice(format!("ZZZ|{}\r", "x".repeat(3_000)).as_bytes());
    peer.send(&large).await;
    peer.send(&adt("M2", "1")).await;
    assert_eq!(peer.answer().await, pair("AR", "M1"));
    assert_eq!(peer.answer().await, pair("AA", "M2"));
    assert_eq!(gateway.control_ids(), ["M2"]);
    assert_eq!(peer.counters.frames_too_large.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn garbage_between_frames_is_counted_and_harmless() {
    let gateway = Arc::new(MemoryGateway::default());
    let (_handle, stop) = StopHandle::new();
    let mut peer = connect(gateway, settings(), stop);
    peer.stream.write_all(b"GET / HTTP/1.1").await.unwrap();
    peer.send(&adt("M1", "1")).await;
    assert_eq!(peer.answer().await, pair("AA", "M1"));
    assert_eq!(peer.counters.garbage_bytes.load(Ordering::Relaxed), 14);
}

/// A sender that never reads its answers is stopped by back-pressure, not fed from our memory.
#[tokio::test]
async fn a_sender_that_does_not_read_is_held() {
    let gateway = Arc::new(MemoryGateway::default());
    let (_handle, stop) = StopHandle::new();
    let (mut stream, server) = duplex(512);
    let shared = Shared::new(
        settings(),
        Arc::new(pipeline()),
        gateway.clone(),
        surroundings(),
        Arc::default(),
    );
    let _served = tokio::spawn(serve(server, shared, stop));
    let message = frame(&adt("M1", "1"));
    let sender = tokio::spawn(async move {
        for _ in 0..1_000 {
            stream.write_all(&message).await.unwrap();
        }
        stream
    });
    for _ in 0..20_000 {
        yield_now().await;
    }
    assert!(!sender.is_finished(), "the sender is held");
    sender.abort();
}

/// Over TCP: many connections, a bound on them, and a stop.
///
/// Verifies: SRS-022, RC-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_tcp() {
    let gateway = Arc::new(MemoryGateway::default());
    let (handle, stop) = StopHandle::new();
    let mllp = Mllp::new(
        Settings {
            connections_max: 3,
            ..settings()
        },
        pipeline(),
        surroundings(),
    );
    let counters = mllp.counters();
    let running = Box::new(mllp).start(gateway.clone(), stop).await.unwrap();
    let address = running.address.unwrap();
    let mut clients = Vec::new();
    for client in 0..8 {
        clients.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut deframer = Deframer::new(1 << 20);
            for n in 0..10 {
                let id = format!("C{client}N{n}");
                stream
                    .write_all(&frame(&oru(&id, &format!("{client}"), "5.0")))
                    .await
                    .unwrap();
                assert_eq!(answer(&mut stream, &mut deframer).await, pair("AA", &id));
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(gateway.committed.lock().unwrap().len(), 80);
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 80);
    // An open connection that says nothing does not delay the stop.
    let _idle = TcpStream::connect(address).await.unwrap();
    handle.stop();
    running.finished.await.unwrap();
    assert_eq!(counters.connections_open.load(Ordering::Relaxed), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_fails_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings {
        address: taken.local_addr().unwrap(),
        ..settings()
    };
    let (_handle, stop) = StopHandle::new();
    let mllp = Mllp::new(settings, pipeline(), surroundings());
    assert!(
        Box::new(mllp)
            .start(Arc::new(MemoryGateway::default()), stop)
            .await
            .is_err()
    );
}
