// The certified relying party `openid-client`, as an application uses it.

import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { EMAIL, Person, run } from './person.mjs'

const [issuer] = process.argv.slice(2)
const CALLBACK = 'http://127.0.0.1:9/callback'
const BYE = 'http://127.0.0.1:9/bye'
const SECRET = 'a secret with +%/ in it'

async function discover(id, secret, { metadata = {}, auth } = {}) {
  const config = await client.discovery(
    new URL(issuer),
    id,
    { client_secret: secret, ...metadata },
    auth ?? (secret ? client.ClientSecretBasic(secret) : client.None()),
    { execute: [client.allowInsecureRequests] },
  )
  // Signatures of ID tokens are verified with the key set, although they came from us directly.
  client.enableNonRepudiationChecks(config)
  return config
}

// A whole login; the tokens. `change` may do something to the address that comes back.
async function login(config, person, more = {}, change = (url) => url) {
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = client.randomNonce()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: 'openid profile email groups offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...more,
  })
  const back = change(await person.walk(url, CALLBACK))
  return client.authorizationCodeGrant(config, back, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true,
    maxAge: more.max_age,
  })
}

const refused = (code) => (error) => {
  assert.equal(error.error ?? error.code, code, error.message)
  return true
}

// The reason is said by the layer below.
const because = (reason) => (error) => {
  assert.match(error.cause?.message ?? error.message, reason)
  return true
}

const person = new Person()
const web = await discover('web', SECRET)
let tokens

