//! Asking adapters to finish: what was received is still answered, nothing new is read.

use tokio::sync::watch;

/// Asks every [`Stop`] made with it to finish. Dropping it asks too.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// What an adapter watches.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl StopHandle {
    /// A handle and what to give to the adapters.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Asks to finish.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// True once asked to finish.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once asked to finish.
    pub async fn asked(&mut self) {
        // An error means the handle is gone, which asks too.
        let _ = self.0.wait_for(|asked| *asked).await;
    }
}
