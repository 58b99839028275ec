//! What can go wrong between us and an EHR, in words that name the place and the fix and carry no patient data.
//!
//! Spec: none; the classes follow the reactions of [`crate::outcome`].
//! Leaves out bodies, tokens and assertions on purpose: no variant can hold one.

use thiserror::Error;

/// A failure of the adapter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EhrError {
    /// A configuration file cannot be used.
    #[error("{0}")]
    Config(String),
    /// A key file cannot be used.
    #[error("key: {0}")]
    Key(String),
    /// Discovery of the authorization server failed.
    #[error("discovery: {0}")]
    Discovery(String),
    /// The token endpoint refused us; nothing else can run.
    #[error("token: {0}")]
    Token(String),
    /// The connection failed before an answer arrived.
    #[error("connection to the EHR: {0}")]
    Connection(String),
    /// The EHR answered, but not as agreed.
    #[error("answer of the EHR: {0}")]
    Answer(String),
    /// The EHR does not give us this.
    #[error("withheld by the EHR: {0}")]
    Withheld(String),
    /// The page session died (Epic 4113); the search starts again from its window.
    #[error("the page session of the EHR ended; the search starts again")]
    SessionDied,
    /// Our own limits say stop for now.
    #[error("paused: {0}")]
    Paused(String),
    /// The store did not take the page.
    #[error("store: {0}")]
    Store(String),
}

impl EhrError {
    /// True when no other task of this tenant can succeed either.
    pub fn stops_tenant(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Key(_)
                | Self::Token(_)
                | Self::Discovery(_)
                | Self::Paused(_)
                | Self::Store(_)
        )
    }
}
