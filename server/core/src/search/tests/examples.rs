//! From JSON to answers: resources extracted, queries parsed, both compared. The queries are those of
//! <https://hl7.org/fhir/R4/search.html> where it gives any.

use conformance::{Definitions, ParamId, ResourceTypeId};

use super::predicate;
use crate::datatype::date::Zone;
use crate::ids::{Instant, ResourceKey};
use crate::index::{Context, Extractor, IndexEntry, IndexValue};
use crate::json::Document;
use crate::search::matches::{Candidate, Related, matches};
use crate::search::predicate::Predicate;

const RESOURCES: &[&str] = &[
    r#"{"resourceType":"Organization","id":"o1","name":"General Hospital","partOf":{"reference":"Organization/o2"}}"#,
    r#"{"resourceType":"Organization","id":"o2","name":"Trust"}"#,
    r#"{"resourceType":"Practitioner","id":"d1","name":[{"family":"Healer"}],"identifier":[{"system":"urn:doc","value":"9"}]}"#,
    r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"female","birthDate":"1970-03","meta":{"tag":[{"system":"urn:t","code":"study"}],"profile":["http://x/p|1"]},
        "identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"urn:hosp","value":"0012"},{"value":"77"}],
        "name":[{"family":"Müller-Example","given":["Eve","Ann"]}],"telecom":[{"system":"phone","value":"555"}],
        "address":[{"city":"Köln","country":"DE"}],"managingOrganization":{"reference":"Organization/o1"}}"#,
    r#"{"resourceType":"Patient","id":"p2","active":false,"gender":"male","birthDate":"1980-01-14","deceasedDateTime":"2020-01-01",
        "name":[{"family":"Severine"}],"generalPractitioner":[{"reference":"http://own/fhir/Practitioner/d1"}]}"#,
    r#"{"resourceType":"Observation","id":"b1","status":"final","category":[{"coding":[{"system":"urn:cat","code":"vital-signs"}]}],
        "code":{"coding":[{"system":"http://loinc.org","code":"85354-9","display":"Blood pressure panel"}]},
        "subject":{"reference":"Patient/p1"},"effectiveDateTime":"2013-01-14T10:00:00+01:00","performer":[{"reference":"Practitioner/d1"}],
        "component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}},
                     {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":60,"unit":"mmHg","system":"http://unitsofmeasure.org","code":"mm[Hg]"}}]}"#,
    r#"{"resourceType":"Observation","id":"b2","status":"preliminary","code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}],"text":"Glucose in blood"},
        "subject":{"identifier":{"system":"urn:hosp","value":"0099"}},"effectivePeriod":{"start":"2013-01-01","end":"2013-02-10"},
        "valueQuantity":{"value":5.40,"unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}}"#,
    r#"{"resourceType":"Observation","id":"b3","status":"final","code":{"text":"Note"},"subject":{"reference":"http://other/fhir/Patient/p1"},"valueString":"All well"}"#,
    r#"{"resourceType":"CarePlan","id":"c1","status":"active","intent":"plan","subject":{"reference":"Patient/p2"},"instantiatesCanonical":["http://own/fhir/PlanDefinition/1|2"]}"#,
    r#"{"resourceType":"ValueSet","id":"v1","status":"draft","url":"http://acme.org/fhir/ValueSet/123"}"#,
    r#"{"resourceType":"Location","id":"l1","status":"active","position":{"latitude":50.94,"longitude":6.96}}"#,
    r#"{"resourceType":"RiskAssessment","id":"r1","status":"final","subject":{"reference":"Patient/p1"},"prediction":[{"probabilityDecimal":0.80}]}"#,
    r#"{"resourceType":"Provenance","id":"pr1","recorded":"2013-01-14T10:00:00Z","target":[{"reference":"Observation/b1"}],"agent":[{"who":{"reference":"Practitioner/d1"}}]}"#,
];

struct Resource<'a> {
    key: ResourceKey,
    entries: Vec<IndexEntry<'a>>,
}

struct World<'a>(Vec<Resource<'a>>);

