// The identity provider of an enterprise. It rotates its refresh token strictly, and issues ID-JAGs that are signed.

import { randomBytes } from 'node:crypto';
import { SignJWT, exportJWK, generateKeyPair, jwtVerify } from 'jose';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag';
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';

export class IdentityProvider {
  /** The client of the person's programs at the MCP server. The provider of an enterprise knows it. */
  clientId = '';
  counts = { refresh: 0, exchange: 0, replay: 0 };
  #refresh = 'rt-0';
  #ended = false;

  /** A provider with this issuer, which calls itself `name` in ID-JAGs. */
  static async at(issuer, name) {
    const provider = new IdentityProvider();
    Object.assign(provider, { issuer, name });
    provider.keys = await generateKeyPair('RS256');
    provider.jwks = { keys: [{ ...(await exportJWK(provider.keys.publicKey)), kid: '1', use: 'sig', alg: 'RS256' }] };
    return provider;
  }

  idToken(lifetime = 300) {
    return this.#signed('JWT', { sub: 'alice', aud: 'desktop', nonce: randomBytes(4).toString('hex') }, lifetime);
  }

  #signed(typ, claims, lifetime) {
    const header = { alg: 'RS256', typ, kid: '1' };
    const jwt = new SignJWT({ iss: this.issuer, ...claims }).setProtectedHeader(header).setIssuedAt();
    return jwt.setExpirationTime(`${lifetime}s`).sign(this.keys.privateKey);
  }

  metadata() {
    return { issuer: this.issuer, token_endpoint: `${this.issuer}/token`, jwks_uri: `${this.issuer}/jwks` };
  }

  /** Answers a token request with a status and a body. */
  async token(form) {
    if (form.get('grant_type') === 'refresh_token') return this.#refreshed(form.get('refresh_token'));
    const isExchange = form.get('grant_type') === EXCHANGE && form.get('subject_token_type') === ID_TOKEN;
    return isExchange ? this.#exchanged(form) : [400, { error: 'unsupported_grant_type' }];
  }

  async #refreshed(presented) {
    this.counts.refresh += 1;
    if (this.#ended || presented !== this.#refresh) {
      this.counts.replay += 1;
      this.#ended = true;
      return [400, { error: 'invalid_grant' }];
    }
    this.#refresh = `rt-${this.counts.refresh}`;
    const tokens = { access_token: randomBytes(8).toString('hex'), token_type: 'Bearer', expires_in: 300 };
    return [200, { ...tokens, refresh_token: this.#refresh, id_token: await this.idToken() }];
  }

  async #exchanged(form) {
    this.counts.exchange += 1;
    let subject;
    try {
      subject = (await jwtVerify(form.get('subject_token'), this.keys.publicKey)).payload.sub;
    } catch {
      return [400, { error: 'invalid_grant' }];
    }
    const jti = randomBytes(16).toString('hex');
    const [aud, resource, scope] = ['audience', 'resource', 'scope'].map((name) => form.get(name) ?? '');
    const claims = { iss: this.name, sub: subject, aud, resource, scope, client_id: this.clientId, jti };
    const assertion = await this.#signed('oauth-id-jag+jwt', claims, 120);
    return [200, { access_token: assertion, issued_token_type: ID_JAG, token_type: 'N_A', expires_in: 120 }];
  }
}
