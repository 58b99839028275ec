//! The server `stoker`: the FHIR REST API, the feeds and the commands around one store.
//!
//! Read [`routes`] for every URL, [`write`] for the one way data gets in, [`app`] for start and stop.

pub mod admin;
pub mod app;
pub mod audit;
pub mod cache;
pub mod cli;
mod commands;
pub mod config;
pub mod definitions;
pub mod ehr;
pub mod feeds;
pub mod gateway;
pub mod health;
pub mod http;
pub mod ingest;
pub mod interaction;
pub mod interactions;
pub mod live;
pub mod messages;
pub mod metrics;
pub mod openapi;
pub mod operations;
pub mod routes;
pub mod search;
pub mod source;
pub mod telemetry;
pub mod write;
