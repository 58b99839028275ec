//! `stoker send`: HL7 v2 files to any receiver over MLLP, TLS or HTTP, each acknowledgement printed.

use std::path::PathBuf;

use adapters::http_client::Target;
use adapters::send::{Destination, SendOptions, Sent, send_to};
use adapters::tls::{ClientFiles, Connector};

use crate::commands::block_on;

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What `stoker send` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files with one or several messages each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to send: `HOST:PORT` (MLLP), `mllps://HOST:PORT` (MLLP over TLS), `http://…` or `https://…`
    #[arg(long, value_name = "TO", default_value = "127.0.0.1:2575")]
    to: String,
    /// PEM file: who signs the receiver's certificate (TLS)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file: our own certificate, when the receiver asks for one (TLS)
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// PEM file: the key of our own certificate (TLS)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

impl Arguments {
    fn destination(&self) -> Result<Destination, String> {
        let connector = || {
            let ca = self
                .ca
                .clone()
                .ok_or("TLS needs `--ca`, the file of who signs the receiver's certificate")?;
            let own = self.certificate.clone().zip(self.key.clone());
            Connector::new(&ClientFiles { ca, own })
        };
        if let Some(address) = self.to.strip_prefix("mllps://") {
            return Ok(Destination::MllpTls(
                address.trim_end_matches('/').to_owned(),
                connector()?,
            ));
        }
        if self.to.starts_with("http://") || self.to.starts_with("https://") {
            let target = Target::parse(&self.to)?;
            let connector = target.is_secure.then(connector).transpose()?;
            return Ok(Destination::Http(target, connector));
        }
        let address = self.to.strip_prefix("mllp://").unwrap_or(&self.to);
        Ok(Destination::Mllp(address.trim_end_matches('/').to_owned()))
    }
}

/// Sends the files one after the other.
///
/// # Errors
/// A file that cannot be read, a receiver that cannot be reached, or a message that was not accepted.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let destination = arguments.destination()?;
    block_on(async {
        let mut refused = 0usize;
        for path in &arguments.files {
            let name = path.display().to_string();
            let bytes = read(path)?;
            let mut told = |sent: &Sent| println!("{name} {}", describe(sent));
            let report = send_to(&destination, &bytes, &SendOptions::default(), &mut told).await;
            let report = report.map_err(|e| format!("{} cannot be reached: {e}", arguments.to))?;
            report
                .issues
                .iter()
                .for_each(|issue| println!("{name} note: {issue}"));
            refused += report.sent.iter().filter(|sent| !is_accepted(sent)).count();
        }
        if refused == 0 {
            Ok(())
        } else {
            Err(format!("{refused} messages were not accepted"))
        }
    })
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!(
            "{}: longer than {FILE_BYTES_MAX} bytes; split it",
            path.display()
        ));
    }
    std::fs::read(path).map_err(fail)
}

/// Whether the receiver has taken the message.
pub fn is_accepted(sent: &Sent) -> bool {
    sent.result
        .as_ref()
        .is_ok_and(adapters::send::Acknowledgement::is_accepted)
}

/// One line about one message: number, control id, code and errors of the acknowledgement.
pub fn describe(sent: &Sent) -> String {
    let head = format!("#{} {}", sent.number, sent.control_id);
    match &sent.result {
        Ok(answer) => {
            let line = format!("{head}: {} {}", answer.code, answer.errors.join("; "));
            line.trim_end().to_owned()
        }
        Err(error) => format!("{head}: {error}"),
    }
}
