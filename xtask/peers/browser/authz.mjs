// People in Chromium behind Envoy that asks `sidegate authz`: authz.mjs PLAYWRIGHT CHROMIUM GATEWAY STATE [STEP]. GATEWAY is host:port of the
// outside; upstreams answer with what arrived. STATE is a file for cookies, which the step `passes` begins with.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [playwright, chromium, gateway, state, step] = process.argv.slice(2);
const { chromium: engine } = createRequire(import.meta.url)(playwright);
const USER = "user@example.com";
const PASSWORD = "12341234";
// Chromium says what it does (Fetch metadata) to addresses of this machine, and not over HTTP to others.
const NAMED = "http://kubeflow.example.com";
const SITES = [`http://${gateway}`, NAMED];
const LINKS = ["/pipeline/?ns=team-a&next=%2Fa%20b", "/v1anything?tab=2"];

const browser = await engine.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server", `--host-resolver-rules=MAP kubeflow.example.com:80 ${gateway}`],
});

/** What arrived at the upstream that a page came from. */
async function arrived(page) {
  const seen = JSON.parse(await page.evaluate(() => document.body.innerText));
  return { ...seen, headers: seen.headers.filter(([name]) => /^(kubeflow|x-auth)/.test(name)) };
}

async function form(page, url) {
  await page.goto(url);
  assert.match(new URL(page.url()).pathname, /^\/dex\/auth\/local/, url);
}

/** Sends the form that a page shows, and waits until the page is back on the platform. */
async function send(page) {
  await page.fill("#login", USER);
  await page.fill("#password", PASSWORD);
  await Promise.all([page.waitForURL((here) => !here.pathname.startsWith("/dex/")), page.press("#password", "Enter")]);
  await page.waitForLoadState();
}

async function inside(page, url) {
  assert.equal(page.url(), url);
  const { target, headers } = await arrived(page);
  assert.equal(target, url.slice(new URL(url).origin.length));
  assert.deepEqual(Object.fromEntries(headers)["kubeflow-userid"], USER);
}

/** A deep link, with the login between. */
async function deepLink(site) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const url = site + LINKS[0];
  await form(page, url);
  await send(page);
  await inside(page, url);
  const session = (await context.cookies()).find((cookie) => cookie.name === "authservice_session");
  assert.ok(session.httpOnly && session.sameSite === "Lax" && session.value.length < 4096);
  return page;
}

/** Two logins side by side: each comes back to where it began. */
async function tabs(site) {
  const context = await browser.newContext();
  const [first, second] = [await context.newPage(), await context.newPage()];
  await form(first, site + LINKS[0]);
  await form(second, site + LINKS[1]);
  await send(second);
  await inside(second, site + LINKS[1]);
  await send(first);
  await inside(first, site + LINKS[0]);
  await context.close();
}

/** What scripts of a page get once its session has ended: never a redirect. */
async function ended(page) {
  const told = await page.evaluate(async () => {
    const fetched = await fetch("/api/namespaces", { redirect: "manual" });
    const posted = await fetch("/api/namespaces", { method: "POST", redirect: "manual", headers: { "content-type": "application/json" }, body: "{}" });
    const request = await new Promise((done) => {
      const request = new XMLHttpRequest();
      request.onloadend = () => done([request.status, request.responseURL]);
      request.open("GET", "/api/namespaces");
      request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
      request.send();
    });
    const events = await new Promise((done) => {
      const source = new EventSource("/api/events");
      source.onopen = () => done("open");
      source.onerror = () => done(source.readyState === EventSource.CLOSED ? "closed" : "again");
    });
    const socket = await new Promise((done) => {
      const socket = new WebSocket(`ws://${location.host}/notebook/channels`);
      socket.onopen = () => done("open");
      socket.onerror = () => done("error");
    });
    const image = await new Promise((done) => {
      const image = new Image();
      image.onload = () => done("loaded");
      image.onerror = () => done("error");
      image.src = "/logo.svg";
    });
    return { fetched: [fetched.status, fetched.type, await fetched.json()], posted: posted.status, request, events, socket, image };
  });
  const origin = new URL(page.url()).origin;
  assert.deepEqual(told, {
    fetched: [401, "basic", { error: "authentication required" }],
    posted: 401,
    request: [401, `${origin}/api/namespaces`],
    events: "closed",
    socket: "error",
    image: "error",
  });
}

/** A form that is sent too late: the person is told, and the link leads through the login. */
async function lateForm(page) {
  const origin = new URL(page.url()).origin;
  await Promise.all([
    page.waitForNavigation(),
    page.evaluate(() => {
      const form = document.createElement("form");
      form.method = "post";
      form.action = "/pipeline/runs";
      document.body.append(form);
      form.submit();
    }),
  ]);
  assert.match(await page.innerText("body"), /was not taken/);
  await Promise.all([page.waitForURL((here) => here.pathname.startsWith("/dex/auth/local")), page.click("a")]);
  await send(page);
  await inside(page, `${origin}/pipeline/runs`);
}

/** The dashboard until 1.8 posts and goes where it is told. */
async function postedLogout(page) {
  const told = await page.evaluate(async () => {
    const answer = await fetch("/authservice/logout", { method: "POST" });
    return [answer.status, await answer.json()];
  });
  assert.deepEqual(told, [201, { afterLogoutURL: "/" }]);
}

/** The dashboard since goes there at once. */
async function logoutByLink(page) {
  await Promise.all([
    page.waitForNavigation(),
    page.evaluate(() => {
      window.top.location.href = "/oauth2/sign_out";
    }),
  ]);
}

async function loggedOut(page) {
  const cookies = (await page.context().cookies()).map((cookie) => cookie.name);
  assert.ok(!cookies.includes("authservice_session") && !cookies.includes("sidegate_pass"), String(cookies));
  await form(page, `${new URL(page.url()).origin}/api/again`);
}

if (step === "passes") {
  // Nobody answers checks: the pass of before opens the platform.
  const context = await browser.newContext({ storageState: state });
  const page = await context.newPage();
  const url = `http://${gateway}${LINKS[0]}`;
  const answer = await page.goto(url);
  assert.equal(answer.status(), 200);
  await inside(page, url);
  const stranger = await browser.newContext();
  assert.equal((await stranger.request.get(url)).status(), 403);
} else {
  for (const site of SITES) {
    await tabs(site);
    const page = await deepLink(site);
    // The session ends elsewhere; the page is still there.
    const other = await page.context().newPage();
    await other.goto(`${site}/`);
    await postedLogout(other);
    await loggedOut(other);
    await other.close();
    await ended(page);
    await lateForm(page);
    await logoutByLink(page);
    await page.goto(site + LINKS[1]);
    await loggedOut(page);
    await page.context().close();
  }
  const page = await deepLink(SITES[0]);
  const pass = (await page.context().cookies()).find((cookie) => cookie.name === "sidegate_pass");
  if (pass) assert.ok(pass.httpOnly && pass.sameSite === "Lax");
  await page.context().storageState({ path: state });
}
await browser.close();
