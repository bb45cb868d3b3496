// The certified provider `oidc-provider`, with its own pages, for one gateway: `node provider.mjs ISSUER GATEWAY ALGORITHM`.
// A new key signs each time it is started.

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { Provider } from 'oidc-provider'

const [, , issuer, gateway, algorithm] = process.argv
const made = algorithm === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2048 })
const key = { ...made.privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: algorithm }

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'gate',
      client_secret: 'a secret of the gate/+ %',
      redirect_uris: [`${gateway}/oauth2/callback`],
      post_logout_redirect_uris: [`${gateway}/`],
      backchannel_logout_uri: `${gateway}/oauth2/backchannel-logout`,
      backchannel_logout_session_required: true,
      grant_types: ['authorization_code', 'refresh_token'],
      id_token_signed_response_alg: algorithm,
    },
  ],
  jwks: { keys: [key] },
  cookies: { keys: [randomUUID()] },
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', 'email', 'groups'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  // What the gateway is told is in the ID token alone.
  conformIdTokenClaims: false,
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  features: { backchannelLogout: { enabled: true } },
  // The gateway is on this machine, where it posts to nobody by itself.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  ttl: { AccessToken: 60, IdToken: 3600, Session: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600 },
  async findAccount(_, id) {
    return { accountId: id, claims: () => ({ sub: id, email: id, email_verified: true, groups: ['ml', 'ops'] }) }
  },
})
provider.on('server_error', (_, error) => console.error('server error', error))
const { hostname, port } = new URL(issuer)
provider.listen(Number(port), hostname, () => console.error('listening'))
