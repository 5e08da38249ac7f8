// A host on the official TypeScript SDK that talks to an MCP server over HTTP and signs in by OAuth. Its argument is the server's
// URL. The lines are those of host.mjs. When a task needs the person, it writes `{"open": URL}` and reads `["callback", URL]`.
import { createInterface } from 'node:readline';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

const server = new URL(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const kept = { all: [] };
const provider = {
  redirectUrl: 'http://127.0.0.1:7777/callback',
  clientMetadata: {
    client_name: 'TypeScript host',
    redirect_uris: ['http://127.0.0.1:7777/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  },
  state: () => 'a state of the host',
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; kept.all.push(tokens); },
  redirectToAuthorization: (url) => { kept.page = url; },
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
  invalidateCredentials: (scope) => { if (scope === 'all' || scope === 'tokens') delete kept.tokens; },
};
let client;
let transport;
const connect = async () => {
  client = new Client({ name: 'host', version: '1.0.0' });
  transport = new StreamableHTTPClientTransport(server, { authProvider: provider });
  await client.connect(transport);
};
// Does what a person's sign-in may have to precede.
const signedIn = async (action) => {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    say({ open: kept.page.href });
    const [, url] = JSON.parse((await lines.next()).value);
    await transport.finishAuth(new URL(url).searchParams);
    return await action();
  }
};
const tasks = {
  connect: async () => { await signedIn(connect); return client.getServerVersion().name; },
  call: async (text) =>
    signedIn(async () => (await client.callTool({ name: 'echo', arguments: { text } })).content[0].text),
  // The SDK looks at no clock, and refreshes when it is refused.
  expire: async () => null,
  // Goes back to the first tokens, as a host that was restored from a backup.
  replay: async () => { kept.tokens = kept.all[0]; return null; },
  close: async () => { await client.close(); return null; },
};
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const [task, argument] = JSON.parse(line.value);
  try {
    say({ done: await tasks[task](argument) });
  } catch (error) {
    say({ error: error.message });
  }
}
