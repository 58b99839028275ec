//! The brokers of the settings file: subscribed while the server runs, acknowledged after the commit.
//!
//! Guide: `docs/guide/devices.md`. The protocol is in [`device::mqtt`]. Left out: publishing.

use std::path::Path;
use std::sync::Arc;

use adapters::{Running, StopHandle};
use device::mqtt::{MqttAdapter, Settings, Subscription, tls};

use super::settings::MqttBroker;
use super::{ServerPort, Sources};
use crate::app::Server;

/// Bytes of a password file at most.
const PASSWORD_BYTES_MAX: usize = 4_096;

/// The brokers that are listened to.
#[derive(Default)]
pub struct Brokers {
    running: Vec<(StopHandle, Running)>,
}

impl Brokers {
    /// Starts to receive from every broker of the settings.
    ///
    /// # Errors
    /// Settings that cannot work. A broker that is away is none: it is tried again.
    pub fn start(server: &Arc<Server>, sources: &Sources) -> Result<Self, String> {
        let mut brokers = Self::default();
        for broker in &server.config.mqtt {
            let settings = settings(broker, sources)
                .map_err(|why| format!("`mqtt` broker `{}`: {why}", broker.client_id))?;
            let clock = Arc::clone(&server.clock);
            let adapter = MqttAdapter {
                settings,
                clock: Arc::new(move || clock().0),
            };
            let (handle, stop) = StopHandle::new();
            let port = Arc::new(ServerPort::new(Arc::clone(server)));
            brokers.running.push((handle, adapter.start(port, stop)));
        }
        Ok(brokers)
    }

    /// Stops: what is being stored is stored and acknowledged, nothing new is taken.
    pub async fn stop(self) {
        for (handle, _) in &self.running {
            handle.stop();
        }
        for (_, running) in self.running {
            if let Err(error) = running.finished.await {
                tracing::error!(%error, "a connection to a broker ended unexpectedly");
            }
        }
    }
}

fn settings(broker: &MqttBroker, sources: &Sources) -> Result<Settings, String> {
    let (is_tls, rest) = match (
        broker.url.strip_prefix("mqtt://"),
        broker.url.strip_prefix("mqtts://"),
    ) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("`url` begins with mqtt:// or mqtts://".to_owned()),
    };
    let (host, port) = rest
        .trim_end_matches('/')
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .ok_or("`url` ends with a host and a port, such as mqtts://broker.example.org:8883")?;
    if broker.client_id.is_empty() {
        return Err("`client_id` is empty; the session at the broker needs a name".to_owned());
    }
    if broker.topic.is_empty() {
        return Err("there is no [[mqtt.topic]]".to_owned());
    }
    let tls = match (is_tls, &broker.ca_file) {
        (true, Some(ca)) => {
            let own = match (&broker.certificate_file, &broker.key_file) {
                (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
                (None, None) => None,
                _ => return Err("`certificate_file` and `key_file` go together".to_owned()),
            };
            Some(tls(ca, own)?)
        }
        (true, None) => return Err("mqtts needs `ca_file`".to_owned()),
        (false, Some(_)) => return Err("`ca_file` is for mqtts://".to_owned()),
        (false, None) => None,
    };
    let credentials = match (&broker.user, &broker.password_file) {
        (Some(user), Some(file)) => Some((user.clone(), password(file)?)),
        (Some(user), None) => Some((user.clone(), String::new())),
        (None, Some(_)) => return Err("`password_file` needs `user`".to_owned()),
        (None, None) => None,
    };
    let subscriptions = broker.topic.iter().map(|topic| {
        let ingest = sources.get(&topic.source).ok_or_else(|| {
            format!(
                "topic `{}` names the source `{}`, which is not there",
                topic.filter, topic.source
            )
        })?;
        Ok(Subscription {
            filter: topic.filter.clone(),
            ingest: Arc::clone(ingest),
        })
    });
    Ok(Settings {
        host: host.to_owned(),
        port,
        client_id: broker.client_id.clone(),
        credentials,
        keep_alive_s: broker.keep_alive_seconds,
        tls,
        subscriptions: subscriptions.collect::<Result<_, String>>()?,
        window: broker.window.clamp(1, 4_096),
    })
}

fn password(file: &Path) -> Result<String, String> {
    let place = file.display();
    let text = std::fs::read_to_string(file).map_err(|e| format!("{place}: {e}"))?;
    if text.len() > PASSWORD_BYTES_MAX {
        return Err(format!("{place}: longer than {PASSWORD_BYTES_MAX} bytes"));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::settings::MqttTopic;
    use super::*;
    use crate::config::Config;

    fn broker() -> MqttBroker {
        let topic = MqttTopic {
            filter: "ward/+/vitals".into(),
            source: "generic-json".into(),
        };
        MqttBroker {
            client_id: "stoker".into(),
            url: "mqtt://127.0.0.1:1883".into(),
            user: None,
            password_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
            keep_alive_seconds: 30,
            window: 64,
            topic: vec![topic],
        }
    }

    #[test]
    fn what_cannot_work_is_told() {
        let sources = Sources::load(&Config::default()).unwrap();
        assert!(settings(&broker(), &sources).is_ok());
        let check = |change: fn(&mut MqttBroker), expected: &str| {
            let mut broker = broker();
            change(&mut broker);
            let why = settings(&broker, &sources).map(|_| ()).unwrap_err();
            assert!(why.contains(expected), "{why}");
        };
        check(|b| b.url = "tcp://x:1".into(), "mqtt://");
        check(|b| b.url = "mqtt://x".into(), "port");
        check(|b| b.url = "mqtts://x:8883".into(), "ca_file");
        check(|b| b.topic.clear(), "topic");
        check(|b| b.topic[0].source = "other".into(), "`other`");
        check(|b| b.password_file = Some("x".into()), "`user`");
        check(|b| b.client_id.clear(), "client_id");
    }
}
