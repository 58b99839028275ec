//! `stoker send`: HL7 v2 files to any MLLP receiver, each acknowledgement printed.

use std::path::PathBuf;

use adapters::send::{SendOptions, Sent, send_file};

use crate::commands::block_on;

/// Largest file read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What `stoker send` can be told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files with one or several messages each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to send
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2575")]
    to: String,
}

/// Sends the files one after the other.
///
/// # Errors
/// A file that cannot be read, a receiver that cannot be reached, or a message that was not accepted.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    block_on(async {
        let mut refused = 0usize;
        for path in &arguments.files {
            let name = path.display().to_string();
            let bytes = read(path)?;
            let mut told = |sent: &Sent| println!("{name} {}", describe(sent));
            let report = send_file(
                arguments.to.as_str(),
                &bytes,
                &SendOptions::default(),
                &mut told,
            )
            .await;
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
        Ok(answer) if answer.errors.is_empty() => format!("{head}: {}", answer.code),
        Ok(answer) => format!("{head}: {} {}", answer.code, answer.errors.join("; ")),
        Err(error) => format!("{head}: {error}"),
    }
}
