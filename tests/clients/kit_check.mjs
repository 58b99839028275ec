// Drives a Stoker server with fhir-kit-client, and checks answers with HL7's FHIRPath implementation for JavaScript.
import assert from 'node:assert/strict';
import { Client } from 'fhir-kit-client';
import fhirpath from 'fhirpath';
import r4 from 'fhirpath/fhir-context/r4/index.js';

const client = new Client({ baseUrl: process.argv[2] });
const status = async (promise) => {
  try {
    await promise;
    return 200;
  } catch (error) {
    return error.response?.status ?? error.status ?? String(error);
  }
};

const capability = await client.capabilityStatement();
assert.equal(capability.fhirVersion, '4.0.1');
assert.deepEqual(fhirpath.evaluate(capability, "rest.resource.where(type = 'Patient').interaction.where(code = 'read').exists()", null, r4), [true]);

const patient = await client.create({
  resourceType: 'Patient',
  body: { resourceType: 'Patient', identifier: [{ system: 'urn:example:mrn', value: 'kit-1' }], name: [{ family: 'Testcase' }] },
});
const version1 = await client.vread({ resourceType: 'Patient', id: patient.id, version: '1' });
assert.equal(version1.id, patient.id);

const patched = await client.patch({
  resourceType: 'Patient',
  id: patient.id,
  jsonPatch: [{ op: 'add', path: '/birthDate', value: '1970-01-01' }],
});
assert.equal(patched.birthDate, '1970-01-01');

const body = (number) => ({
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: 'http://loinc.org', code: '8480-6' }] },
  subject: { reference: `Patient/${patient.id}` },
  effectiveDateTime: `2024-03-${String(number).padStart(2, '0')}`,
  valueQuantity: { value: 100 + number, unit: 'mm[Hg]', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' },
});
const batch = await client.batch({
  body: {
    resourceType: 'Bundle',
    type: 'batch',
    entry: [1, 2, 3, 4, 5].map((n) => ({ resource: body(n), request: { method: 'POST', url: 'Observation' } })),
  },
});
assert.deepEqual(fhirpath.evaluate(batch, "entry.where(response.status.startsWith('201')).count()", null, r4), [5]);

let page = await client.resourceSearch({ resourceType: 'Observation', searchParams: { patient: patient.id, _count: 2, _sort: '-date' } });
const dates = [];
while (page) {
  dates.push(...fhirpath.evaluate(page, 'Bundle.entry.resource.effective', null, r4).map(String));
  page = await client.nextPage({ bundle: page });
}
assert.deepEqual(dates, ['2024-03-05', '2024-03-04', '2024-03-03', '2024-03-02', '2024-03-01']);

const compartment = await client.compartmentSearch({ resourceType: 'Observation', compartment: { resourceType: 'Patient', id: patient.id } });
assert.equal(compartment.entry.length, 5);
const history = await client.history({ resourceType: 'Patient', id: patient.id });
assert.deepEqual(fhirpath.evaluate(history, 'entry.resource.meta.versionId', null, r4), ['2', '1']);
const everything = await client.operation({ name: 'everything', resourceType: 'Patient', id: patient.id, method: 'GET' });
assert.equal(everything.entry.length, 6);

const conditional = await client.create({
  resourceType: 'Patient',
  body: { resourceType: 'Patient', identifier: [{ system: 'urn:example:mrn', value: 'kit-1' }] },
  options: { headers: { 'If-None-Exist': 'identifier=urn:example:mrn|kit-1' } },
});
assert.equal(conditional.id, patient.id);

assert.equal(await status(client.update({ resourceType: 'Patient', id: patient.id, body: patched, options: { headers: { 'If-Match': 'W/"1"' } } })), 412);
assert.equal(await status(client.read({ resourceType: 'Patient', id: 'unknown' })), 404);
await client.delete({ resourceType: 'Patient', id: patient.id });
assert.equal(await status(client.read({ resourceType: 'Patient', id: patient.id })), 410);
console.log('fhir-kit-client and fhirpath.js: all as FHIR says');
