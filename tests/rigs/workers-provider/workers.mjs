// The parts of Cloudflare's runtime that the provider needs.

import { register } from 'node:module';

const source = 'export class WorkerEntrypoint { constructor(ctx, env) { this.ctx = ctx; this.env = env; } }';
const hooks = `export async function resolve(specifier, context, next) {
  if (specifier !== 'cloudflare:workers') return next(specifier, context);
  return { url: 'data:text/javascript,' + encodeURIComponent(${JSON.stringify(source)}), shortCircuit: true };
}`;
register('data:text/javascript,' + encodeURIComponent(hooks));

/** A KV namespace in memory. */
export class Kv {
  #entries = new Map();

  async get(key, options) {
    const entry = this.#entries.get(key);
    if (!entry || entry.ends <= Date.now()) return null;
    const isJson = options === 'json' || options?.type === 'json';
    return isJson ? JSON.parse(entry.value) : entry.value;
  }

  async put(key, value, { expirationTtl, expiration } = {}) {
    const ends = expiration ? expiration * 1000 : expirationTtl ? Date.now() + expirationTtl * 1000 : Infinity;
    this.#entries.set(key, { value, ends });
  }

  async delete(key) {
    this.#entries.delete(key);
  }

  async list({ prefix = '' } = {}) {
    const names = [...this.#entries.keys()].filter((name) => name.startsWith(prefix));
    return { keys: names.map((name) => ({ name })), list_complete: true, cursor: undefined };
  }
}