impl World<'_> {
    fn is_match(&self, resource: &Resource<'_>, predicate: &Predicate) -> bool {
        let candidate = Candidate {
            key: &resource.key,
            updated: Instant(1_358_154_000_000_000),
            entries: &resource.entries,
        };
        matches(predicate, &candidate, self)
    }

    fn search(&self, url: &str) -> String {
        let type_name = url.split('?').next().unwrap();
        let predicate = predicate(url);
        let of_type = self
            .0
            .iter()
            .filter(|resource| resource.key.resource_type.name() == type_name);
        of_type
            .filter(|resource| self.is_match(resource, &predicate))
            .map(|r| r.key.id.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Related for World<'_> {
    fn matches(&self, key: &ResourceKey, inner: &Predicate) -> bool {
        self.0
            .iter()
            .any(|resource| resource.key == *key && self.is_match(resource, inner))
    }

    fn is_referred(
        &self,
        target: &ResourceKey,
        source: ResourceTypeId,
        param: ParamId,
        inner: &Predicate,
    ) -> bool {
        let leads_here = |entry: &IndexEntry<'_>| {
            entry.param == param
                && matches!(&entry.value, IndexValue::Reference(key) if key == target)
        };
        let mut sources = self
            .0
            .iter()
            .filter(|resource| resource.key.resource_type == source);
        sources.any(|resource| {
            resource.entries.iter().any(leads_here) && self.is_match(resource, inner)
        })
    }
}

