//! A Mosquitto of one's own, with a durable memory, and a publisher that waits for its acknowledgements.
//!
//! OASIS MQTT 3.1.1: <https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html>. Left out: anything but publishing at
//! quality of service 1.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The broker's program.
pub const BROKER: &str = "/usr/sbin/mosquitto";
/// Messages under way together.
const WINDOW: usize = 100;
/// Longest wait for an acknowledgement.
const ACK_LIMIT: Duration = Duration::from_secs(60);

/// A running broker; it ends with the value.
pub struct Broker {
    child: Child,
    /// Where it listens.
    pub port: u16,
    configuration: PathBuf,
}

impl Broker {
    /// Starts one that keeps its memory in a folder.
    ///
    /// # Errors
    /// When the program is missing or does not start.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = folder.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\nlog_dest stderr\nlog_type information\n",
            folder.display()
        );
        std::fs::write(&configuration, text)?;
        let child = spawn(&configuration)?;
        Ok(Self {
            child,
            port,
            configuration,
        })
    }

    /// Kills it as a power cut would, and starts it again.
    ///
    /// # Errors
    /// When it does not start again.
    pub fn kill_and_restart(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.configuration)?;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(configuration: &Path) -> io::Result<Child> {
    let mut child = Command::new(BROKER)
        .arg("-c")
        .arg(configuration)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let told = child.stderr.take();
    let mut lines = told
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines);
    let is_up = lines.any(|line| line.is_ok_and(|line| line.contains("running")));
    // Nobody reading would stop it one day.
    std::thread::spawn(move || lines.for_each(drop));
    if is_up {
        Ok(child)
    } else {
        Err(io::Error::other("the broker ended before it ran"))
    }
}

/// Bytes of a packet.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap_or(0);
        length /= 128;
        out.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

fn field(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out
}

/// Publishes at quality of service 1 and returns when the broker has acknowledged each.
///
/// # Errors
/// When the connection breaks or the broker answers otherwise.
pub fn publish(port: u16, topic: &str, messages: &[String]) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ACK_LIMIT))?;
    stream.set_nodelay(true)?;
    let mut connect = field("MQTT");
    connect.extend_from_slice(&[4, 2, 0, 60]);
    connect.extend_from_slice(&field(&format!("publisher-{topic}")));
    stream.write_all(&packet(0x10, &connect))?;
    let mut four = [0; 4];
    stream.read_exact(&mut four)?;
    if four != [0x20, 2, 0, 0] {
        return Err(io::Error::other("the broker refuses the connection"));
    }
    for window in messages.chunks(WINDOW) {
        let mut out = Vec::new();
        for (n, message) in (1_u16..).zip(window) {
            let mut body = field(topic);
            body.extend_from_slice(&n.to_be_bytes());
            body.extend_from_slice(message.as_bytes());
            out.extend_from_slice(&packet(0x32, &body));
        }
        stream.write_all(&out)?;
        for _ in window {
            stream.read_exact(&mut four)?;
            if four.first() != Some(&0x40) {
                return Err(io::Error::other("the broker answers something else"));
            }
        }
    }
    Ok(())
}
