//! A Subscription as this server understands it.
//!
//! Spec: <https://hl7.org/fhir/R4/subscription.html>, <https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/>.
//! Left out: the channels `email`, `sms` and `message`, which are refused.

use conformance::{Definitions, ResourceTypeId};
use fhir_core::datatype::date::{Zone, range_of};
use fhir_core::ids::Instant;
use fhir_core::issue::{ErrorKind, Problem};
use fhir_core::json::ValueRef;

use crate::http::call::parse_query;

/// What the extensions of the Backport guide begin with.
pub const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";
/// The extension of the channel that names the key deliveries are signed with.
pub const SIGNING_SECRET: &str = "urn:stoker:StructureDefinition/signing-secret";
/// What the canonical urls of built-in topics begin with; the type's name follows.
pub const TOPIC_PREFIX: &str = "urn:stoker:SubscriptionTopic:";

/// Headers of a channel at most.
const HEADERS_MAX: usize = 32;
/// Filters of a topic-based subscription at most.
const FILTERS_MAX: usize = 16;
/// Longest criteria or filter, in bytes.
const CRITERIA_BYTES_MAX: usize = 8_192;
/// Events of one notification at most, whatever a subscription asks for.
pub const EVENTS_OF_NOTIFICATION_MAX: usize = 100;
/// Shortest time between heartbeats, in seconds.
const HEARTBEAT_SECONDS_MIN: u64 = 1;

/// A subscription, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// `Subscription.status`
    pub status: String,
    /// What it watches.
    pub watch: Watch,
    /// How it is told.
    pub channel: Channel,
    /// Whether the Backport guide's notifications are wanted, or those of plain R4.
    pub style: Style,
    /// How much a notification holds.
    pub content: Content,
    /// Seconds of silence after which a heartbeat is sent.
    pub heartbeat_seconds: Option<u64>,
    /// Longest wait for an answer, in seconds.
    pub answer_seconds: Option<u64>,
    /// Events of one notification at most.
    pub events_max: usize,
    /// When it ends.
    pub end: Option<Instant>,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// What a search would find.
    Search(Criteria),
    /// A topic.
    Topic {
        /// Its canonical url.
        url: String,
        /// All of these must hold for the resource that changed.
        filters: Vec<Criteria>,
    },
}

/// `Type?parameters`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criteria {
    /// The type.
    pub resource_type: ResourceTypeId,
    /// Search parameters.
    pub parameters: Vec<(String, String)>,
}

/// How subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// By a request to their own server.
    Hook {
        /// Where.
        endpoint: String,
        /// Further header lines.
        headers: Vec<(String, String)>,
        /// Name of the key that signs.
        secret: Option<String>,
        /// Media type of the resource, with plain R4; `None` for none.
        payload: Option<String>,
    },
    /// Over a websocket they open.
    Socket,
}

/// Whose notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// R4: an empty request or the resource; `ping`.
    Plain,
    /// Backport: Bundles.
    Backport,
}

/// How much a notification holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Numbers of events only.
    Empty,
    /// References.
    IdOnly,
    /// Resources.
    Full,
}

impl Content {
    /// By its code.
    pub fn of(code: &str) -> Option<Self> {
        Some(match code {
            "empty" => Self::Empty,
            "id-only" => Self::IdOnly,
            "full-resource" => Self::Full,
            _ => return None,
        })
    }
}

fn refuse(at: &str, text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::INVALID_RESOURCE, text).at(at)
}

fn text(value: ValueRef<'_>, name: &str) -> Option<String> {
    value
        .get(name)
        .and_then(ValueRef::as_str)
        .map(|text| text.into_owned())
}

/// The extensions of an element with a url of the Backport guide, or with another.
pub fn extensions<'a, 'u>(
    element: Option<ValueRef<'a>>,
    url: &'u str,
) -> impl Iterator<Item = ValueRef<'a>> + use<'a, 'u> {
    element
        .and_then(|element| element.get("extension"))
        .into_iter()
        .flat_map(ValueRef::items)
        .filter(move |extension| {
            extension
                .get("url")
                .and_then(ValueRef::as_str)
                .is_some_and(|found| found == url)
        })
}

/// The value of an extension, whatever its type.
pub fn value_of(extension: ValueRef<'_>) -> Option<String> {
    let (_, value) = extension
        .members()
        .find(|(name, _)| name.starts_with("value"))?;
    value.primitive_text().map(|text| text.into_owned())
}

fn first(element: Option<ValueRef<'_>>, name: &str) -> Option<String> {
    let url = format!("{BACKPORT}{name}");
    extensions(element, &url).find_map(value_of)
}

