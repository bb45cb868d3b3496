// Envoy's filter `oauth2` as the relying party: a person behind it.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { EMAIL, Person, run } from './person.mjs'

const [gateway, issuer] = process.argv.slice(2)
const person = new Person()
const inside = async () => {
  const response = await person.send(`${gateway}/`)
  return [response.status, response.headers.get('x-user')]
}
const cookie = (response, name) => response.headers.getSetCookie().find((line) => line.startsWith(`${name}=`))

await run({
  'a stranger is sent to the provider': async () => {
    const response = await new Person().send(`${gateway}/`)
    assert.equal(response.status, 302)
    assert.ok(response.headers.get('location').startsWith(`${issuer}/auth?`))
    assert.match(response.headers.get('location'), /code_challenge_method=S256/)
  },
  'a login comes back to where it began': async () => {
    assert.equal(await person.walk(`${gateway}/`), 'inside')
    assert.deepEqual(person.met, ['password'])
    assert.deepEqual(await inside(), [200, EMAIL])
  },
  'tokens that have expired are renewed on the way': async () => {
    await sleep(4000)
    const response = await person.send(`${gateway}/`)
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('x-user'), EMAIL)
    assert.ok(cookie(response, 'BearerToken'))
    await sleep(4000)
    const again = await person.send(`${gateway}/`)
    assert.equal(again.status, 200)
    assert.notEqual(cookie(again, 'RefreshToken'), cookie(response, 'RefreshToken'))
    assert.deepEqual(person.met, ['password'])
  },
  'signing out ends the session of the provider, too': async () => {
    assert.equal(await person.walk(`${gateway}/signout`), 'inside')
    assert.equal(person.met.filter((page) => page === 'password').length, 2)
  },
})
