"""Drives a Stoker server with fhirclient (SMART on FHIR's own client), whose models refuse what is not R4."""

import sys

from fhirclient import client
from fhirclient.models import bundle, observation, patient

server = client.FHIRClient(settings={"app_id": "stoker_check", "api_base": sys.argv[1]}).server

person = patient.Patient(
    {"name": [{"family": "Testcase", "given": ["Grace"]}], "identifier": [{"system": "urn:example:mrn", "value": "smart-1"}]}
)
answer = person.create(server)
assert answer["resourceType"] == "Patient", answer
person = patient.Patient.read(answer["id"], server)
assert person.name[0].family == "Testcase"

person.gender = "female"
person.update(server)
assert patient.Patient.read(person.id, server).gender == "female"

entries = [
    {
        "fullUrl": f"urn:uuid:00000000-0000-4000-8000-00000000000{number}",
        "resource": {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "subject": {"reference": f"Patient/{person.id}"},
            "effectiveDateTime": f"2024-02-0{number}T08:00:00+01:00",
            "valueQuantity": {"value": 70 + number, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        },
        "request": {"method": "POST", "url": "Observation"},
    }
    for number in range(1, 4)
]
transaction = bundle.Bundle({"resourceType": "Bundle", "type": "transaction", "entry": entries})
outcome = bundle.Bundle(server.post_json("", transaction.as_json()).json())
assert [entry.response.status[:3] for entry in outcome.entry] == ["201"] * 3

search = observation.Observation.where({"subject": f"Patient/{person.id}", "_sort": "date", "_count": "2"})
found = search.perform(server)
assert found.type == "searchset" and len(found.entry) == 2 and found.total in (None, 3), found.as_json()
weights = [o.valueQuantity.value for o in observation.Observation.where({"subject": f"Patient/{person.id}", "_sort": "date"}).perform_resources(server)]
assert [float(w) for w in weights] == [71, 72, 73], weights

assert server.capabilityStatement.fhirVersion == "4.0.1"
person.delete(server)
try:
    patient.Patient.read(person.id, server)
    raise AssertionError("a deleted patient was read")
except Exception as gone:  # the client has a class of its own for each status
    assert "410" in str(gone) or getattr(getattr(gone, "response", None), "status_code", 0) == 410, repr(gone)
print("fhirclient: all as FHIR says")