await run({
  'the discovery document says what is there': () => {
    const server = web.serverMetadata()
    assert.equal(server.issuer, issuer)
    assert.ok(server.supportsPKCE())
    assert.equal(server.authorization_response_iss_parameter_supported, true)
    assert.equal(server.claims_parameter_supported, true)
  },
  'a code with PKCE becomes tokens': async () => {
    tokens = await login(web, person)
    const claims = tokens.claims()
    assert.equal(claims.sub, 'Cg4xNTg0MTE4NTY0MTc4NBIFbG9jYWw')
    assert.equal(claims.email, EMAIL)
    assert.deepEqual(claims.groups, ['admins', 'staff'])
    assert.deepEqual(person.met, ['password'])
  },
  'userinfo is about the same person': async () => {
    const { sub } = tokens.claims()
    const about = await client.fetchUserInfo(web, tokens.access_token, sub)
    assert.equal(about.email, EMAIL)
    await assert.rejects(client.fetchUserInfo(web, tokens.access_token, 'somebody else'))
  },
  'the session needs no second password': async () => {
    const silent = await login(web, person, { prompt: 'none' })
    assert.equal(silent.claims().sub, tokens.claims().sub)
    await login(web, person, { prompt: 'login', max_age: 0 })
    assert.deepEqual(person.met, ['password', 'password'])
    await assert.rejects(login(web, new Person(), { prompt: 'none' }), refused('login_required'))
  },
  'a foreign or missing `iss` is refused': async () => {
    const change = (value) => (url) => {
      if (value) url.searchParams.set('iss', value)
      else url.searchParams.delete('iss')
      return url
    }
    await assert.rejects(login(web, person, {}, change('https://evil.example')), because(/"iss"/))
    await assert.rejects(login(web, person, {}, change()), because(/"iss"/))
  },
  'a wrong verifier is refused': async () => {
    const wrong = { code_challenge: await client.calculatePKCECodeChallenge('x'.repeat(43)) }
    await assert.rejects(login(web, person, wrong), refused('invalid_grant'))
  },
  'single claims are given where they are asked for': async () => {
    const claims = JSON.stringify({ userinfo: { name: { essential: true } }, id_token: { email: null } })
    const few = await login(web, person, { scope: 'openid', claims })
    assert.equal(few.claims().email, EMAIL)
    assert.equal(few.claims().name, undefined)
    const about = await client.fetchUserInfo(web, few.access_token, few.claims().sub)
    assert.equal(about.name, 'user')
    assert.equal(about.email, undefined)
  },
  'refresh tokens rotate, and an old one ends the family': async () => {
    const first = tokens.refresh_token
    const second = await client.refreshTokenGrant(web, first)
    assert.notEqual(second.refresh_token, first)
    assert.equal(second.claims().sub, tokens.claims().sub)
    // An answer that was lost: the same successor.
    assert.equal((await client.refreshTokenGrant(web, first)).refresh_token, second.refresh_token)
    const third = await client.refreshTokenGrant(web, second.refresh_token)
    await assert.rejects(client.refreshTokenGrant(web, first), refused('invalid_grant'))
    await assert.rejects(client.refreshTokenGrant(web, third.refresh_token), refused('invalid_grant'))
  },
  'tokens are introspected and revoked': async () => {
    const mine = await login(web, person)
    const access = await client.tokenIntrospection(web, mine.access_token)
    assert.deepEqual([access.active, access.client_id, access.username], [true, 'web', EMAIL])
    assert.equal((await client.tokenIntrospection(web, mine.refresh_token)).active, true)
    await client.tokenRevocation(web, mine.access_token)
    assert.equal((await client.tokenIntrospection(web, mine.access_token)).active, false)
    assert.equal((await client.tokenIntrospection(web, mine.refresh_token)).active, true)
    await client.tokenRevocation(web, mine.refresh_token, { token_type_hint: 'refresh_token' })
    assert.equal((await client.tokenIntrospection(web, mine.refresh_token)).active, false)
    await assert.rejects(client.refreshTokenGrant(web, mine.refresh_token), refused('invalid_grant'))
    const other = await discover('machine', 'secret-of-machine')
    const foreign = await login(web, person)
    assert.deepEqual(await client.tokenIntrospection(other, foreign.access_token), { active: false })
  },
  'client_secret_post does as well': async () => {
    const post = await discover('web', SECRET, { auth: client.ClientSecretPost(SECRET) })
    await login(post, person)
    const wrong = await discover('web', 'wrong')
    // The challenge of the 401 is what it looks at first.
    await assert.rejects(login(wrong, person), refused('OAUTH_WWW_AUTHENTICATE_CHALLENGE'))
  },
  'ES256 and EdDSA are what clients ask for': async () => {
    for (const [id, secret, alg] of [
      ['web-es256', 'secret-of-es256', 'ES256'],
      ['web-eddsa', 'secret-of-eddsa', 'EdDSA'],
    ]) {
      const config = await discover(id, secret, { metadata: { id_token_signed_response_alg: alg } })
      const { id_token: token, access_token: access } = await login(config, person)
      for (const jwt of [token, access]) {
        assert.equal(JSON.parse(Buffer.from(jwt.split('.')[0], 'base64url')).alg, alg)
      }
      const rs256 = await discover(id, secret, { metadata: { id_token_signed_response_alg: 'RS256' } })
      await assert.rejects(login(rs256, person), because(/alg/))
    }
  },
  'a device is allowed by its person': async () => {
    const device = await discover('device')
    const asked = await client.initiateDeviceAuthorization(device, { scope: 'openid email offline_access' })
    asked.interval = 1
    const polled = client.pollDeviceAuthorizationGrant(device, asked)
    await person.walk(asked.verification_uri, undefined, { code: asked.user_code })
    assert.deepEqual(person.met.slice(-2), ['user_code', 'approval'])
    const given = await polled
    assert.equal(given.claims().email, EMAIL)
    assert.ok((await client.refreshTokenGrant(device, given.refresh_token)).access_token)
    const denied = await client.initiateDeviceAuthorization(device, { scope: 'openid' })
    denied.interval = 1
    const polling = assert.rejects(client.pollDeviceAuthorizationGrant(device, denied), refused('access_denied'))
    await person.walk(denied.verification_uri, undefined, { code: denied.user_code, allow: false }).catch(() => {})
    await polling
  },
  'a machine has a token of its own': async () => {
    const machine = await discover('machine', 'secret-of-machine')
    const own = await client.clientCredentialsGrant(machine, { scope: 'openid groups' })
    const about = await client.tokenIntrospection(machine, own.access_token)
    assert.equal(about.active, true)
    assert.deepEqual(about.groups, ['robots'])
    await assert.rejects(client.fetchUserInfo(machine, own.access_token, client.skipSubjectCheck))
  },
  'a logout ends the session and comes back': async () => {
    const { id_token: hint } = await login(web, person)
    const url = client.buildEndSessionUrl(web, {
      id_token_hint: hint,
      post_logout_redirect_uri: BYE,
      state: 'after & before',
    })
    const back = await person.walk(url, BYE)
    assert.equal(back.searchParams.get('state'), 'after & before')
    assert.ok(!person.met.includes('logout'))
    await assert.rejects(login(web, person, { prompt: 'none' }), refused('login_required'))
  },
})
