// An MCP server behind Cloudflare's OAuth provider for Workers, which takes ID-JAGs, and the identity provider that issues them.
// It prints one line of JSON when it is ready, and runs until its standard input closes.

import http from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { Kv } from './workers.mjs';
import { IdentityProvider } from './identity.mjs';

const { OAuthProvider } = await import('@cloudflare/workers-oauth-provider');

// The provider trusts issuers with HTTPS only, and fetches their keys over it. They are those of this process.
const TRUSTED = 'https://idp.example.com';
const JWKS = `${TRUSTED}/jwks`;
const LIFETIME = Number(process.env.LIFETIME ?? 300);

const [server, base] = await listening();
const [admin, issuer] = await listening();
const provider = await IdentityProvider.at(issuer, TRUSTED);
const counts = { grant: 0 };

const outward = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const url = input instanceof Request ? input.url : String(input);
  return url === JWKS ? Promise.resolve(Response.json(provider.jwks)) : outward(input, init);
};

const resource = `${base}/mcp`;
const worker = new OAuthProvider({
  apiRoute: '/mcp',
  apiHandler: { fetch: mcp },
  defaultHandler: { fetch: () => new Response(null, { status: 404 }) },
  authorizeEndpoint: '/authorize',
  tokenEndpoint: '/token',
  clientRegistrationEndpoint: '/register',
  scopesSupported: ['mcp:tools'],
  accessTokenTTL: LIFETIME,
  resourceMetadata: { resource, authorization_servers: [base] },
  enterpriseManagedAuthorization: {
    trustedIssuers: async ({ iss }) => (iss === TRUSTED ? { issuer: iss, jwksUri: JWKS, algorithms: ['RS256'] } : null),
    mapClaims: async ({ claims, requestedScope }) => ({
      userId: `enterprise-${claims.sub}`,
      scope: requestedScope,
      props: { subject: claims.sub },
    }),
  },
});
const env = { OAUTH_KV: new Kv() };

serve(server, async (request) => {
  if (new URL(request.url).pathname === '/token') counts.grant += 1;
  const waiting = [];
  const context = { waitUntil: (promise) => waiting.push(promise), passThroughOnException() {}, props: {} };
  const answer = await worker.fetch(request, env, context);
  await Promise.all(waiting);
  return answer;
});

serve(admin, async (request) => {
  switch (new URL(request.url).pathname) {
    case '/.well-known/openid-configuration':
      return Response.json(provider.metadata());
    case '/jwks':
      return Response.json(provider.jwks);
    case '/token': {
      const [status, body] = await provider.token(new URLSearchParams(await request.text()));
      return Response.json(body, { status });
    }
    case '/config':
      provider.clientId = (await request.json()).client_id;
      return Response.json({});
    case '/stats':
      return Response.json({ ...counts, ...provider.counts });
    default:
      return new Response(null, { status: 404 });
  }
});

console.log(JSON.stringify({ admin: issuer, idp: issuer, mcp: resource, id_token: await provider.idToken() }));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

/** The MCP server behind the provider. */
async function mcp(request, _env, ctx) {
  const { id } = await request.json();
  return Response.json({ jsonrpc: '2.0', id, result: { subject: ctx.props.subject } });
}

async function listening() {
  const server = http.createServer();
  server.listen(0, '127.0.0.1', 1024);
  await once(server, 'listening');
  return [server, `http://127.0.0.1:${server.address().port}`];
}

function serve(server, answer) {
  server.on('request', async (incoming, outgoing) => {
    const hasBody = !['GET', 'HEAD'].includes(incoming.method);
    const body = hasBody ? await text(incoming) : undefined;
    const url = `http://${incoming.headers.host}${incoming.url}`;
    const request = new Request(url, { method: incoming.method, headers: incoming.headers, body });
    const { status, headers, ...rest } = await answer(request).catch((error) => {
      console.error(error);
      return { status: 500, headers: new Headers(), text: async () => '' };
    }).then(async (response) => ({ status: response.status, headers: response.headers, body: await response.text() }));
    outgoing.writeHead(status, Object.fromEntries(headers)).end(rest.body);
  });
}
