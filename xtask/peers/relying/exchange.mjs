// A workload of the cluster exchanges its token with `openid-client`.

import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { run } from './person.mjs'

const [base, subject] = process.argv.slice(2)
const issuer = 'http://dex.auth.svc.cluster.local:5556/dex'

// The issuer is a name of the cluster: requests to it go to the listener of this machine.
const inside = (url, options) => fetch(String(url).replace(new URL(issuer).origin, base), options)

const config = await client.discovery(
  new URL(issuer),
  'kubeflow-oidc-authservice',
  undefined,
  client.ClientSecretBasic('pUBnBOY80SnXgjibTYM9ZWNzY2xreNGQok'),
  { execute: [client.allowInsecureRequests], [client.customFetch]: inside },
)
const exchange = (token) =>
  client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token: token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    scope: 'openid email',
  })

await run({
  'a ServiceAccount becomes the user that the client names': async () => {
    const given = await exchange(subject)
    assert.equal(given.issued_token_type, 'urn:ietf:params:oauth:token-type:access_token')
    const about = await client.fetchUserInfo(config, given.access_token, client.skipSubjectCheck)
    assert.equal(about.email, 'user@example.com')
  },
  'what is no token of the cluster is refused': async () => {
    await assert.rejects(exchange(`${subject}x`), (error) => error.error === 'invalid_request' || error.error === 'invalid_grant')
  },
})
