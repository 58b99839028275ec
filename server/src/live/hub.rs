//! The websockets of this process and what each is bound to; events are read from the database and handed out.
//!
//! A connection's queue is bounded. Whoever does not keep up is closed with the number to go on from, and asks for what
//! it missed with `$events`; nobody waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fhir_core::issue::{ErrorKind, Problem};
use fhir_store::{LiveEvent, LiveSub};
use tokio::sync::mpsc;

use super::hook::with_bodies;
use super::model::{Content, Spec};
use super::notify::{self, Head, Told};
use crate::app::{Server, store_problem};

/// Connections at most.
const CONNECTIONS_MAX: usize = 10_000;
/// Subscriptions one connection is bound to at most.
pub const BOUND_MAX: usize = 1_000;
/// Notifications that wait for a connection at most.
const QUEUE_MAX: usize = 256;
/// Events read at a time.
const PAGE_EVENTS: usize = 2_000;

/// What a connection is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// A message.
    Text(Arc<str>),
    /// Nothing more, and why.
    Close(Arc<str>),
}

/// In which form events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// R4: `ping` and the id.
    Ping,
    /// Backport: a Bundle.
    Bundle,
}

/// All connections.
#[derive(Default)]
pub struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    connections: HashMap<u64, mpsc::Sender<Out>>,
    next: u64,
    bound: HashMap<i64, Vec<Bound>>,
    /// Events were handed out up to here.
    seq: i64,
}

struct Bound {
    connection: u64,
    form: Form,
    id: String,
    spec: Arc<Spec>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in.
    ///
    /// # Errors
    /// `overloaded` when there are too many
    pub fn join(&self) -> Result<(u64, mpsc::Receiver<Out>), Problem> {
        let mut inner = self.lock();
        if inner.connections.len() >= CONNECTIONS_MAX {
            let text = format!("{CONNECTIONS_MAX} websockets are open already, the limit here");
            return Err(Problem::new(ErrorKind::OVERLOADED, text));
        }
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        inner.next += 1;
        let number = inner.next;
        inner.connections.insert(number, sender);
        Ok((number, receiver))
    }

    /// Lets a connection go.
    pub fn leave(&self, connection: u64) {
        self.lock().remove(connection);
    }

    /// Binds a connection to a subscription: from now on it is told of its events.
    ///
    /// # Errors
    /// `unavailable`; `too-costly` when it is bound to too many
    pub async fn bind(
        &self,
        server: &Server,
        connection: u64,
        sub: &LiveSub,
        spec: Arc<Spec>,
        form: Form,
    ) -> Result<(), Problem> {
        server.live.want();
        // Everything up to the stored place is an event already; what comes later is read from there.
        let place = server
            .store
            .live_cursor()
            .await
            .map_err(|e| store_problem(&e))?;
        let mut inner = self.lock();
        if inner.bound.is_empty() {
            inner.seq = place;
        }
        let is_mine = |bound: &&Bound| bound.connection == connection;
        if inner.bound.values().flatten().filter(is_mine).count() >= BOUND_MAX {
            let text = format!("a websocket is bound to at most {BOUND_MAX} subscriptions");
            return Err(Problem::new(ErrorKind::TOO_COSTLY, text));
        }
        let list = inner.bound.entry(sub.no).or_default();
        list.retain(|bound| bound.connection != connection);
        list.push(Bound {
            connection,
            form,
            id: sub.id.clone(),
            spec,
        });
        Ok(())
    }

    /// Undoes a binding.
    pub fn unbind(&self, connection: u64, id: &str) {
        let mut inner = self.lock();
        for list in inner.bound.values_mut() {
            list.retain(|bound| bound.connection != connection || bound.id != id);
        }
        inner.bound.retain(|_, list| !list.is_empty());
    }

    /// A subscription tells nobody any more.
    pub fn ended(&self, no: i64, why: &str) {
        let mut inner = self.lock();
        let Some(list) = inner.bound.remove(&no) else {
            return;
        };
        for bound in list {
            let is_left = inner
                .bound
                .values()
                .flatten()
                .any(|other| other.connection == bound.connection);
            let text = format!("{why}: Subscription/{}", bound.id);
            if !is_left && let Some(sender) = inner.connections.get(&bound.connection) {
                // Full: it is closed for that soon enough.
                let _ = sender.try_send(Out::Close(text.into()));
            }
        }
    }

