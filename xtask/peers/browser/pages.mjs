// The provider's pages in Chromium: pages.mjs PLAYWRIGHT CHROMIUM BASE LINK BELOW [FOLDER]. BASE is the provider's address, LINK that of another one's first account, BELOW
// is a third one that knows people of the first by a connector; into FOLDER go pictures.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const [playwright, chromium, base, link, below, folder] = process.argv.slice(2);
const { chromium: engine } = createRequire(import.meta.url)(playwright);
const PASSWORD = "12341234";
const APP = "platform";
const CALLBACK = `${new URL(base).origin}/callback`;

const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });

/** RFC 6238, written anew. */
function code(secret, seconds) {
  let bits = "";
  for (const letter of secret.replaceAll(" ", "")) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(seconds / 30)));
  const tag = createHmac("sha1", key).update(step).digest();
  return String((tag.readUInt32BE(tag[19] & 15) & 0x7fffffff) % 1000000).padStart(6, "0");
}

/** Waits for the next step: each code counts once. */
async function nextCode(page, secret, last) {
  for (;;) {
    const now = code(secret, Date.now() / 1000);
    if (now !== last) return now;
    await page.waitForTimeout(500);
  }
}

const authorize = (more = {}) => `${base}/auth?${new URLSearchParams({ response_type: "code", client_id: APP, redirect_uri: CALLBACK, scope: "openid email profile groups offline_access", state: "s", code_challenge: "A".repeat(43), code_challenge_method: "S256", ...more })}`;

/** What every page has to be, as a browser sees it. */
async function check(page, name) {
  const found = await page.evaluate(() => {
    const seen = (element) => element.checkVisibility({ visibilityProperty: true });
    const targets = [...document.querySelectorAll("button, input:not([type=hidden]), a, summary")].filter(seen);
    return {
      overflow: document.documentElement.scrollWidth - window.innerWidth,
      small: targets.filter((e) => e.getBoundingClientRect().height < 43.5 || e.getBoundingClientRect().width < 43.5).map((e) => e.outerHTML.slice(0, 120)),
      unlabelled: [...document.querySelectorAll("input:not([type=hidden])")].filter((e) => e.labels.length === 0).map((e) => e.outerHTML),
      described: [...document.querySelectorAll("[aria-describedby]")].flatMap((e) => e.getAttribute("aria-describedby").split(" ")).filter((id) => !document.getElementById(id)),
      twice: [...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, index, all) => all.indexOf(id) !== index),
      headings: document.querySelectorAll("h1").length,
      main: document.querySelectorAll("main").length,
      lang: document.documentElement.lang,
    };
  });
  assert.deepEqual({ ...found, lang: "" }, { overflow: Math.min(found.overflow, 0), small: [], unlabelled: [], described: [], twice: [], headings: 1, main: 1, lang: "" }, name);
  assert.match(found.lang, /^(en|ko)$/);
  const size = page.viewportSize();
  if (folder) await page.screenshot({ path: `${folder}/${name}-${found.lang}-${page.scheme}-${size.width}.png`, fullPage: true });
}

/** Presses what leads to another page, and waits for it. */
const go = (page, selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);

/** Sends the code of a device, again where the suite is quicker than the limit on guesses. */
async function sendCode(page) {
  for (;;) {
    const [reply] = await go(page, "button");
    if (reply.status() !== 429) return;
    await page.waitForTimeout(1000);
  }
}

/** The code that a new device shows; asking for one counts towards the same limit. */
async function newCode(page) {
  for (;;) {
    const reply = await page.request.post(`${base}/device/code`, { form: { client_id: "cli", scope: "openid email" } });
    if (reply.ok()) return (await reply.json()).user_code;
    assert.equal(reply.status(), 429);
    await page.waitForTimeout(1000);
  }
}

/** A browser of its own; whatever it reports as broken is an error at its end. */
async function open(width = 1440, scheme = "light", locale = "en-US") {
  const context = await browser.newContext({ viewport: { width, height: width < 600 ? 640 : 900 }, colorScheme: scheme, locale, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.scheme = scheme;
  const broken = [];
  page.on("console", (message) => /Content Security|Refused/.test(message.text()) && broken.push(message.text()));
  page.on("pageerror", (error) => broken.push(String(error)));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && ![base, link, below].some((own) => url.origin === new URL(own).origin)) broken.push(request.url());
  });
  page.done = async () => {
    assert.deepEqual(broken, []);
    await context.close();
  };
  return page;
}