impl Spec {
    /// Reads a resource.
    ///
    /// # Errors
    /// `invalid-resource`, naming the element
    pub fn read(root: ValueRef<'_>) -> Result<Self, Problem> {
        let status = text(root, "status").unwrap_or_default();
        let channel = root
            .get("channel")
            .ok_or_else(|| refuse("Subscription.channel", "a subscription has a channel"))?;
        let payload = channel.get("_payload");
        let criteria = text(root, "criteria").unwrap_or_default();
        if criteria.len() > CRITERIA_BYTES_MAX {
            let why = format!("criteria have at most {CRITERIA_BYTES_MAX} bytes");
            return Err(refuse("Subscription.criteria", why));
        }
        let watch = watch(&criteria, root.get("_criteria"))?;
        let has_profile = root
            .get("meta")
            .and_then(|meta| meta.get("profile"))
            .into_iter()
            .flat_map(ValueRef::items)
            .filter_map(ValueRef::as_str)
            .any(|profile| profile.starts_with(BACKPORT));
        let content = first(payload, "backport-payload-content");
        let is_backport = has_profile || content.is_some() || matches!(watch, Watch::Topic { .. });
        let content = match content {
            None => Content::Empty,
            Some(code) => Content::of(&code).ok_or_else(|| {
                let why = "the payload content is `empty`, `id-only` or `full-resource`";
                refuse("Subscription.channel.payload.extension", why)
            })?,
        };
        Ok(Self {
            status,
            channel: read_channel(channel, is_backport)?,
            watch,
            style: if is_backport {
                Style::Backport
            } else {
                Style::Plain
            },
            content,
            heartbeat_seconds: number(channel, "backport-heartbeat-period")?
                .filter(|seconds| *seconds > 0)
                .map(|seconds| seconds.max(HEARTBEAT_SECONDS_MIN)),
            answer_seconds: number(channel, "backport-timeout")?.filter(|seconds| *seconds > 0),
            events_max: number(channel, "backport-max-count")?
                .and_then(|count| usize::try_from(count).ok())
                .map_or(EVENTS_OF_NOTIFICATION_MAX, |count| {
                    count.clamp(1, EVENTS_OF_NOTIFICATION_MAX)
                }),
            end: root
                .get("end")
                .and_then(|end| range_of(end, Zone::UTC))
                .map(|range| Instant(range.start)),
        })
    }

    /// The topic, for notifications of the Backport guide.
    pub fn topic(&self) -> Option<String> {
        match &self.watch {
            Watch::Topic { url, .. } => Some(url.clone()),
            Watch::Search(criteria) => {
                Some(format!("{TOPIC_PREFIX}{}", criteria.resource_type.name()))
            }
        }
    }
}

fn number(channel: ValueRef<'_>, name: &str) -> Result<Option<u64>, Problem> {
    match first(Some(channel), name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            let why = format!("the extension `{name}` is a whole number");
            refuse("Subscription.channel.extension", why)
        }),
    }
}

fn watch(criteria: &str, element: Option<ValueRef<'_>>) -> Result<Watch, Problem> {
    let head = criteria.split('?').next().unwrap_or_default();
    if Definitions::r4().resource_type(head).is_some() {
        return criteria_of(criteria, "Subscription.criteria").map(Watch::Search);
    }
    if !criteria.contains(':') {
        let why = "the criteria are a search such as `Observation?code=…`, or the canonical url of a topic";
        return Err(refuse("Subscription.criteria", why));
    }
    let url = format!("{BACKPORT}backport-filter-criteria");
    let at = "Subscription.criteria.extension";
    let filters = extensions(element, &url)
        .filter_map(value_of)
        .map(|text| criteria_of(&text, at))
        .collect::<Result<Vec<_>, _>>()?;
    if filters.len() > FILTERS_MAX {
        let why = format!("a subscription has at most {FILTERS_MAX} filters");
        return Err(refuse(at, why));
    }
    Ok(Watch::Topic {
        // A version behind the url does not tell topics apart here.
        url: criteria.split('|').next().unwrap_or_default().to_owned(),
        filters,
    })
}

/// Reads `Type?parameters`.
///
/// # Errors
/// `invalid-resource` at `at`
pub fn criteria_of(text: &str, at: &str) -> Result<Criteria, Problem> {
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    let resource_type = Definitions::r4().resource_type(name).ok_or_else(|| {
        let why = "criteria begin with a resource type, such as `Observation?code=…`";
        refuse(at, why)
    })?;
    let parameters = parse_query(query).map_err(|problem| refuse(at, problem.to_string()))?;
    Ok(Criteria {
        resource_type,
        parameters,
    })
}

fn read_channel(channel: ValueRef<'_>, is_backport: bool) -> Result<Channel, Problem> {
    match text(channel, "type").unwrap_or_default().as_str() {
        "websocket" => Ok(Channel::Socket),
        "rest-hook" => hook(channel, is_backport),
        _ => Err(refuse(
            "Subscription.channel.type",
            "this server tells subscribers by `rest-hook` and `websocket`",
        )),
    }
}

