//! The file drop: claims, answers, what is left where, and going on after a crash.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::support::{Failure, MemoryGateway, adt, oru, pipeline, settings, surroundings};
use crate::folder::{BatchAcknowledge, Folder, FolderSettings, Pause};
use crate::port::{Adapter, IntakeError, Running};
use crate::stop::StopHandle;

/// A file drop whose looks are counted and allowed one by one.
struct Drop {
    root: tempfile::TempDir,
    looked: UnboundedReceiver<tokio::sync::oneshot::Sender<()>>,
    gateway: Arc<MemoryGateway>,
    handle: StopHandle,
    running: Running,
    next: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Drop {
    async fn start(gateway: Arc<MemoryGateway>, acknowledge: BatchAcknowledge) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), gateway, acknowledge).await
    }

    async fn start_in(
        root: tempfile::TempDir,
        gateway: Arc<MemoryGateway>,
        acknowledge: BatchAcknowledge,
    ) -> Self {
        type Go = tokio::sync::oneshot::Sender<()>;
        let (tell, looked): (UnboundedSender<Go>, _) = unbounded_channel();
        let pause: Pause = Arc::new(move |_: Duration| {
            let (go, wait) = tokio::sync::oneshot::channel();
            let _ = tell.send(go);
            Box::pin(async move {
                if wait.await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        let folder = FolderSettings {
            folder: root.path().to_owned(),
            poll: Duration::from_secs(5),
            acknowledge,
        };
        let (handle, stop) = StopHandle::new();
        let adapter = Folder::new(folder, settings(), pipeline(), surroundings(), pause);
        let running = Box::new(adapter)
            .start(gateway.clone(), stop)
            .await
            .unwrap();
        Self {
            root,
            looked,
            gateway,
            handle,
            running,
            next: None,
        }
    }

    /// Lets the adapter look once, and waits until it has.
    async fn look(&mut self) {
        if let Some(go) = self.next.take() {
            go.send(()).unwrap();
        }
        self.next = self.looked.recv().await;
    }

    /// Two looks: the second takes what has not changed since the first.
    async fn take(&mut self) {
        self.look().await;
        self.look().await;
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.root.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn names(&self, folder: &str) -> Vec<String> {
        names(&self.root.path().join(folder))
    }

    async fn stop(self) -> tempfile::TempDir {
        self.handle.stop();
        self.running.finished.await.unwrap();
        self.root
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_type().unwrap().is_file())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn msa(text: &str) -> Vec<String> {
    let segments = text.split('\r').filter(|s| s.starts_with("MSA"));
    segments.map(|s| s[4..].to_owned()).collect()
}

/// Verifies: SRS-133, RC-133
#[tokio::test]
async fn a_batch_is_taken_and_answered_in_its_envelopes() {
    let mut drop = Drop::start(Arc::default(), BatchAcknowledge::All).await;
    let file = [
        b"FHS|^~\\&|LAB|HILL|STOKER|HUB|2024|||f|F1\rBHS|^~\\&|LAB|HILL|STOKER|HUB|2024|||b||B1\r"
            .to_vec(),
        adt("M1", "1"),
        oru("M2", "1", "5.40"),
        adt("M3", "2"),
        b"BTS|3\rFTS|1\r".to_vec(),
    ];
    drop.put("a.hl7", &file.concat());
    drop.take().await;
    assert_eq!(drop.names("done"), ["a.hl7", "a.hl7.ack"]);
    assert!(
        drop.names("work").is_empty()
            && drop.names("error").is_empty()
            && drop.names("").is_empty()
    );
    let ack = drop.read("done/a.hl7.ack");
    assert_eq!(msa(&ack), ["AA|M1", "AA|M2", "AA|M3"]);
    let lines: Vec<&str> = ack.split_terminator('\r').collect();
    assert!(
        lines[0].starts_with("FHS|^~\\&|STOKER|HUB|LAB|HILL|20240310120000"),
        "{ack}"
    );
    assert!(
        lines[1].starts_with("BHS|") && lines[1].ends_with("|"),
        "{ack}"
    );
    assert_eq!(lines[lines.len() - 2..], ["BTS|3", "FTS|1"]);
    assert_eq!(drop.gateway.control_ids(), ["M1", "M2", "M3"]);
    drop.stop().await;
}

/// One bad message does not hold up the others, and is named.
/// Verifies: SRS-133, RC-133
#[tokio::test]
async fn a_bad_message_or_count_goes_to_error_with_its_reason() {
    let bad = String::from_utf8(adt("M2", "2"))
        .unwrap()
        .replace("A01", "A99");
    for (acknowledge, expected) in [
        (BatchAcknowledge::All, vec!["AA|M1", "AR|M2", "AA|M3"]),
        (BatchAcknowledge::Errors, vec!["AR|M2"]),
        (BatchAcknowledge::None, vec![]),
    ] {
        let mut drop = Drop::start(Arc::default(), acknowledge).await;
        let file = [adt("M1", "1"), bad.clone().into_bytes(), adt("M3", "3")];
        let file = [
            b"BHS|^~\\&|A|B\r".to_vec(),
            file.concat(),
            b"BTS|4\r".to_vec(),
        ]
        .concat();
        drop.put("a.hl7", &file);
        drop.take().await;
        assert_eq!(drop.gateway.control_ids(), ["M1", "M2", "M3"]);
        let error = drop.read("error/a.hl7.error");
        assert!(error.contains("message 2: AR event-unsupported"), "{error}");
        assert!(error.contains("batch-count"), "{error}");
        assert!(!error.contains("Beispiel"), "{error}");
        if acknowledge == BatchAcknowledge::None {
            assert_eq!(drop.names("error"), ["a.hl7", "a.hl7.error"]);
        } else {
            let ack = drop.read("error/a.hl7.ack");
            assert_eq!(msa(&ack), expected);
            assert!(ack.ends_with(&format!("BTS|{}\r", expected.len())), "{ack}");
        }
        assert!(drop.names("done").is_empty());
        drop.stop().await;
    }
}

#[tokio::test]
async fn files_wait_until_they_are_whole() {
    let mut drop = Drop::start(Arc::default(), BatchAcknowledge::All).await;
    drop.put("b.hl7.tmp", b"MSH");
    drop.put(".hidden", b"MSH");
    drop.put("b.hl7", b"MSH|^~");
    drop.look().await;
    drop.put("b.hl7", &adt("M1", "1"));
    drop.look().await;
    assert!(
        drop.gateway.control_ids().is_empty(),
        "it has grown since the last look"
    );
    drop.look().await;
    assert_eq!(drop.gateway.control_ids(), ["M1"]);
    assert_eq!(drop.names(""), [".hidden", "b.hl7.tmp"]);
    // The same name again is another file, and neither is overwritten.
    drop.put("b.hl7", &adt("M2", "2"));
    drop.take().await;
    assert_eq!(
        drop.names("done"),
        ["b.hl7", "b.hl7.1", "b.hl7.1.ack", "b.hl7.ack"]
    );
    drop.put("empty.hl7", b"");
    drop.take().await;
    assert_eq!(
        drop.read("error/empty.hl7.error"),
        "the file holds no message\n"
    );
    drop.stop().await;
}

/// What a crash left in `work` is gone through again; what was stored is recognised.
/// Verifies: SRS-133, RC-133
#[tokio::test]
async fn claimed_files_are_finished_after_a_crash() {
    let gateway = Arc::new(MemoryGateway::default());
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("work")).unwrap();
    let file = [adt("M1", "1"), adt("M2", "2")].concat();
    fs::write(root.path().join("work/a.hl7"), &file).unwrap();
    fs::write(root.path().join("work/a.hl7.ack"), "half an ans").unwrap();
    let mut drop = Drop::start_in(root, gateway.clone(), BatchAcknowledge::All).await;
    drop.look().await;
    assert_eq!(drop.names("done"), ["a.hl7", "a.hl7.ack"]);
    assert_eq!(msa(&drop.read("done/a.hl7.ack")), ["AA|M1", "AA|M2"]);
    // The crash came after the commits: the same bytes again change nothing.
    drop.put("a.hl7", &file);
    drop.take().await;
    assert_eq!(gateway.control_ids(), ["M1", "M2"]);
    assert_eq!(msa(&drop.read("done/a.hl7.1.ack")), ["AA|M1", "AA|M2"]);
    drop.stop().await;
}

/// While the store takes nothing the file waits and no message is skipped or overtaken.
#[tokio::test]
async fn a_file_goes_on_where_the_store_took_nothing() {
    let failures = vec![
        Failure::Error(IntakeError::Overloaded),
        Failure::Error(IntakeError::Unavailable("why".into())),
        Failure::Panic,
    ];
    let gateway = MemoryGateway::failing(failures);
    let mut drop = Drop::start(gateway, BatchAcknowledge::All).await;
    let messages = [adt("M1", "1"), oru("M2", "1", "1"), oru("M3", "1", "2")];
    drop.put("a.hl7", &messages.concat());
    for _ in 0..5 {
        drop.look().await;
    }
    assert_eq!(drop.gateway.control_ids(), ["M1", "M2", "M3"]);
    assert_eq!(
        msa(&drop.read("done/a.hl7.ack")),
        ["AA|M1", "AA|M2", "AA|M3"]
    );
    drop.stop().await;
}

/// The last message of a batch without trailer may be cut: it is kept, and not processed.
/// Verifies: SRS-133, RC-133
#[tokio::test]
async fn a_cut_batch_is_not_taken_for_a_whole_one() {
    let mut drop = Drop::start(Arc::default(), BatchAcknowledge::All).await;
    let file = [
        b"BHS|^~\\&|A|B\r".to_vec(),
        adt("M1", "1"),
        oru("M2", "1", "12"),
    ]
    .concat();
    drop.put("a.hl7", &file[..file.len() - 9]);
    drop.take().await;
    assert!(
        drop.read("error/a.hl7.error")
            .contains("message 2: AE batch-unfinished")
    );
    // Whole, it is taken, although the same control id came before.
    drop.put("a.hl7", &[file, b"BTS|2\r".to_vec()].concat());
    drop.take().await;
    assert_eq!(drop.names("done"), ["a.hl7", "a.hl7.ack"]);
    assert_eq!(drop.gateway.control_ids(), ["M1", "", "M2"]);
    drop.stop().await;
}
