//! `stoker ehr server …`: what `/admin/tenants` of a running server offers, from the command line.

use std::path::PathBuf;

use crate::commands::block_on;
use crate::commands::remote::{Body, Remote, query};
use crate::ehr::tenants::FILE_BYTES_MAX;

/// What is asked, and of whom.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    remote: Remote,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the tenants
    List,
    /// Show a tenant: state, accounting over all runs, last runs
    Show {
        /// Its name
        tenant: String,
    },
    /// Register a tenant's file, or replace it
    Register {
        /// The TOML file
        file: PathBuf,
    },
    /// Forget a registered tenant; what it brought stays
    Remove {
        /// Its name
        tenant: String,
    },
    /// Begin a run
    Run {
        /// Its name
        tenant: String,
    },
    /// Make copies again that other rules made
    Normalise {
        /// Its name
        tenant: String,
    },
    /// Show for every search to when it is complete, and except what
    Completeness {
        /// Its name
        tenant: String,
        /// Only this patient of ours
        #[arg(long, value_name = "Patient/id")]
        patient: Option<String>,
        /// Only what has a gap or never ended
        #[arg(long)]
        incomplete: bool,
        /// Searches to leave out, as in `next`
        #[arg(long, value_name = "NUMBER")]
        offset: Option<usize>,
    },
    /// List what a person has to decide
    Reviews {
        /// Its name
        tenant: String,
    },
    /// Take a question off the list
    Close {
        /// Its name
        tenant: String,
        /// The question's id
        review: String,
    },
    /// Print a record byte for byte as the EHR sent it
    Source {
        /// Its name
        tenant: String,
        /// Resource type
        resource_type: String,
        /// The EHR's id
        id: String,
    },
    /// Write an Observation of ours to the EHR
    Write {
        /// Its name
        tenant: String,
        /// `Observation/id`
        reference: String,
    },
    /// List what was written to the EHR, what was refused, and what nobody knows
    Written {
        /// Its name
        tenant: String,
    },
    /// Allow to send an Observation again whose fate nobody knew; look at the EHR first
    Forget {
        /// Its name
        tenant: String,
        /// The Observation's id
        id: String,
    },
}

/// Asks the server.
///
/// # Errors
/// A server that cannot be reached, or what it refused.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let (method, path, body) = request(&arguments.action)?;
    let body = body.as_deref().map_or(Body::None, Body::Json);
    let answer = block_on(arguments.remote.ask(method, &path, body))?;
    let text = String::from_utf8_lossy(&answer);
    if text.is_empty() {
        println!("done");
    } else {
        println!("{}", text.trim_end());
    }
    Ok(())
}

/// Method, path and body of an action.
fn request(action: &Action) -> Result<(&'static str, String, Option<Vec<u8>>), String> {
    let get = |path: String| Ok(("GET", path, None));
    let post = |path: String| Ok(("POST", path, None));
    let delete = |path: String| Ok(("DELETE", path, None));
    match action {
        Action::List => get("/admin/tenants".to_owned()),
        Action::Show { tenant } => get(place(tenant, &[])?),
        Action::Register { file } => {
            let fail = |e: std::io::Error| format!("{}: {e}", file.display());
            if std::fs::metadata(file).map_err(fail)?.len() > FILE_BYTES_MAX as u64 {
                return Err(format!(
                    "{}: more than {FILE_BYTES_MAX} bytes",
                    file.display()
                ));
            }
            let toml = std::fs::read(file).map_err(fail)?;
            Ok(("POST", "/admin/tenants".to_owned(), Some(toml)))
        }
        Action::Remove { tenant } => delete(place(tenant, &[])?),
        Action::Run { tenant } => post(place(tenant, &["run"])?),
        Action::Normalise { tenant } => post(place(tenant, &["normalise"])?),
        Action::Completeness {
            tenant,
            patient,
            incomplete,
            offset,
        } => {
            let parameters = query(&[
                ("patient", patient.clone()),
                ("incomplete", incomplete.then(|| "true".to_owned())),
                ("_offset", offset.map(|offset| offset.to_string())),
            ]);
            get(format!("{}{parameters}", place(tenant, &["completeness"])?))
        }
        Action::Reviews { tenant } => get(place(tenant, &["reviews"])?),
        Action::Close { tenant, review } => delete(place(tenant, &["reviews", review])?),
        Action::Source {
            tenant,
            resource_type,
            id,
        } => {
            let parameters = query(&[
                ("type", Some(resource_type.clone())),
                ("id", Some(id.clone())),
            ]);
            get(format!("{}{parameters}", place(tenant, &["source"])?))
        }
        Action::Write { tenant, reference } => {
            let body = fhir_core::json::Value::object([("reference", reference.as_str().into())]);
            let path = place(tenant, &["observations"])?;
            Ok(("POST", path, Some(body.to_bytes())))
        }
        Action::Written { tenant } => get(place(tenant, &["observations"])?),
        Action::Forget { tenant, id } => delete(place(tenant, &["observations", id])?),
    }
}

/// The path of a tenant and what is below it.
fn place(tenant: &str, below: &[&str]) -> Result<String, String> {
    let mut path = "/admin/tenants".to_owned();
    for part in std::iter::once(&tenant).chain(below) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if part.is_empty() || !part.chars().all(is_plain) || part.starts_with('.') {
            return Err(format!(
                "`{part}` is no name: letters, digits, `-` and `.` only"
            ));
        }
        path.push('/');
        path.push_str(part);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_plain_names_only() {
        assert_eq!(
            place("north", &["run"]).unwrap(),
            "/admin/tenants/north/run"
        );
        for tenant in ["", "..", "a/b", "a?b", "a b"] {
            assert!(place(tenant, &[]).is_err(), "{tenant}");
        }
    }
}
