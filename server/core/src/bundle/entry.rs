//! One entry of a transaction or batch: its request read and checked.
//!
//! Spec: <https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.request>

use conformance::{Definitions, ResourceTypeId};

use super::{Action, Entry, PlanContext, bad_entry};
use crate::body::resource_type_name;
use crate::datatype::date::{Zone, parse_instant};
use crate::datatype::reference::Reference;
use crate::ids::{Instant, ResourceId, ResourceKey};
use crate::issue::Problem;
use crate::json::ValueRef;
use crate::search::query_string;
use crate::versioning::{Tags, parse_if_match, parse_if_none_match};

/// Reads an entry. What is wrong with it becomes [`Action::Refused`].
pub fn read<'a>(
    index: usize,
    entry: ValueRef<'a>,
    context: &PlanContext<'_>,
    ids: &mut dyn FnMut() -> ResourceId,
) -> Entry<'a> {
    let resource = entry.get("resource");
    let reader = Reader {
        index,
        request: entry.get("request"),
        resource,
        context,
    };
    let action = reader
        .check_full_url(entry)
        .and_then(|()| reader.action(ids));
    let action = action.unwrap_or_else(Action::Refused);
    let full_url = entry
        .get("fullUrl")
        .and_then(ValueRef::as_str)
        .map(|url| url.into_owned());
    Entry {
        index,
        full_url,
        resource,
        action,
        links: Vec::new(),
    }
}

/// What a request's url names.
enum Target {
    Type(ResourceTypeId),
    Instance(ResourceKey),
    Condition(ResourceTypeId, Vec<(String, String)>),
}

struct Reader<'a, 'c> {
    index: usize,
    request: Option<ValueRef<'a>>,
    resource: Option<ValueRef<'a>>,
    context: &'c PlanContext<'c>,
}

impl Reader<'_, '_> {
    fn refuse<T>(&self, element: &str, text: &str) -> Result<T, Problem> {
        Err(bad_entry(self.index, element, text))
    }

    fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let Some(value) = self.request.and_then(|request| request.get(name)) else {
            return Ok(None);
        };
        match value.as_str() {
            Some(text) if !text.is_empty() => Ok(Some(text.into_owned())),
            _ => self.refuse(
                &format!("request.{name}"),
                "a string that is not empty is expected",
            ),
        }
    }

    fn action(&self, ids: &mut dyn FnMut() -> ResourceId) -> Result<Action, Problem> {
        let Some(method) = self.text("method")? else {
            return self.refuse(
                "request.method",
                "`request.method` and `request.url` are required",
            );
        };
        let Some(url) = self.text("url")? else {
            return self.refuse(
                "request.url",
                "`request.url` is required, such as `Patient` or `Patient/1`",
            );
        };
        let url = self.relative(&url)?;
        self.refuse_useless_conditions(&method)?;
        match method.as_str() {
            "GET" | "HEAD" => self.get(url, method == "HEAD"),
            "POST" => self.create(url, ids),
            "PUT" => self.update(url, ids),
            "PATCH" => self.patch(url),
            "DELETE" => self.delete(url),
            _ => self.refuse(
                "request.method",
                "it is one of GET, HEAD, POST, PUT, PATCH, DELETE",
            ),
        }
    }

    /// "fullUrl SHALL NOT disagree with the id in the resource": otherwise a reference could mean either.
    fn check_full_url(&self, entry: ValueRef<'_>) -> Result<(), Problem> {
        let text = |value: Option<ValueRef<'_>>| {
            value
                .and_then(ValueRef::as_str)
                .map(|text| text.into_owned())
        };
        let full_url = text(entry.get("fullUrl"));
        let id = text(self.resource.and_then(|resource| resource.get("id")));
        let (Some(full_url), Some(id)) = (full_url, id) else {
            return Ok(());
        };
        match Reference::parse(&full_url, &[]) {
            Some(Reference::Absolute {
                url,
                resource_type: Some(_),
                ..
            }) if !url.ends_with(&format!("/{id}")) => {
                self.refuse("fullUrl", "it names another id than the resource")
            }
            _ => Ok(()),
        }
    }

    /// The url relative to the base. Absolute ones are taken below an own base only.
    fn relative<'u>(&self, url: &'u str) -> Result<&'u str, Problem> {
        if !url.contains("://") {
            return Ok(url.strip_prefix('/').unwrap_or(url));
        }
        let below = |base: &&str| {
            url.strip_prefix(base.trim_end_matches('/'))?
                .strip_prefix('/')
        };
        match self.context.base_urls.iter().find_map(below) {
            Some(url) => Ok(url),
            None => self.refuse(
                "request.url",
                "it leads to another server; write it relative to the base",
            ),
        }
    }

    /// A condition that the method does not know would be disregarded, which is worse than an error.
    fn refuse_useless_conditions(&self, method: &str) -> Result<(), Problem> {
        let allowed: &[&str] = match method {
            "GET" | "HEAD" => &["ifNoneMatch", "ifModifiedSince"],
            "POST" => &["ifNoneExist"],
            _ => &["ifMatch"],
        };
        for name in ["ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"] {
            let is_given = self
                .request
                .is_some_and(|request| request.get(name).is_some());
            if is_given && !allowed.contains(&name) {
                let text = format!(
                    "`{name}` does not apply to {method}; there it is {}",
                    allowed.join(" or ")
                );
                return self.refuse(&format!("request.{name}"), &text);
            }
        }
        Ok(())
    }

    fn target(&self, url: &str) -> Result<Target, Problem> {
        if let Some((name, query)) = url.split_once('?') {
            let resource_type = self.resource_type(name)?;
            let params = self.query(query)?;
            return Ok(Target::Condition(resource_type, params));
        }
        if url.contains('/') {
            return match ResourceKey::parse(url) {
                Some(key) => Ok(Target::Instance(key)),
                None => self.refuse(
                    "request.url",
                    "`Type/id` is expected, with a type of FHIR R4 and a valid id",
                ),
            };
        }
        self.resource_type(url).map(Target::Type)
    }

    fn resource_type(&self, name: &str) -> Result<ResourceTypeId, Problem> {
        match Definitions::r4().resource_type(name) {
            Some(resource_type) => Ok(resource_type),
            None => self.refuse(
                "request.url",
                "it does not start with a resource type of FHIR R4",
            ),
        }
    }

    fn query(&self, query: &str) -> Result<Vec<(String, String)>, Problem> {
        let params = query_string::decode(query)
            .map_err(|p| bad_entry(self.index, "request", &p.to_string()))?;
        if params.is_empty() {
            self.refuse(
                "request",
                "the condition is empty and would match everything",
            )
        } else {
            Ok(params)
        }
    }

    fn if_match(&self) -> Result<Option<Tags>, Problem> {
        let text = self.text("ifMatch")?;
        let tags = text.map(|text| parse_if_match(&text)).transpose();
        tags.map_err(|p| bad_entry(self.index, "request.ifMatch", &p.to_string()))
    }

    /// The resource must be there and of this type.
    fn check_resource(&self, resource_type: ResourceTypeId) -> Result<(), Problem> {
        let Some(resource) = self.resource else {
            return self.refuse("resource", "it has no resource to write");
        };
        match resource_type_name(resource) {
            Some(name) if name == resource_type.name() => Ok(()),
            _ => {
                let text = format!(
                    "`request.url` names `{}`, the resource is of another type",
                    resource_type.name()
                );
                self.refuse("resource", &text)
            }
        }
    }

    fn create(&self, url: &str, ids: &mut dyn FnMut() -> ResourceId) -> Result<Action, Problem> {
        if url.contains(['$', '/']) {
            return self.refuse("request.url", "POST in a Bundle creates, so the url is a type; operations and `_search` are not supported there yet");
        }
        let Target::Type(resource_type) = self.target(url)? else {
            return self.refuse(
                "request.url",
                "POST creates, so the url is a type; a condition goes into `ifNoneExist`",
            );
        };
        self.check_resource(resource_type)?;
        let condition = self.text("ifNoneExist")?;
        // The value is the query alone; some clients repeat the type in front.
        let query = condition
            .as_deref()
            .map(|text| text.split_once('?').map_or(text, |(_, query)| query));
        let if_none_exist = query.map(|query| self.query(query)).transpose()?;
        Ok(Action::Create {
            key: ResourceKey {
                resource_type,
                id: ids(),
            },
            if_none_exist,
        })
    }

    fn update(&self, url: &str, ids: &mut dyn FnMut() -> ResourceId) -> Result<Action, Problem> {
        let if_match = self.if_match()?;
        let id = self.resource.and_then(|resource| resource.get("id"));
        match self.target(url)? {
            Target::Instance(key) => {
                self.check_resource(key.resource_type)?;
                match id.and_then(ValueRef::as_str) {
                    Some(id) if id == key.id.as_str() => Ok(Action::Update { key, if_match }),
                    Some(_) => {
                        self.refuse("resource.id", "it differs from the id in `request.url`")
                    }
                    None => {
                        self.refuse("resource.id", "an update needs the id in the resource, too")
                    }
                }
            }
            Target::Condition(resource_type, condition) => {
                self.check_resource(resource_type)?;
                let id = match id {
                    None => ids(),
                    Some(id) => match id.as_str().and_then(|id| ResourceId::parse(&id)) {
                        Some(id) => id,
                        None => return self.refuse("resource.id", "it is no logical id"),
                    },
                };
                Ok(Action::ConditionalUpdate {
                    key: ResourceKey { resource_type, id },
                    condition,
                    if_match,
                })
            }
            Target::Type(_) => {
                self.refuse("request.url", "PUT needs `Type/id` or `Type?condition`")
            }
        }
    }

    fn patch(&self, url: &str) -> Result<Action, Problem> {
        let if_match = self.if_match()?;
        let action = match self.target(url)? {
            Target::Instance(key) => Action::Patch { key, if_match },
            Target::Condition(resource_type, condition) => Action::ConditionalPatch {
                resource_type,
                condition,
                if_match,
            },
            Target::Type(_) => {
                return self.refuse("request.url", "PATCH needs `Type/id` or `Type?condition`");
            }
        };
        match self.resource.and_then(resource_type_name).as_deref() {
            Some("Binary" | "Parameters") => Ok(action),
            _ => self.refuse(
                "resource",
                "a patch is a Binary (JSON Patch) or Parameters (FHIRPath Patch)",
            ),
        }
    }

    fn delete(&self, url: &str) -> Result<Action, Problem> {
        match self.target(url)? {
            Target::Instance(key) => Ok(Action::Delete {
                key,
                if_match: self.if_match()?,
            }),
            Target::Condition(resource_type, condition) => Ok(Action::ConditionalDelete {
                resource_type,
                condition,
            }),
            Target::Type(_) => {
                self.refuse("request.url", "DELETE needs `Type/id` or `Type?condition`")
            }
        }
    }

    fn get(&self, url: &str, is_head: bool) -> Result<Action, Problem> {
        let none_match = self.text("ifNoneMatch")?;
        let if_none_match = none_match
            .map(|text| parse_if_none_match(&text))
            .transpose()
            .map_err(|p| bad_entry(self.index, "request.ifNoneMatch", &p.to_string()))?;
        let if_modified_since = match self.text("ifModifiedSince")? {
            None => None,
            Some(text) => match parse_instant(&text) {
                Some(time) => Some(Instant(time.start(Zone::UTC).0)),
                None => return self.refuse("request.ifModifiedSince", "an instant is expected"),
            },
        };
        Ok(Action::Get {
            url: url.to_owned(),
            is_head,
            if_none_match,
            if_modified_since,
        })
    }
}