async function logIn(page, email, url, password = PASSWORD) {
  await page.goto(url);
  await page.fill("#login", email);
  await page.fill("#password", password);
  await Promise.all([page.waitForURL((here) => !here.pathname.endsWith("/auth/local")), page.press("#password", "Enter")]);
  await page.waitForLoadState();
}

const enterAccount = (page, email) => logIn(page, email, `${base}/account`);

/** Every page in this size, these colours and this language. */
async function tour(width, scheme, locale) {
  const page = await open(width, scheme, locale);
  await page.goto(authorize({ prompt: "consent" }));
  await check(page, "login");
  // By keyboard alone: the first field has the focus, and it is seen.
  assert.equal(await page.evaluate(() => document.activeElement.id), "login");
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
  await page.keyboard.type("user@example.com");
  await page.keyboard.press("Tab");
  await page.keyboard.type("wrong");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForSelector("[role=alert]");
  await check(page, "login-wrong");
  assert.equal(await page.evaluate(() => document.activeElement.id), "password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForSelector("button[value=approve]");
  await check(page, "approval");
  await go(page, "button[value=approve]");
  await page.waitForURL(/callback\?code=/);
  await page.goto(authorize({ prompt: "select_account" }));
  await check(page, "select");
  await page.goto(authorize({ prompt: "login" }));
  assert.match(await page.textContent("footer"), /user@example\.com/);
  await check(page, "login-session");
  await page.goto(`${base}/device`);
  await check(page, "device");
  await page.fill("#user_code", "AAAA-AAAA");
  await sendCode(page);
  await check(page, "device-wrong");
  await page.goto(`${base}/device?user_code=${await newCode(page)}`);
  await sendCode(page);
  await check(page, "approval-device");
  await go(page, "button[value=approve]");
  await check(page, "device-done");
  await page.goto(`${base}/auth?client_id=nope`);
  await check(page, "refused");
  await page.goto(`${base}/auth/local?req=AAAA`);
  await check(page, "invalid");
  await enterAccount(page, "user@example.com");
  await check(page, "account");
  await page.goto(`${base}/account/app`);
  await check(page, "app");
  await page.goto(`${base}/account/passkey`);
  await check(page, "passkey");
  await go(page, "footer a[href*='/logout']");
  await check(page, "logout");
  await go(page, "button[value=no]");
  await check(page, "stayed");
  await page.goto(`${base}/logout`);
  await go(page, "button[value=yes]");
  await check(page, "logged-out");
  await page.done();
}

/** An app, codes on paper and a passkey, added and used. */
async function secondFactors(width, scheme, locale, email) {
  const page = await open(width, scheme, locale);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "usb", hasResidentKey: false, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await enterAccount(page, email);
  await go(page, "a[href*='/account/app']");
  const secret = await page.textContent(".secret code");
  await page.fill("#code", "000000");
  await go(page, "form .button");
  await page.waitForSelector("[role=alert]");
  await check(page, "app-wrong");
  const first = code(secret, Date.now() / 1000);
  await page.fill("#code", first);
  await go(page, "form .button");
  await page.waitForSelector(".codes");
  await check(page, "codes");
  const paper = await page.locator(".codes code").allTextContents();
  assert.equal(paper.length, 10);
  await go(page, "a.button");
  await go(page, "a[href*='/account/passkey']");
  await page.fill("#name", "Blue key");
  await page.click("form .button");
  await page.waitForURL(/done=passkey/);
  await check(page, "account-protected");

  // A login: the passkey, by the script; what it sent does not count again.
  await logIn(page, email, authorize({ prompt: "login" }));
  await page.waitForURL(/auth\/second/);
  await check(page, "second");
  const sent = page.waitForRequest((request) => request.method() === "POST");
  await page.click("form[data-passkey] .button");
  const posted = await sent;
  await page.waitForURL(/approval|callback\?code=/);
  const again = await page.request.post(posted.url(), { data: posted.postData(), headers: { "content-type": "application/x-www-form-urlencoded" }, maxRedirects: 0 });
  assert.equal(again.status(), 401, "a replay");

  // Another person's second page takes no passkey of this one.
  const other = "plain@example.com";
  await logIn(page, other, authorize({ prompt: "login" }));
  assert.doesNotMatch(page.url(), /auth\/second/, "nothing asked of others");

  // Nobody touches the key: the page says so and offers the other ways.
  await devtools.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId });
  await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: { protocol: "ctap2", transport: "usb", hasResidentKey: false, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await logIn(page, email, authorize({ prompt: "login" }));
  await page.click("form[data-passkey] .button");
  await page.waitForSelector("[data-failed]:not([hidden])");
  await check(page, "second-failed");
  const next = await nextCode(page, secret, first);
  await page.fill("#code", next);
  await page.press("#code", "Enter");
  await page.waitForURL(/approval|callback\?code=/);
  await logIn(page, email, authorize({ prompt: "login" }));
  await page.click("summary");
  await check(page, "second-codes");
  await page.fill("#recovery", paper[0]);
  await page.press("#recovery", "Enter");
  await page.waitForURL(/approval|callback\?code=/);
  await page.done();
}

