//! One HL7 v2 message from bytes to what the gateway takes.
//!
//! HL7 v2 chapter 2, "Message processing rules". The steps: character set, segments, fields, second opinion, header
//! rules, mapping. The first that fails decides; whatever happens, the raw message goes to the gateway.
//!
//! Left out on purpose: validation of the resources. The server validates what every client sends by the same rules.

use std::collections::HashSet;

use bytes::Bytes;
use fhir_core::json::Value;
use mappings::{Action, Identity, Library, MapError, Mapping, Produced, Select, SourceTree};

pub use crate::acknowledge::{Answer, Envelope};
use crate::feed::Feed;
use crate::hl7v2::charset::{self, Charset};
use crate::hl7v2::cut::cut;
use crate::hl7v2::datetime::Dtm;
use crate::hl7v2::guard;
use crate::hl7v2::header::{Header, VERSIONS};
use crate::hl7v2::normalise::normalise;
use crate::hl7v2::structure::{self, MessageType};
use crate::hl7v2::tokenize::{Message, tokenize};
use crate::issue::{Issue, Severity};
use crate::port::{AckCode, DedupeKey, Disposition, Intake};

/// The media type of HL7 v2 in its delimited form.
pub const MEDIA_TYPE: &str = "x-application/hl7-v2+er7";
/// Most unread places named in one [`Intake`]: a 500-line result has some thousand, people read the first few.
pub const UNREAD_MAX: usize = 500;

/// Reads messages of one feed.
#[derive(Debug, Clone)]
pub struct Pipeline {
    feed: Feed,
    library: Library,
}

/// A message on its way: what the gateway gets, and what its answer needs.
#[derive(Debug)]
pub struct Reading {
    /// For the gateway.
    pub intake: Intake,
    /// For the sender.
    pub envelope: Envelope,
    /// `Patient/1` for each resource: messages that share one keep their order.
    pub keys: HashSet<String>,
}

/// What was learnt before a message had to be refused, or all of it.
#[derive(Default)]
struct Found {
    header: Option<Header>,
    charset: Option<Charset>,
    issues: Vec<Issue>,
    mapping: Option<String>,
    resources: Vec<Produced>,
    actions: Vec<Action>,
    unread: Vec<mappings::Position>,
    unread_count: usize,
    source: Option<SourceTree>,
}

impl Pipeline {
    /// A pipeline of a feed.
    pub fn new(feed: Feed, library: Library) -> Self {
        Self { feed, library }
    }

    /// The settings it reads by.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Reads a message that must be refused for a reason outside of itself; it is kept with that reason. It is not
    /// recognised when it comes again, since the reason may be gone then.
    pub fn refuse(&self, raw: Bytes, code: AckCode, reason: Issue) -> Reading {
        let mut reading = self.read(raw);
        reading.keys.clear();
        reading.intake.resources.clear();
        reading.intake.actions.clear();
        reading.intake.dedupe.control_id.clear();
        reading.intake.issues.push(reason.clone());
        reading.intake.disposition = Disposition::Refuse { code, reason };
        reading
    }

    /// Reads and maps one message. Total: any bytes give something to keep.
    pub fn read(&self, raw: Bytes) -> Reading {
        self.read_with_source(raw).0
    }

    /// The same, with the source tree that the lineage of the resources points into; `None` when it was never built.
    pub fn read_with_source(&self, raw: Bytes) -> (Reading, Option<SourceTree>) {
        let mut found = Found::default();
        let refused = self.steps(&raw, &mut found).err();
        let header = found.header.or_else(|| Header::probe(&raw));
        let disposition = match refused {
            None => Disposition::Process,
            Some((code, reason)) => {
                found.issues.push(reason.clone());
                Disposition::Refuse { code, reason }
            }
        };
        let of_header = |read: fn(&Header) -> String| header.as_ref().map(read).unwrap_or_default();
        let intake = Intake {
            feed: self.feed.name.clone(),
            media_type: MEDIA_TYPE,
            dedupe: DedupeKey {
                sender: of_header(Header::sender),
                control_id: of_header(|h| h.control_id().to_owned()),
            },
            message_type: of_header(Header::message_type),
            raw,
            mapping: found.mapping,
            resources: found.resources,
            actions: found.actions,
            issues: found.issues,
            unread: found.unread,
            unread_count: found.unread_count,
            disposition,
        };
        // Entries of directories are only created; messages of many patients name the same ones.
        let owned = intake.resources.iter().filter(|produced| !produced.shared);
        let mut keys: HashSet<String> = owned.filter_map(key).collect();
        for action in &intake.actions {
            let parties = [&action.what, &action.from].into_iter().flatten();
            keys.extend(parties.chain([&action.into]).map(Identity::reference));
        }
        let charset = found.charset.unwrap_or(Charset::UTF_8);
        let is_understood = intake.mapping.is_some();
        let envelope = Envelope::new(header, charset, self.feed.acknowledge, is_understood);
        let reading = Reading {
            intake,
            envelope,
            keys,
        };
        (reading, found.source)
    }

