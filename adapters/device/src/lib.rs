//! devices
pub mod decimal;
pub mod gatt;