/** The first account of all, by a link, which then changes its password. */
async function firstAccount() {
  const own = link.replace(/\/setup.*/, "");
  const [old, changed] = ["four words nobody guesses", "other words nobody guesses"];
  for (const [width, scheme, locale] of [[320, "dark", "ko-KR"], [1440, "light", "en-US"]]) {
    const page = await open(width, scheme, locale);
    await page.goto(link);
    await check(page, "setup");
    await page.fill("#email", "first@example.com");
    // What is typed says at once whether it is long enough, without a script.
    for (const [typed, shown] of [["", ""], ["four words", ".meter-short"], ["four words at least", ".meter-long"]]) {
      await page.fill("#password", "");
      await page.type("#password", typed);
      for (const meter of [".meter-short", ".meter-long"]) {
        assert.equal(await page.isVisible(meter), meter === shown, `${meter} for ${typed}`);
      }
    }
    await check(page, "setup-typed");
    await page.fill("#password", "password1234");
    await page.fill("#again", "password1234");
    await go(page, "button");
    await check(page, "setup-weak");
    await page.done();
  }
  const page = await open(320, "light");
  await page.goto(link);
  await page.fill("#email", "first@example.com");
  await page.fill("#password", old);
  await page.fill("#again", old);
  await go(page, "button");
  await check(page, "setup-done");
  await logIn(page, "first@example.com", `${own}/account`, old);
  await go(page, "a[href*='/account/password']");
  await check(page, "password");
  for (const [typed, wanted] of [["wrong", "password-wrong"], [old, ""]]) {
    await page.fill("#old", typed);
    await page.fill("#password", changed);
    await page.fill("#again", changed);
    await go(page, "form .button");
    if (wanted) await check(page, wanted);
  }
  assert.match(page.url(), /done=password/);
  await check(page, "password-changed");
  await logIn(page, "first@example.com", `${own}/auth?${new URL(authorize({ prompt: "login" })).searchParams}`, changed);
  assert.match(page.url(), /approval|callback/);
  await page.done();
}

/** The account of somebody who is known by a connector: no password and no second factors are kept there. */
async function ofConnector(width, scheme, locale, email) {
  const page = await open(width, scheme, locale);
  await page.goto(`${below}/account`);
  await check(page, "choice");
  await go(page, "a[href*='/auth/up']");
  await page.fill("#login", email);
  await page.fill("#password", PASSWORD);
  await go(page, "button");
  await go(page, "button[value=approve]");
  await page.waitForURL(`${below}/account*`);
  assert.equal(await page.locator("a[href*='/account/']").count(), 0);
  assert.equal(await page.locator("button[value=end-session]").count(), 1);
  await check(page, "account-connector");
  await page.done();
}

await firstAccount();
await ofConnector(320, "dark", "ko-KR", "first@example.com");
await ofConnector(1440, "light", "en-US", "second@example.com");
for (const locale of ["en-US", "ko-KR"]) for (const scheme of ["light", "dark"]) for (const width of [320, 1440]) await tour(width, scheme, locale);
await secondFactors(320, "light", "en-US", "first@example.com");
await secondFactors(1440, "dark", "ko-KR", "second@example.com");

// Without JavaScript everything but passkeys works.
const context = await browser.newContext({ javaScriptEnabled: false });
const plain = await context.newPage();
await logIn(plain, "plain@example.com", authorize({ prompt: "login" }));
assert.match(plain.url(), /approval|callback\?code=/);
await enterAccount(plain, "plain@example.com");
assert.equal(await plain.locator("section").count(), 3);
await context.close();
await browser.close();