fn world<T>(then: impl FnOnce(&World<'_>) -> T) -> T {
    let documents: Vec<Document> = RESOURCES
        .iter()
        .map(|text| Document::parse(text.as_bytes()).expect(text))
        .collect();
    let context = Context {
        base_urls: &["http://own/fhir"],
        zone: Zone::UTC,
    };
    let resource = |document| {
        let root = Document::root(document);
        let text = |name| root.get(name).and_then(|v| v.as_str()).unwrap();
        let resource_type = Definitions::r4()
            .resource_type(&text("resourceType"))
            .unwrap();
        let issues = crate::validate::structure::check(resource_type, root);
        assert_eq!(issues, [], "the examples themselves are right");
        let key = ResourceKey::parse(&format!("{}/{}", resource_type.name(), text("id"))).unwrap();
        Resource {
            key,
            entries: Extractor::r4().extract(resource_type, root, &context),
        }
    };
    then(&World(documents.iter().map(resource).collect()))
}

/// Verifies: SRS-006, SRS-017, SRS-018, RC-002, RC-004, RC-014
#[test]
fn queries_find_what_they_should() {
    world(|world| {
        for (url, expected) in [
            ("Patient?", "p1 p2"),
            ("Patient?_id=p2,p9", "p2"),
            ("Patient?_lastUpdated=2013-01-14", "p1 p2"),
            ("Patient?_lastUpdated=gt2013-01-14", ""),
            ("Patient?name=mull", "p1"),
            ("Patient?family=M%C3%9CLLER", "p1"),
            ("Patient?family=example", ""),
            ("Patient?family:contains=example", "p1"),
            ("Patient?family:exact=M%C3%BCller-Example", "p1"),
            ("Patient?given:exact=eve", ""),
            ("Patient?given=eve&given=ann", "p1"),
            ("Patient?given=eve,x", "p1"),
            ("Patient?name=eve", "p1"),
            ("Patient?name=sev", "p2"),
            ("Patient?identifier=urn:hosp%7C0012", "p1"),
            ("Patient?identifier=urn:other%7C0012", ""),
            ("Patient?identifier=0012", "p1"),
            ("Patient?identifier=12", ""),
            ("Patient?identifier=%7C77", "p1"),
            ("Patient?identifier=%7C0012", ""),
            ("Patient?identifier=urn:hosp%7C", "p1"),
            (
                "Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7C0012",
                "p1",
            ),
            (
                "Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203%7CMR%7C77",
                "",
            ),
            ("Patient?gender=female", "p1"),
            (
                "Patient?gender=http://hl7.org/fhir/administrative-gender%7Cfemale",
                "p1",
            ),
            (
                "Patient?gender=http://hl7.org/fhir/administrative-gender%7C",
                "p1 p2",
            ),
            ("Patient?gender:not=female", "p2"),
            ("Patient?active=true", "p1"),
            ("Patient?deceased=true", "p2"),
            ("Patient?deceased=false", "p1"),
            ("Patient?phone=555", "p1"),
            ("Patient?telecom=phone%7C555", "p1"),
            ("Patient?telecom:missing=true", "p2"),
            ("Patient?birthdate=1970", "p1"),
            ("Patient?birthdate=1970-03-05", ""),
            ("Patient?birthdate=ne1970", "p2"),
            ("Patient?birthdate=lt1980-01-14", "p1"),
            ("Patient?address-city=koln", "p1"),
            ("Patient?address=de", "p1"),
            ("Patient?_tag=urn:t%7Cstudy", "p1"),
            ("Patient?_profile=http://x/p", "p1"),
            ("Patient?organization=o1", "p1"),
            ("Patient?organization.name=general", "p1"),
            ("Patient?organization:Organization.partof.name=trust", "p1"),
            ("Patient?general-practitioner=Practitioner/d1", "p2"),
            (
                "Patient?general-practitioner:Practitioner.identifier=urn:doc%7C9",
                "p2",
            ),
            (
                "Patient?_has:Observation:patient:code=http://loinc.org%7C85354-9",
                "p1",
            ),
            (
                "Patient?_has:Observation:patient:_has:Provenance:target:agent=Practitioner/d1",
                "p1",
            ),
            ("Patient?_has:Observation:patient:code=2339-0", ""),
            ("Observation?patient=p1", "b1"),
            ("Observation?subject=Patient/p1", "b1"),
            ("Observation?subject=http://own/fhir/Patient/p1", "b1"),
            ("Observation?subject=http://other/fhir/Patient/p1", "b3"),
            ("Observation?subject:identifier=urn:hosp%7C0099", "b2"),
            ("Observation?patient.name=eve", "b1"),
            ("Observation?subject.gender=female", "b1"),
            ("Observation?patient.organization.partof.name=trust", "b1"),
            ("Observation?performer.identifier=urn:doc%7C9", "b1"),
            (
                "Observation?code=http://loinc.org%7C85354-9,http://loinc.org%7C2339-0",
                "b1 b2",
            ),
            ("Observation?code:text=blood", "b1 b2"),
            ("Observation?code:text=panel", "b1"),
            ("Observation?code:not=85354-9", "b2 b3"),
            ("Observation?combo-code=8480-6", "b1"),
            ("Observation?category=vital-signs&status=final", "b1"),
            ("Observation?date=2013-01-14", "b1"),
            ("Observation?date=2013-01-14T09:00Z", "b1"),
            ("Observation?date=2013-01", "b1"),
            ("Observation?date=2013", "b1 b2"),
            ("Observation?date=gt2013-01", "b2"),
            ("Observation?date=sa2013-01-13", "b1"),
            ("Observation?date:missing=true", "b3"),
            (
                "Observation?value-quantity=5.4%7Chttp://unitsofmeasure.org%7Cmmol/L",
                "b2",
            ),
            ("Observation?value-quantity=5.40", "b2"),
            ("Observation?value-quantity=5.41", ""),
            ("Observation?value-quantity=5", "b2"),
            ("Observation?value-quantity=gt5.4", ""),
            ("Observation?value-quantity=ge5.4%7C%7Cmmol/L", "b2"),
            ("Observation?value-quantity=5.4%7C%7Cmg", ""),
            ("Observation?value-string=all", "b3"),
            (
                "Observation?component-code-value-quantity=http://loinc.org%7C8480-6$gt100",
                "b1",
            ),
            (
                "Observation?component-code-value-quantity=http://loinc.org%7C8462-4$gt100",
                "",
            ),
            ("Observation?combo-code-value-quantity=2339-0$lt6", "b2"),
            ("Observation?code-value-string=x$all", ""),
            (
                "CarePlan?instantiates-canonical=http://own/fhir/PlanDefinition/1",
                "c1",
            ),
            ("CarePlan?instantiates-canonical=PlanDefinition/1", "c1"),
            ("ValueSet?url=http://acme.org/fhir/ValueSet/123", "v1"),
            ("ValueSet?url:below=http://acme.org/fhir/", "v1"),
            (
                "ValueSet?url:above=http://acme.org/fhir/ValueSet/123/x",
                "v1",
            ),
            ("Location?near=50.95%7C6.97%7C5%7Ckm", "l1"),
            ("Location?near=51.95%7C6.97%7C5%7Ckm", ""),
            ("RiskAssessment?probability=0.8", "r1"),
            ("RiskAssessment?probability=gt0.8", ""),
            ("RiskAssessment?probability=ap0.75", "r1"),
        ] {
            assert_eq!(world.search(url), expected, "{url}");
        }
    });
}

/// `p` and `p:not`, `:missing=true` and `:missing=false` share a type out between them.
#[test]
fn a_condition_and_its_opposite_cover_everything() {
    world(|world| {
        for resource_type in ["Patient", "Observation", "CarePlan"] {
            for row in crate::search::supported::parameters(super::named(resource_type)) {
                let found = |query: &str| {
                    world
                        .search(&format!("{resource_type}?{}{query}", row.param.code))
                        .split_whitespace()
                        .count()
                };
                let all = world
                    .search(&format!("{resource_type}?"))
                    .split_whitespace()
                    .count();
                assert_eq!(
                    found(":missing=true") + found(":missing=false"),
                    all,
                    "{resource_type}.{}",
                    row.param.code
                );
                if row.modifiers.contains(&"not") && row.param.code != "_id" {
                    assert_eq!(
                        found("=final") + found(":not=final"),
                        all,
                        "{resource_type}.{}",
                        row.param.code
                    );
                }
            }
        }
    });
}
