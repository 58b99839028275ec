//! Much at once: idle connections, one huge message, a long batch. Memory is bounded by what is under way.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{MemoryGateway, adt, oru, pipeline, settings, surroundings};
use crate::batch_file::{BatchFile, Item};
use crate::listener::{Mllp, Settings};
use crate::mllp::{Deframer, Event, frame};
use crate::port::{Adapter, Running};
use crate::stop::StopHandle;

async fn listen(
    settings: Settings,
) -> (
    Running,
    Arc<crate::Counters>,
    Arc<MemoryGateway>,
    StopHandle,
) {
    let gateway = Arc::new(MemoryGateway::default());
    let (handle, stop) = StopHandle::new();
    let mllp = Mllp::new(settings, pipeline(), surroundings());
    let counters = mllp.counters();
    let running = Box::new(mllp).start(gateway.clone(), stop).await.unwrap();
    (running, counters, gateway, handle)
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut deframer = Deframer::new(1 << 20);
    loop {
        if let Some(Event::Frame(ack)) = deframer.next_event() {
            return String::from_utf8(ack.to_vec()).unwrap();
        }
        assert!(stream.read_buf(deframer.buffer()).await.unwrap() > 0);
    }
}

/// A thousand senders that say nothing, some of them in the middle of a frame, hold up nobody.
/// Verifies: SRS-135, RC-135
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_hold_up_nobody() {
    const IDLE: usize = 1_000;
    let (running, counters, gateway, handle) = listen(Settings {
        connections_max: IDLE + 1,
        stop_timeout_s: 5,
        ..settings()
    })
    .await;
    let address = running.address.unwrap();
    let mut idle = Vec::new();
    for number in 0..IDLE {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 10 == 0 {
            stream.write_all(b"\x0BMSH|^~\\&|HALF").await.unwrap();
        }
        idle.push(stream);
    }
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(&frame(&adt("M1", "1"))).await.unwrap();
    assert!(answer(&mut busy).await.contains("MSA|AA|M1"));
    assert_eq!(gateway.control_ids(), ["M1"]);
    assert!(counters.connections.load(Ordering::Relaxed) > IDLE as u64);
    drop(idle);
    drop(busy);
    handle.stop();
    running.finished.await.unwrap();
    assert_eq!(
        counters.frames_cut.load(Ordering::Relaxed),
        (IDLE / 10) as u64
    );
}

/// A scanned document in OBX-5: refused by name while the feed's limit is lower, taken when it is raised.
/// Verifies: SRS-135, RC-135
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_50_mb_depends_on_the_limit_of_its_feed() {
    const BYTES: usize = 50_000_000;
    let mut message = oru("M1", "1", "5");
    message.extend_from_slice(b"OBX|2|ED|11506-3^Note^LN||^AP^^Base64^");
    message.resize(message.len() + BYTES, b'A');
    message.extend_from_slice(b"||||||F\r");
    for (frame_bytes_max, expected) in [(16 << 20, "MSA|AR|M1"), (64 << 20, "MSA|A")] {
        let (running, counters, gateway, handle) = listen(Settings {
            frame_bytes_max,
            ..settings()
        })
        .await;
        let mut stream = TcpStream::connect(running.address.unwrap()).await.unwrap();
        stream.write_all(&frame(&message)).await.unwrap();
        let ack = answer(&mut stream).await;
        assert!(ack.contains(expected), "{ack}");
        let is_kept = frame_bytes_max > BYTES;
        assert_eq!(
            gateway.committed.lock().unwrap().len(),
            usize::from(is_kept)
        );
        if is_kept {
            assert_eq!(
                gateway.committed.lock().unwrap()[0].raw.len(),
                message.len()
            );
        } else {
            assert!(ack.contains("message_bytes_max"), "{ack}");
            assert_eq!(counters.frames_too_large.load(Ordering::Relaxed), 1);
            // The connection goes on.
            stream.write_all(&frame(&adt("M2", "2"))).await.unwrap();
            assert!(answer(&mut stream).await.contains("MSA|AA|M2"));
        }
        handle.stop();
        running.finished.await.unwrap();
    }
}

/// Of many large messages at once only a few are in memory; the others wait, and all are answered.
/// Verifies: SRS-135, RC-135
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_take_turns() {
    let (running, _, gateway, handle) = listen(Settings {
        large_frames_max: 1,
        frame_timeout_s: 60,
        ..settings()
    })
    .await;
    let address = running.address.unwrap();
    let senders: Vec<_> = (0..4)
        .map(|number| {
            tokio::spawn(async move {
                let mut message = oru(&format!("M{number}"), &number.to_string(), "5");
                message.extend_from_slice(b"NTE|1||");
                message.resize(message.len() + 3_000_000, b'x');
                message.push(b'\r');
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(&frame(&message)).await.unwrap();
                answer(&mut stream).await
            })
        })
        .collect();
    for sender in senders {
        let ack = tokio::time::timeout(Duration::from_secs(60), sender).await;
        assert!(ack.unwrap().unwrap().contains("MSA|AA|"));
    }
    assert_eq!(gateway.committed.lock().unwrap().len(), 4);
    handle.stop();
    running.finished.await.unwrap();
}

/// A reader of endless input that holds one message at a time.
#[test]
fn a_batch_of_ten_thousand_messages_is_never_in_memory_whole() {
    const MESSAGES: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch.hl7");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    file.write_all(b"BHS|^~\\&|A|B\r").unwrap();
    for number in 0..MESSAGES {
        file.write_all(&oru(&number.to_string(), "1", "5")).unwrap();
    }
    write!(file, "BTS|{MESSAGES}\r").unwrap();
    file.into_inner().unwrap();
    let largest = std::cell::Cell::new(0);
    let input = std::fs::File::open(&path).unwrap().take(u64::MAX);
    let mut reader = BatchFile::new(std::io::BufReader::new(input), 1 << 20);
    let mut messages = 0;
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            Item::Message(raw) => {
                messages += 1;
                largest.set(largest.get().max(raw.len()));
            }
            Item::Odd(issue) => panic!("{issue}"),
            _ => {}
        }
    }
    assert_eq!(messages, MESSAGES);
    assert!(largest.get() < 1_000);
}