    /// Closes all.
    pub fn close_all(&self, why: &str) {
        let mut inner = self.lock();
        let why: Arc<str> = why.into();
        for sender in inner.connections.values() {
            // Full: the end of the queue closes it.
            let _ = sender.try_send(Out::Close(Arc::clone(&why)));
        }
        *inner = Inner {
            next: inner.next,
            ..Inner::default()
        };
    }

    /// Connections open now.
    pub fn count(&self) -> usize {
        self.lock().connections.len()
    }

    /// Hands out the events made since the last time.
    ///
    /// # Errors
    /// `unavailable`
    pub async fn tail(&self, server: &Server) -> Result<(), Problem> {
        loop {
            let seq = {
                let inner = self.lock();
                if inner.bound.is_empty() {
                    return Ok(());
                }
                inner.seq
            };
            let events = server.store.live_events_after(seq, PAGE_EVENTS).await;
            let events = events.map_err(|e| store_problem(&e))?;
            let Some(last) = events.last().map(|event| event.seq) else {
                return Ok(());
            };
            let mut by_sub: BTreeMap<i64, Vec<LiveEvent>> = BTreeMap::new();
            for event in events {
                by_sub.entry(event.sub).or_default().push(event);
            }
            for (no, events) in by_sub {
                self.tell(server, no, events).await?;
            }
            self.lock().seq = last;
        }
    }

    /// Who is bound to a subscription, by form.
    fn bound_to(&self, no: i64) -> Option<(Arc<Spec>, String, Vec<(u64, Form)>)> {
        let inner = self.lock();
        let list = inner.bound.get(&no)?;
        let first = list.first()?;
        let all = list.iter().map(|bound| (bound.connection, bound.form));
        Some((Arc::clone(&first.spec), first.id.clone(), all.collect()))
    }

    async fn tell(&self, server: &Server, no: i64, events: Vec<LiveEvent>) -> Result<(), Problem> {
        let Some((spec, id, connections)) = self.bound_to(no) else {
            return Ok(());
        };
        let mut left = events.into_iter().peekable();
        while left.peek().is_some() {
            let batch: Vec<LiveEvent> = left.by_ref().take(spec.events_max).collect();
            let mut rest = batch;
            while !rest.is_empty() {
                let is_full = spec.content == Content::Full;
                let told = with_bodies(server, rest.clone(), is_full).await?;
                rest.drain(..told.len().clamp(1, rest.len()));
                self.send(server, &spec, &id, &told, &connections);
            }
        }
        Ok(())
    }

    fn send(
        &self,
        server: &Server,
        spec: &Spec,
        id: &str,
        told: &[Told],
        connections: &[(u64, Form)],
    ) {
        let Some((last, _)) = told.last() else { return };
        let first = told.first().map_or(0, |(event, _)| event.number);
        let mut bundle: Option<Arc<str>> = None;
        let ping: Arc<str> = format!("ping {id}").into();
        let mut inner = self.lock();
        for (connection, form) in connections {
            let (text, times) = match form {
                Form::Ping => (Arc::clone(&ping), told.len()),
                Form::Bundle => {
                    let text = bundle.get_or_insert_with(|| {
                        let topic = spec.topic();
                        let head = Head {
                            base: &server.base_url,
                            id,
                            status: "active",
                            kind: "event-notification",
                            events: last.number,
                            topic: topic.as_deref(),
                            error: None,
                        };
                        let bytes = notify::bundle(&head, told, spec.content, (server.clock)());
                        String::from_utf8_lossy(&bytes).into()
                    });
                    (Arc::clone(text), 1)
                }
            };
            for _ in 0..times {
                let Some(sender) = inner.connections.get(connection) else {
                    break;
                };
                // The last place of the queue is for the word that it is over.
                if sender.capacity() <= 1 {
                    let why = format!(
                        "too slow: ask for what was missed with $events, eventsSinceNumber={first} of Subscription/{id}"
                    );
                    let _ = sender.try_send(Out::Close(why.into()));
                    inner.remove(*connection);
                } else {
                    let _ = sender.try_send(Out::Text(Arc::clone(&text)));
                }
            }
        }
    }
}

impl Inner {
    fn remove(&mut self, connection: u64) {
        self.connections.remove(&connection);
        for list in self.bound.values_mut() {
            list.retain(|bound| bound.connection != connection);
        }
        self.bound.retain(|_, list| !list.is_empty());
    }
}
