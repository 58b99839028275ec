// A token server nobody here wrote: npm `oidc-provider` checks our assertions (signature, aud, jti, exp).
// usage: node token-server.mjs <folder with node_modules> <jwks file> [algorithm]; prints the port.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, jwksFile] = process.argv.slice(2);
const require = createRequire(folder + '/x.js');
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const jwks = JSON.parse(readFileSync(jwksFile, 'utf8'));

const placeholder = 'http://127.0.0.1';
const listen = (app) => new Promise((done) => {
  const server = app.listen(0, '127.0.0.1', () => done(server.address().port));
});
// The issuer holds the port, so it is chosen first.
const { createServer } = await import('node:http');
const probe = createServer();
const port = await listen(probe);
await new Promise((done) => probe.close(done));
const issuer = `${placeholder}:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'client-1',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: process.argv[4] ?? 'ES384',
    jwks,
    scope: 'system/Patient.rs system/Observation.rs',
  }],
  scopes: ['system/Patient.rs', 'system/Observation.rs'],
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  enabledJWA: { clientAuthSigningAlgValues: ['RS384', 'ES384'] },
});
provider.on('grant.error', (_ctx, error) => console.error(error.error, error.error_detail ?? ''));
provider.listen(port, '127.0.0.1', () => console.log(port));
