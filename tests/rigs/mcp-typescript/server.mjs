#!/usr/bin/env node
// An MCP server on the official TypeScript SDK. Its /mcp takes the tokens of the authorization server that ISSUER names, and
// asks that server's introspection endpoint about each (RFC 7662). It prints one line of JSON when it is ready, and runs
// until its standard input closes.
import { randomUUID } from 'node:crypto';
import {
  createMcpExpressApp, getOAuthProtectedResourceMetadataUrl, mcpAuthMetadataRouter, requireBearerAuth,
} from '@modelcontextprotocol/express';
import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from '@modelcontextprotocol/node';
import {
  McpServer, OAuthError, OAuthErrorCode, createMcpHandler, fromJsonSchema, isLegacyRequest, requireScopes,
} from '@modelcontextprotocol/server';
import { control, counting, executed, pass } from './control.mjs';
import { Events } from './events.mjs';

const { ISSUER, CLIENT_ID = 'rig-basic', CLIENT_SECRET = 'rig-basic-secret', SCOPE = 'mcp:tools', ADMIN_SCOPE = 'mcp:admin' } = process.env;
const metadata = await (await fetch(`${ISSUER}/.well-known/oauth-authorization-server`)).json();

// --- the tools ---------------------------------------------------------------------------------------------------------

const text = (value) => ({ content: [{ type: 'text', text: value }] });
const schema = (properties) => fromJsonSchema({ type: 'object', properties, required: Object.keys(properties) });

function tools(announce) {
  const server = new McpServer({ name: 'rig-typescript', version: '1.0.0' });
  const tool = (name, properties, run, more = {}) => server.registerTool(
    name,
    { description: 'A tool for tests.', inputSchema: schema(properties), ...more },
    (args, ctx) => { executed(name); return run(args, ctx); },
  );
  const progress = (ctx, step, total) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    return ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: step, total } });
  };
  // Sends half of the progress, waits at the gate, and sends the other half.
  const stream = async (steps, ctx, cut) => {
    for (let step = 1; step <= steps; step += 1) {
      await progress(ctx, step, steps);
      if (step * 2 === steps) {
        await pass();
        if (cut) ctx.http.closeSSE();
      }
    }
    return text('done');
  };
  const echo = async (args) => text(args.text);
  tool('echo', { text: { type: 'string' } }, echo);
  tool('admin_echo', { text: { type: 'string' } }, echo, { scopeChallenge: requireScopes(SCOPE, ADMIN_SCOPE) });
  tool('whoami', {}, async (_args, ctx) => text(JSON.stringify({
    client_id: ctx.http.authInfo.clientId, sub: ctx.http.authInfo.extra.sub, scopes: ctx.http.authInfo.scopes,
  })));
  tool('slow', {}, async () => { await pass(); return text('done'); });
  tool('stream', { steps: { type: 'integer' } }, (args, ctx) => stream(args.steps, ctx, false));
  // The same, and the stream of the answer is cut behind the gate. The client resumes it.
  tool('cut_stream', { steps: { type: 'integer' } }, (args, ctx) => stream(args.steps, ctx, true));
  tool('announce', {}, async () => { announce(server); return text('done'); });
  return server;
}

// --- the protected endpoint --------------------------------------------------------------------------------------------

const verifier = {
  async verifyAccessToken(token) {
    const credentials = Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString('base64');
    const answer = await fetch(metadata.introspection_endpoint, {
      method: 'POST',
      headers: { authorization: `Basic ${credentials}` },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
    });
    if (!answer.ok) throw new Error(`the introspection endpoint answered ${answer.status}`);
    const known = await answer.json();
    if (!known.active) throw new OAuthError(OAuthErrorCode.InvalidToken, 'The token is unknown, expired or revoked');
    return {
      token,
      clientId: known.client_id,
      scopes: known.scope?.split(' ') ?? [],
      expiresAt: known.exp,
      resource: known.aud && new URL(known.aud),
      extra: { sub: known.sub },
    };
  },
};

const app = createMcpExpressApp();
const server = app.listen(0, '127.0.0.1');
await new Promise((resolve, reject) => { server.once('listening', resolve).once('error', reject); });
// Longer than any connection of a test is idle.
server.keepAliveTimeout = 120_000;
const origin = `http://127.0.0.1:${server.address().port}`;
const resource = new URL(`${origin}/mcp`);

control(app, () => ready);
app.use(mcpAuthMetadataRouter({ oauthMetadata: metadata, resourceServerUrl: resource, scopesSupported: [SCOPE] }));
const bearer = requireBearerAuth({
  verifier,
  requiredScopes: [SCOPE],
  expectedResource: resource,
  resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resource),
});

// The wire of 2026. Each request has a server of its own.
const handler = createMcpHandler(() => tools(() => handler.notify.toolsChanged()), { legacy: 'reject' });
const modern = toNodeHandler(handler);

// The wire of 2025, with sessions.
const sessions = new Map();
async function legacy(req, res) {
  const id = req.headers['mcp-session-id'];
  if (id !== undefined && !sessions.has(id)) {
    res.status(404).json({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null });
    return;
  }
  let transport = sessions.get(id);
  if (transport === undefined) {
    transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      eventStore: new Events(),
      retryInterval: 100,
      onsessioninitialized: (created) => { sessions.set(created, transport); },
      onsessionclosed: (closed) => { sessions.delete(closed); },
    });
    await tools((mcp) => mcp.sendToolListChanged()).connect(transport);
  }
  await transport.handleRequest(req, res, req.body);
}

app.all('/mcp', counting, bearer, async (req, res) => {
  const isLegacy = await isLegacyRequest(await toWebRequest(req, req.body));
  await (isLegacy ? legacy(req, res) : modern(req, res, req.body));
});

const ready = { ready: true, pid: process.pid, admin: origin, mcp: resource.href };
process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0)).resume();
process.stdout.write(`${JSON.stringify(ready)}\n`);
