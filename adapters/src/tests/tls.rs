//! TLS with certificates made for the test: who is let in, who is not, and nothing goes over in the clear.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{MemoryGateway, adt, pipeline, settings, surroundings};
use crate::Counters;
use crate::listener::{Mllp, Settings};
use crate::port::{Adapter, Running};
use crate::send::{Destination, SendOptions, send_to};
use crate::stop::StopHandle;
use crate::tls::{Acceptor, ClientFiles, Connector, ServerFiles};

/// An authority that writes certificates into a folder.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key for a name.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (
            self.folder.join(format!("{name}.pem")),
            self.folder.join(format!("{name}.key")),
        );
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }
}

struct Listening {
    running: Running,
    counters: Arc<Counters>,
    gateway: Arc<MemoryGateway>,
    handle: StopHandle,
}

async fn listen(files: &ServerFiles, settings: Settings) -> Listening {
    let gateway = Arc::new(MemoryGateway::default());
    let (handle, stop) = StopHandle::new();
    let acceptor = Acceptor::new(files).unwrap();
    let mllp = Mllp::new(settings, pipeline(), surroundings()).with_tls(acceptor);
    let counters = mllp.counters();
    let running = Box::new(mllp).start(gateway.clone(), stop).await.unwrap();
    Listening {
        running,
        counters,
        gateway,
        handle,
    }
}

impl Listening {
    /// The code of the acknowledgement of one message, or what went wrong.
    async fn send(&self, client: &ClientFiles) -> Result<String, String> {
        let port = self.running.address.unwrap().port();
        let connector = Connector::new(client)?;
        let destination = Destination::MllpTls(format!("localhost:{port}"), connector);
        let report = send_to(
            &destination,
            &adt("M1", "1"),
            &SendOptions::default(),
            &mut |_| {},
        )
        .await
        .map_err(|e| e.to_string())?;
        report.sent[0]
            .result
            .as_ref()
            .map(|a| a.code.clone())
            .map_err(ToString::to_string)
    }
}

/// Verifies: SRS-134, RC-134
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_senders_of_the_named_authority_are_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let (certificate, key) = ours.issue("localhost");
    let files = ServerFiles {
        certificate,
        key,
        client_ca: Some(ours.ca()),
    };
    let server = listen(&files, settings()).await;
    let client = |ca: &Authority, own| ClientFiles { ca: ca.ca(), own };
    assert_eq!(
        server
            .send(&client(&ours, Some(ours.issue("sender"))))
            .await,
        Ok("AA".to_owned())
    );
    let stranger = Some(theirs.issue("stranger"));
    assert!(server.send(&client(&ours, stranger)).await.is_err());
    assert!(server.send(&client(&ours, None)).await.is_err());
    // A sender that does not know the server's authority does not talk to it.
    let known = Some(ours.issue("sender2"));
    assert!(server.send(&client(&theirs, known)).await.is_err());
    assert_eq!(server.gateway.control_ids(), ["M1"]);
    // The clients may have given up before the server has noticed.
    let all_counted = async {
        while server.counters.connections_refused.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, all_counted).await.unwrap();
    server.handle.stop();
    server.running.finished.await.unwrap();
}

/// Verifies: SRS-134, RC-134
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_the_clear_is_not_taken_by_a_tls_feed() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let (certificate, key) = ours.issue("localhost");
    let files = ServerFiles {
        certificate,
        key,
        client_ca: None,
    };
    let server = listen(&files, settings()).await;
    let mut plain = TcpStream::connect(server.running.address.unwrap())
        .await
        .unwrap();
    plain
        .write_all(&crate::mllp::frame(&adt("M1", "1")))
        .await
        .unwrap();
    let mut answer = Vec::new();
    // An alert or a reset; never an acknowledgement.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut answer).await;
    assert!(!answer.windows(3).any(|w| w == b"MSA"));
    assert!(server.gateway.control_ids().is_empty());
    let client = ClientFiles {
        ca: ours.ca(),
        own: None,
    };
    assert_eq!(server.send(&client).await, Ok("AA".to_owned()));
    // A connection that never begins TLS does not hold up the stop.
    let _silent = TcpStream::connect(server.running.address.unwrap())
        .await
        .unwrap();
    server.handle.stop();
    server.running.finished.await.unwrap();
}

/// Verifies: SRS-134, RC-134
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_outside_the_list_are_refused() {
    let gateway = Arc::new(MemoryGateway::default());
    for (network, is_taken) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let settings = Settings {
            allow: vec![network.parse().unwrap()],
            ..settings()
        };
        let (handle, stop) = StopHandle::new();
        let mllp = Mllp::new(settings, pipeline(), surroundings());
        let counters = mllp.counters();
        let running = Box::new(mllp).start(gateway.clone(), stop).await.unwrap();
        let to = Destination::Mllp(running.address.unwrap().to_string());
        let report = send_to(
            &to,
            &adt(network, "1"),
            &SendOptions::default(),
            &mut |_| {},
        )
        .await;
        let answered = report.is_ok_and(|report| report.sent[0].result.is_ok());
        assert_eq!(answered, is_taken);
        assert_eq!(
            counters.connections_refused.load(Ordering::Relaxed),
            u64::from(!is_taken)
        );
        handle.stop();
        running.finished.await.unwrap();
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let (certificate, key) = ours.issue("localhost");
    let other = ours.issue("other");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let missing = folder.path().join("missing.pem");
    for (certificate, key, client_ca, named) in [
        (missing.clone(), key.clone(), None, "missing.pem"),
        (empty.clone(), key.clone(), None, "empty.pem"),
        (certificate.clone(), empty.clone(), None, "empty.pem"),
        (certificate.clone(), other.1, None, "other.key"),
        (certificate, key, Some(empty), "empty.pem"),
    ] {
        let error = Acceptor::new(&ServerFiles {
            certificate,
            key,
            client_ca,
        })
        .unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}