fn hook(channel: ValueRef<'_>, is_backport: bool) -> Result<Channel, Problem> {
    let at = "Subscription.channel.endpoint";
    let endpoint = text(channel, "endpoint")
        .ok_or_else(|| refuse(at, "a rest-hook has the endpoint that is called"))?;
    let url = ehr::http::Url::parse(&endpoint)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| refuse(at, "the endpoint is an http or https URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        let why =
            "put no user or password into the endpoint; send a header or have deliveries signed";
        return Err(refuse(at, why));
    }
    let mut headers = Vec::new();
    for line in channel
        .get("header")
        .into_iter()
        .flat_map(ValueRef::items)
        .filter_map(ValueRef::as_str)
    {
        headers.push(header(&line)?);
    }
    if headers.len() > HEADERS_MAX {
        let why = format!("a channel has at most {HEADERS_MAX} headers");
        return Err(refuse("Subscription.channel.header", why));
    }
    let payload = text(channel, "payload");
    let media_type = payload
        .as_deref()
        .map(|text| text.split(';').next().unwrap_or_default().trim());
    let is_json = |text: &str| matches!(text, "application/fhir+json" | "application/json" | "");
    if media_type.is_some_and(|text| !is_json(text)) {
        let why = "notifications are sent as `application/fhir+json`";
        return Err(refuse("Subscription.channel.payload", why));
    }
    let payload = payload.filter(|text| !text.is_empty() && !is_backport);
    Ok(Channel::Hook {
        endpoint,
        headers,
        secret: extensions(Some(channel), SIGNING_SECRET).find_map(value_of),
        payload,
    })
}

/// Header names that belong to the request itself.
const RESERVED: [&str; 6] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "content-type",
    "stoker-signature",
];

fn header(line: &str) -> Result<(String, String), Problem> {
    let bad = |why: &str| Err(refuse("Subscription.channel.header", why));
    let Some((name, value)) = line.split_once(':') else {
        return bad("a header is `Name: value`");
    };
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return bad("a header's name has letters, digits and `-`");
    }
    if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return bad("a header's value has printable ASCII characters");
    }
    if RESERVED.contains(&name.as_str()) {
        return bad("this header is set by the server");
    }
    Ok((name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhir_core::json::Document;

    fn read(text: &str) -> Result<Spec, Problem> {
        Spec::read(Document::parse(text.as_bytes()).unwrap().root())
    }

    fn with(criteria: &str, channel: &str) -> String {
        format!(
            r#"{{"resourceType":"Subscription","status":"requested","criteria":"{criteria}","channel":{channel}}}"#
        )
    }

    #[test]
    fn plain_and_backport_are_told_apart() {
        let plain = read(&with(
            "Observation?code=8867-4",
            r#"{"type":"rest-hook","endpoint":"https://example.org/x","payload":"application/fhir+json"}"#,
        ))
        .unwrap();
        assert_eq!(plain.style, Style::Plain);
        let topic = read(&with(
            "urn:stoker:SubscriptionTopic:Patient",
            r#"{"type":"websocket"}"#,
        ));
        assert_eq!(topic.unwrap().style, Style::Backport);
        let content = r#"{"type":"rest-hook","endpoint":"https://example.org/x","_payload":{"extension":[{"url":"http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content","valueCode":"full-resource"}]}}"#;
        let spec = read(&with("Patient", content)).unwrap();
        assert_eq!((spec.style, spec.content), (Style::Backport, Content::Full));
    }

    /// Verifies: SRS-340
    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let check = |criteria: &str, channel: &str, at: &str| {
            let problem = read(&with(criteria, channel)).unwrap_err();
            let place = problem.issues[0].expression.clone().unwrap_or_default();
            assert_eq!(place, at, "{problem}");
        };
        let socket = r#"{"type":"websocket"}"#;
        check("Observatio?x=1", socket, "Subscription.criteria");
        check("", socket, "Subscription.criteria");
        check("Patient", r#"{"type":"sms"}"#, "Subscription.channel.type");
        for endpoint in ["", "ftp://x/y", "https://u:p@example.org/", "no url"] {
            let channel = format!(r#"{{"type":"rest-hook","endpoint":"{endpoint}"}}"#);
            check("Patient", &channel, "Subscription.channel.endpoint");
        }
        for line in ["x", "a b: c", "Host: x", "X: a\\u000ab"] {
            let channel = format!(
                r#"{{"type":"rest-hook","endpoint":"https://example.org","header":["{line}"]}}"#
            );
            check("Patient", &channel, "Subscription.channel.header");
        }
        let xml = r#"{"type":"rest-hook","endpoint":"https://example.org","payload":"application/fhir+xml"}"#;
        check("Patient", xml, "Subscription.channel.payload");
    }
}
