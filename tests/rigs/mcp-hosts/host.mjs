// A host on the official TypeScript SDK. Its arguments are the command line of an MCP server, which it starts and talks to. Each
// line of standard input is a task, and each line of standard output its result.
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const [command, ...args] = process.argv.slice(2);
const mode = process.env.HOST_MODE ?? 'legacy';
const client = new Client({ name: 'host', version: '1.0.0' }, { versionNegotiation: { mode } });
const tasks = {
  connect: async () => {
    await client.connect(new StdioClientTransport({ command, args, env: process.env, stderr: 'inherit' }));
    return client.getServerVersion().name;
  },
  list: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: async (text) => (await client.callTool({ name: 'echo', arguments: { text } })).content[0].text,
  close: async () => { await client.close(); return null; },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [task, argument] = JSON.parse(line);
  let result;
  try {
    result = { done: await tasks[task](argument) };
  } catch (error) {
    result = { error: error.message, data: error.data ?? null };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
