// Programs call through Envoy's `jwt_authn` while the signing keys change: not one of them is refused.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from './person.mjs'

const [gateway, issuer, clock] = process.argv.slice(2)
// 41 minutes of the provider pass in 4 s, and Envoy keeps the key set for 2 s: as 20 minutes in istiod.
const PAUSE = 4000
const SECONDS = 2460
const ROTATIONS = 5
const WORKERS = 4

async function token() {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from('machine:secret-of-machine').toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'openid' }),
  })
  assert.equal(response.status, 200)
  return (await response.json()).access_token
}
const kid = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[0], 'base64url')).kid
const call = async (jwt) => {
  const response = await fetch(`${gateway}/`, { headers: { authorization: `Bearer ${jwt}` } })
  await response.text()
  return response.status
}

// A token of this rotation and one of that before: they live an hour.
const held = [await token()]
const first = held[0]
const kids = new Set([kid(first)])
let running = true
let requests = 0
const refused = []

async function work() {
  for (let turn = 0; running; turn += 1) {
    const jwt = held[turn % held.length]
    const status = await call(jwt)
    requests += 1
    if (status !== 200) refused.push(`${status} after ${requests} requests and ${kids.size} keys`)
  }
}

await run({
  'calls go on while keys change': async () => {
    assert.equal(await call(first), 200)
    const workers = Array.from({ length: WORKERS }, work)
    for (let rotation = 0; rotation < ROTATIONS; rotation += 1) {
      const next = Date.now() + PAUSE
      while (Date.now() < next) {
        // The newest signature there can be, at once in use.
        held[0] = await token()
        kids.add(kid(held[0]))
        await sleep(20)
      }
      held[1] = held[0]
      const passed = await fetch(`${clock}?seconds=${SECONDS}`, { method: 'POST' })
      assert.equal(passed.status, 200)
      held[0] = await token()
      kids.add(kid(held[0]))
    }
    await sleep(PAUSE)
    running = false
    await Promise.all(workers)
    assert.deepEqual(refused, [])
    assert.equal(kids.size, ROTATIONS + 1)
    assert.ok(requests > 1000, `${requests} requests`)
  },
  'a key that is gone opens nothing': async () => {
    assert.equal(await call(first), 401)
    assert.equal(await call(`${held[0].slice(0, -8)}AAAAAAAA`), 401)
  },
})
console.log(`${requests} requests, ${kids.size} keys`)