    fn steps(&self, raw: &[u8], found: &mut Found) -> Result<(), (AckCode, Issue)> {
        let error = |issue| (AckCode::Error, issue);
        let decoded =
            charset::decode(raw, &self.feed.fallback, &mut found.issues).map_err(error)?;
        found.charset = Some(decoded.charset);
        let text = &*decoded.text;
        let lines = normalise(text, &decoded.offsets, &mut found.issues).map_err(error)?;
        let message = tokenize(text, lines).map_err(error)?;
        let first = message
            .segments
            .first()
            .map(|s| message.text_at(&s.span))
            .unwrap_or_default();
        let header = found.header.insert(Header::of(first, message.delimiters));
        guard::second_opinion(&message).map_err(error)?;
        let mapping = self.accept(header, &message, &mut found.issues)?;
        cut(raw, &message).map_or(Ok(()), |issue| Err(error(issue)))?;
        let (mapping, structure) = mapping;
        found.mapping = Some(format!("{} {}", mapping.id(), mapping.version()));
        let tree = structure::tree(
            &message,
            &structure,
            decoded.charset,
            &decoded.offsets,
            &mut found.issues,
        );
        let source = SourceTree::Hl7v2(tree);
        self.feed
            .intolerable(&found.issues)
            .map_or(Ok(()), |issue| Err(error(issue)))?;
        let output = mapping
            .run(&source, &self.feed.context)
            .map_err(|e| error(unmappable(&e)))?;
        found.issues.extend(output.issues.iter().map(Issue::from));
        let mut unread = output.used.unread(&source);
        found.unread_count = unread.len();
        unread.truncate(UNREAD_MAX);
        found.unread = unread;
        found.resources = output.resources;
        found.actions = output.actions;
        found.source = Some(source);
        Ok(())
    }

    /// The rules about the header, and the mapping for it.
    fn accept(
        &self,
        header: &Header,
        message: &Message<'_>,
        issues: &mut Vec<Issue>,
    ) -> Result<(Mapping, String), (AckCode, Issue)> {
        let reject = |code, field, text: String| {
            Err((
                AckCode::Reject,
                Issue::new(Severity::Error, code, text).at_field(field),
            ))
        };
        let kind =
            MessageType::of(header, message, issues).map_err(|issue| (AckCode::Reject, issue))?;
        if header.control_id().is_empty() {
            let text = "MSH-10 is empty; give each message an id of its own";
            let issue = Issue::new(Severity::Error, "control-id-missing", text).at_field(10);
            return Err((AckCode::Error, issue));
        }
        if !header.field(14).is_empty() {
            let text = "MSH-14 says the message is continued in another; send it whole";
            return Err((
                AckCode::Error,
                Issue::new(Severity::Error, "fragment", text).at_field(14),
            ));
        }
        let processing_id = header.component(11, 1);
        if processing_id.is_empty() {
            let text = "MSH-11 is empty; taken as production";
            issues.push(Issue::new(Severity::Warning, "processing-id-missing", text).at_field(11));
        } else if !self
            .feed
            .processing_ids
            .iter()
            .any(|id| id == processing_id)
        {
            let taken = self.feed.processing_ids.join(", ");
            let text = format!(
                "MSH-11 is not taken by this feed, which takes {taken}; its setting `processing_ids` says so"
            );
            return reject("processing-id-unsupported", 11, text);
        }
        let version = header.version();
        if version.is_empty() {
            let text = "MSH-12 is empty; read by the rules all versions share";
            issues.push(Issue::new(Severity::Warning, "version-missing", text).at_field(12));
        } else if !VERSIONS.contains(&version) {
            return reject(
                "version-unsupported",
                12,
                "MSH-12 is no version of HL7 v2 from 2.1 to 2.9.1".to_owned(),
            );
        }
        if Dtm::parse(header.component(7, 1)).is_none() && !header.field(7).is_empty() {
            let text = "MSH-7 is no date and time of HL7 v2";
            issues.push(Issue::new(Severity::Warning, "message-time", text).at_field(7));
        }
        let MessageType {
            code,
            trigger,
            structure,
        } = kind;
        let select = Select::Hl7v2 {
            code: &code,
            trigger: &trigger,
            structure: Some(&structure),
        };
        match self.library.mapping_for(&select) {
            Some(mapping) => Ok((mapping, structure)),
            None if self.library.knows_message(&code) => reject(
                "event-unsupported",
                9,
                "no mapping takes this trigger event".to_owned(),
            ),
            None => reject(
                "message-type-unsupported",
                9,
                "no mapping takes this message type".to_owned(),
            ),
        }
    }
}

fn unmappable(error: &MapError) -> Issue {
    let code = match error {
        MapError::NoIdentity { .. } => "no-identity",
        MapError::TooManyResources { .. } => "too-many-resources",
        MapError::WrongInput { .. } => "mapping-input",
        _ => "required-missing",
    };
    Issue::new(Severity::Error, code, error.to_string())
}

/// `Patient/1`.
fn key(produced: &Produced) -> Option<String> {
    let member = |name| match produced.value.get(name) {
        Some(Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    Some(format!("{}/{}", member("resourceType")?, member("id")?))
}
