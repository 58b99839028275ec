//! Finds the MQTT broker that tests start, or installs it where that is possible.
//!
//! <https://mosquitto.org/man/mosquitto-8.html>. Leaves out starting it: tests start their own, on a port of their own.

use std::path::Path;

use super::postgres::{apt_get, is_root, on_path};

/// Where Debian puts the broker, and where the tests look for it.
const PROGRAM: &str = "/usr/sbin/mosquitto";

/// Installs the broker by `apt-get` when it is missing.
///
/// # Errors
/// Why there is none and none could be installed.
pub fn find_or_install() -> Result<(), String> {
    if Path::new(PROGRAM).is_file() {
        return Ok(());
    }
    let apt = on_path("apt-get")
        .ok_or("mosquitto is not installed and there is no apt-get to install it")?;
    if !is_root() {
        return Err(
            "mosquitto is not installed; run `apt-get install mosquitto` as root".to_owned(),
        );
    }
    println!("test: mosquitto is missing, installing it");
    let _ = apt_get(&apt, &["update", "-q"]);
    apt_get(
        &apt,
        &[
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "mosquitto",
        ],
    )?;
    if Path::new(PROGRAM).is_file() {
        Ok(())
    } else {
        Err(format!(
            "apt-get installed mosquitto, but {PROGRAM} is not there"
        ))
    }
}
