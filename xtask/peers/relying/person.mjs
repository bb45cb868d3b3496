// A person with a browser: cookies, redirects and our forms, over plain HTTP.

export const EMAIL = 'user@example.com'
export const PASSWORD = '12341234'

export class Person {
  #cookies = new Map()
  // The kinds of pages that were met, in order.
  met = []

  async send(url, form) {
    const headers = { accept: 'text/html' }
    if (this.#cookies.size > 0) {
      headers.cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    }
    const body = form && new URLSearchParams(form)
    const response = await fetch(url, { redirect: 'manual', headers, method: body ? 'POST' : 'GET', body })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
      if (/max-age=0/i.test(line)) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return response
  }

  // Goes on from `url`, filling in our forms, until something leads to an address that begins with `until`.
  // Without one, until a page has no form.
  async walk(url, until, { code, allow = true } = {}) {
    let form
    for (let steps = 0; steps < 20; steps += 1) {
      const response = await this.send(url, form)
      form = undefined
      const location = response.headers.get('location')
      if (location) {
        url = new URL(location, url)
        if (until && url.href.startsWith(until)) return url
        continue
      }
      const html = await response.text()
      if (response.status !== 200) throw new Error(`${response.status} from ${url}: ${html}`)
      const [, attributes, inside] = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(html) ?? []
      if (inside === undefined) {
        if (until) throw new Error(`a page without a form at ${url}: ${html}`)
        return html
      }
      const action = /action="([^"]*)"/.exec(attributes)
      if (action) url = new URL(action[1].replaceAll('&amp;', '&'), url)
      form = {}
      for (const [, name, value] of inside.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)) form[name] = value
      const has = (name) => inside.includes(`name="${name}"`)
      if (has('password')) Object.assign(form, { login: EMAIL, password: PASSWORD })
      else if (has('approval')) form.approval = allow ? 'approve' : 'rejected'
      else if (has('user_code')) form.user_code = code
      else if (has('logout')) form.logout = 'yes'
      else throw new Error(`an unknown form at ${url}: ${html}`)
      this.met.push(['password', 'approval', 'user_code', 'logout'].find(has))
    }
    throw new Error(`no end at ${url}`)
  }
}

// Runs steps in order and says which of them are done.
export async function run(steps) {
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step()
    } catch (error) {
      throw new Error(name, { cause: error })
    }
    console.log(name)
  }
}
