// A page without a server of its own: `oidc-client-ts` in Chromium, with the person at its keyboard.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { EMAIL, PASSWORD, run } from './person.mjs'

const [issuer, origin, executablePath] = process.argv.slice(2)

const LIBRARY = await readFile(
  fileURLToPath(new URL('./node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js', import.meta.url)),
)
const PAGE = `<!doctype html><title>page</title><script src="/library.js"></script><script>
const manager = new oidc.UserManager({
  authority: ${JSON.stringify(issuer)},
  client_id: 'page',
  redirect_uri: location.origin + '/callback',
  post_logout_redirect_uri: location.origin + '/',
  scope: 'openid profile email offline_access',
  loadUserInfo: true,
  automaticSilentRenew: false,
})
const shown = (user) => user && { profile: user.profile, access: user.access_token, refresh: user.refresh_token, expired: user.expired }
const done = location.pathname === '/callback' ? manager.signinCallback() : Promise.resolve()
</script>`

function serve(port) {
  const server = createServer((request, response) => {
    const library = request.url === '/library.js'
    response.setHeader('content-type', library ? 'text/javascript' : 'text/html')
    response.end(library ? LIBRARY : PAGE)
  })
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)))
}

const servers = [await serve(Number(new URL(origin).port)), await serve(0)]
const foreign = `http://127.0.0.1:${servers[1].address().port}`
// Everything here is ours, and containers often have no place for its sandbox.
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--no-proxy-server'] })

try {
  const context = await browser.newContext()
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  const ask = (what) => page.evaluate(what)
  const user = () => ask('done.then(() => manager.getUser()).then(shown)')
  const signin = async (more = '{}') => {
    await page.goto(`${origin}/`)
    await ask(`void manager.signinRedirect(${more})`)
  }
  const arrive = async () => {
    await page.waitForURL(`${origin}/callback?**`)
    return user()
  }
  let first

  await run({
    'a person logs in on the page of the provider': async () => {
      await signin()
      await page.fill('[name=login]', EMAIL)
      await page.fill('[name=password]', PASSWORD)
      await page.click('button[type=submit]')
      first = await arrive()
      assert.equal(first.profile.email, EMAIL)
      assert.equal(first.profile.name, 'user')
      assert.ok(first.refresh)
    },
    'a silent renewal needs no page': async () => {
      const renewed = await ask('manager.signinSilent().then(shown)')
      assert.notEqual(renewed.access, first.access)
      assert.notEqual(renewed.refresh, first.refresh)
      assert.equal(renewed.profile.sub, first.profile.sub)
      const again = await ask('manager.signinSilent().then(shown)')
      assert.notEqual(again.refresh, renewed.refresh)
    },
    'a second login has no form': async () => {
      await signin()
      assert.equal((await arrive()).profile.sub, first.profile.sub)
    },
    'tokens are revoked from the page': async () => {
      const { access } = await user()
      await ask('manager.revokeTokens(["access_token", "refresh_token"])')
      const status = (token) =>
        ask(`fetch(${JSON.stringify(`${issuer}/userinfo`)}, { headers: { authorization: 'Bearer ' + ${JSON.stringify(token)} } }).then((r) => r.status)`)
      assert.equal(await status(access), 401)
    },
    'a logout comes back to the page and ends the session': async () => {
      await signin()
      await arrive()
      await ask('void manager.signoutRedirect()')
      await page.waitForURL(`${origin}/`)
      await signin('{ prompt: "none" }')
      await page.waitForURL(`${origin}/callback?**`)
      assert.match(await ask('done.then(() => "logged in", (error) => error.error)'), /login_required/)
    },
    'a page of another origin reads nothing': async () => {
      await page.goto(`${foreign}/`)
      for (const path of ['/.well-known/openid-configuration', '/keys', '/userinfo']) {
        const read = await ask(`fetch(${JSON.stringify(issuer + path)}).then((r) => r.status, () => 'hidden')`)
        assert.equal(read, 'hidden', path)
      }
      const read = await ask(
        `fetch(${JSON.stringify(`${issuer}/token`)}, { method: 'POST', headers: { authorization: 'Basic eDp5' }, body: 'grant_type=x' }).then((r) => r.status, () => 'hidden')`,
      )
      assert.equal(read, 'hidden')
      await page.goto(`${origin}/`)
      assert.equal(await ask(`fetch(${JSON.stringify(`${issuer}/keys`)}).then((r) => r.status)`), 200)
    },
  })
} finally {
  await browser.close()
  for (const server of servers) server.close()
}
