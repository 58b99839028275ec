//! Sending files: envelopes, line ends, answers, and connections that break.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::support::{MemoryGateway, adt, oru, pipeline, settings, surroundings};
use crate::hl7v2::batch::split;
use crate::listener::Mllp;
use crate::mllp::{Deframer, Event, frame};
use crate::port::Adapter;
use crate::send::{SendError, SendOptions, send_file, send_messages};
use crate::stop::StopHandle;

#[test]
fn files_are_split_into_messages() {
    let count = |file: &str| {
        let batch = split(file.as_bytes());
        let codes: Vec<String> = batch.issues.iter().map(|i| i.code.to_string()).collect();
        (batch.messages.len(), codes)
    };
    let m = "MSH|^~\\&|A\rPID|1\r";
    assert_eq!(count(""), (0, vec![]));
    assert_eq!(count(m), (1, vec![]));
    assert_eq!(count(&format!("{m}{m}{m}")), (3, vec![]));
    assert_eq!(
        count(&format!("{m}\r\n\r\n{m}").replace('\r', "\r\n")),
        (2, vec![])
    );
    assert_eq!(
        count(&format!("FHS|^~\\&\rBHS|^~\\&\r{m}{m}BTS|2\rFTS|1\r")),
        (2, vec![])
    );
    assert_eq!(
        count(&format!("BHS|^~\\&\r{m}{m}BTS|3\r")),
        (2, vec!["batch-count".to_owned()])
    );
    assert_eq!(
        count(&format!("BHS|^~\\&\r{m}BTS|1\rBHS|^~\\&\r{m}BTS|1\r")),
        (2, vec![])
    );
    assert_eq!(
        count(&format!("NTE|1\r{m}")),
        (1, vec!["batch-stray-lines".to_owned()])
    );
    assert_eq!(count("PID|1\r"), (1, vec![]));
    let file = format!("\u{FEFF}{m}{m}");
    let first = split(file.as_bytes()).messages.first().cloned().unwrap();
    assert!(file.as_bytes()[first].starts_with(b"MSH"));
}

#[tokio::test]
async fn a_file_is_sent_and_answered_message_by_message() {
    let gateway = Arc::new(MemoryGateway::default());
    let (handle, stop) = StopHandle::new();
    let mllp = Mllp::new(settings(), pipeline(), surroundings());
    let running = Box::new(mllp).start(gateway.clone(), stop).await.unwrap();
    let bad = b"MSH|^~\\&|A|B|C|D|2024||ZZZ^Z01|M2|P|2.5\r".to_vec();
    let file = [
        b"FHS|^~\\&\rBHS|^~\\&\r".to_vec(),
        adt("M1", "1"),
        bad,
        oru("M3", "1", "2.50"),
        b"BTS|3\rFTS|1\r".to_vec(),
    ];
    let file = String::from_utf8(file.concat())
        .unwrap()
        .replace('\r', "\n");
    let mut told = Vec::new();
    let report = send_file(
        running.address.unwrap(),
        file.as_bytes(),
        &SendOptions::default(),
        &mut |sent| {
            told.push(sent.clone());
        },
    )
    .await
    .unwrap();
    assert!(report.issues.is_empty());
    assert_eq!(told, report.sent);
    let codes: Vec<_> = report
        .sent
        .iter()
        .map(|s| s.result.as_ref().unwrap().code.as_str())
        .collect();
    assert_eq!(codes, ["AA", "AR", "AA"]);
    let errors = &report.sent[1].result.as_ref().unwrap().errors;
    assert!(errors[0].contains("200"), "{errors:?}");
    assert_eq!(gateway.control_ids(), ["M1", "M2", "M3"]);
    assert!(
        gateway.committed.lock().unwrap()[0]
            .raw
            .ends_with(b"PV1|1|I\r"),
        "CR ends segments on the wire"
    );
    handle.stop();
    running.finished.await.unwrap();
}

async fn send_to(answers: Vec<Vec<u8>>, close: bool) -> Vec<Result<String, SendError>> {
    let (mut client, mut server) = duplex(64 * 1024);
    let peer = tokio::spawn(async move {
        let mut deframer = Deframer::new(1 << 20);
        for answer in answers {
            loop {
                if let Some(Event::Frame(_)) = deframer.next_event() {
                    break;
                }
                server.read_buf(deframer.buffer()).await.unwrap();
            }
            server.write_all(&answer).await.unwrap();
        }
        if !close {
            std::future::pending::<()>().await;
        }
    });
    let options = SendOptions {
        answer_timeout: Duration::from_secs(5),
        ..SendOptions::default()
    };
    let file = [adt("M1", "1"), adt("M2", "2")].concat();
    let report = send_messages(&mut client, &file, &options, &mut |_| {}).await;
    peer.abort();
    report
        .sent
        .into_iter()
        .map(|s| s.result.map(|a| a.code))
        .collect()
}

fn acknowledgement(id: &str) -> Vec<u8> {
    frame(format!("MSH|^~\\&|C|D|A|B|2024||ACK|9|P|2.5\rMSA|AA|{id}\r").as_bytes())
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_is_said_to_be_uncertain() {
    let ok = |code: &str| Ok(code.to_owned());
    let wrong = |why| Err(SendError::NotAnAcknowledgement(why));
    assert_eq!(
        send_to(vec![acknowledgement("M1"), acknowledgement("M2")], true).await,
        [ok("AA"), ok("AA")]
    );
    assert_eq!(
        send_to(vec![acknowledgement("M1")], true).await,
        [ok("AA"), Err(SendError::Closed)]
    );
    assert_eq!(
        send_to(vec![], false).await,
        [Err(SendError::Timeout), Err(SendError::NotSent)]
    );
    assert_eq!(
        send_to(vec![acknowledgement("M9")], true).await,
        [
            wrong("MSA-2 is not the control id sent"),
            Err(SendError::NotSent),
        ]
    );
    assert_eq!(
        send_to(vec![frame(b"hello")], true).await,
        [wrong("it cannot be read"), Err(SendError::NotSent)]
    );
    assert_eq!(
        send_to(vec![frame(b"MSH|^~\\&|C\r")], true).await,
        [wrong("it has no MSA-1"), Err(SendError::NotSent)]
    );
}
