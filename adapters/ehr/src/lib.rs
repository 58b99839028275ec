//! EHR adapters: keep a correct local copy of what an Epic, Oracle Health or other SMART FHIR R4 server granted us.
//!
//! Spec: <https://hl7.org/fhir/smart-app-launch/backend-services.html>, <https://hl7.org/fhir/R4/http.html>.
//! Leaves out storage: everything is kept through [`port::Port`], which the server implements on its write path.
//!
//! Map: [`tenant`] and [`profile`] say how a site behaves, [`auth`] gets tokens, [`plan`] turns grants into searches,
//! [`run`] walks them page by page, [`normalise`] cleans resources by declared rules, [`port`] is what we need from
//! the server, [`cli`] holds the commands.

pub mod auth;
pub mod cli;
pub mod clock;
pub mod contract;
pub mod drift;
pub mod error;
pub mod evidence;
pub mod http;
pub mod identity;
pub mod likeness;
pub mod memory;
pub mod normalise;
pub mod outcome;
pub mod page;
pub mod plan;
pub mod polite;
pub mod port;
pub mod profile;
pub mod run;
pub mod tenant;
pub mod time;
pub mod write_back;

pub use error::EhrError;
