"""Drives a Stoker server with fhirpy, a client written by others; ends with an error when anything is not as FHIR says."""

import sys

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

client = SyncFHIRClient(sys.argv[1])

patient = client.resource(
    "Patient",
    name=[{"family": "Testcase", "given": ["Ada"]}],
    identifier=[{"system": "urn:example:mrn", "value": "fhirpy-1"}],
    birthDate="1970-01-01",
)
patient.save()
assert patient["id"] and patient["meta"]["versionId"] == "1", patient

patient["birthDate"] = "1970-01-02"
patient.save()
assert patient["meta"]["versionId"] == "2", patient

for number in range(25):
    client.resource(
        "Observation",
        status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        subject=patient.to_reference(),
        effectiveDateTime=f"2024-01-{number + 1:02}T10:00:00Z",
        valueQuantity={"value": 60 + number, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    ).save()

observations = client.resources("Observation").search(subject=patient.to_reference().reference).sort("-date")
# `count()` sends a parameter that FHIR does not define: refused by default, left out when the client asks for lenience.
lenient = SyncFHIRClient(sys.argv[1], extra_headers={"Prefer": "handling=lenient"})
counted = lenient.resources("Observation").search(subject=patient.to_reference().reference).count()
assert counted == 25, counted
everything = observations.limit(10).fetch_all()
assert [o["effectiveDateTime"] for o in everything] == sorted((o["effectiveDateTime"] for o in everything), reverse=True)
assert len({o["id"] for o in everything}) == 25, "paging repeats or skips"

found = client.resources("Patient").search(identifier="urn:example:mrn|fhirpy-1").first()
assert found["id"] == patient["id"]
included = client.resources("Observation").search(patient=patient["id"]).include("Observation", "subject").limit(1).fetch_raw()
kinds = {entry["resource"]["resourceType"] for entry in included["entry"]}
assert kinds == {"Patient", "Observation"}, kinds
high = client.resources("Observation").search(value_quantity="gt80||/min", patient=patient["id"]).fetch_all()
assert len(high) == 4, len(high)

try:
    client.resources("Patient").search(colour="red").fetch()
    raise AssertionError("an unknown parameter was accepted")
except OperationOutcome as refusal:
    assert "colour" in str(refusal), refusal

# Conditional update: the first creates, the second finds what the first made.
for number in range(2):
    person = client.resource("Patient", identifier=[{"system": "urn:example:mrn", "value": "fhirpy-2"}], active=True)
    (_, is_new) = client.resources("Patient").search(identifier="urn:example:mrn|fhirpy-2").update(person)
    assert is_new == (number == 0), number
assert len(client.resources("Patient").search(identifier="urn:example:mrn|fhirpy-2").fetch_all()) == 1

last = everything[0]
last.delete()
try:
    client.reference("Observation", last["id"]).to_resource()
    raise AssertionError("a deleted resource was read")
except (ResourceNotFound, OperationOutcome):
    pass
print("fhirpy: all as FHIR says")
