"""Asks a Dex, or what stands in its place, everything that its clients and people see. Prints `call: outcome` lines.

Usage: ask.py ISSUER [SECRETS]. Writes codes, tokens and passwords to the file SECRETS, a line each. What differs from run to run (codes, tokens, times) is named and not printed.
"""

import base64
import hashlib
import html.parser
import http.client
import json
import sys
import urllib.parse

ISSUER = sys.argv[1]
BASE = urllib.parse.urlsplit(ISSUER)
SECRET = "pq4p8f9qJx2t"
PASSWORD = "correct horse"
VERIFIER = "0123456789-0123456789-0123456789-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
CALLBACK = "/oauth2/callback"
SCOPES = "openid email profile groups offline_access"


# What nobody may find in a log.
SEEN = {PASSWORD, SECRET, "mYv0n3bWk7cd", VERIFIER}


def say(call, outcome):
    text = outcome if isinstance(outcome, str) else json.dumps(outcome, sort_keys=True, ensure_ascii=False)
    print(f"{call}: {text}".replace(ISSUER, "<issuer>").replace(BASE.netloc, "<address>"))


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode(errors="replace")
        told = self.json()
        for name in ("access_token", "id_token", "refresh_token", "device_code"):
            if isinstance(told, dict) and name in told:
                SEEN.add(told[name])
        if "code" in self.query():
            SEEN.add(self.query()["code"])

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def location(self):
        return self.headers.get("location", "")

    def query(self):
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.location).query, keep_blank_values=True))


class Browser:
    def __init__(self):
        self.cookies = {}

    def send(self, method, target, fields=None, headers=None):
        target = urllib.parse.urljoin(ISSUER + "/", target)
        parts = urllib.parse.urlsplit(target)
        path = parts.path + ("?" + parts.query if parts.query else "")
        headers = dict(headers or {})
        if self.cookies:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        body = None
        if fields is not None:
            body = fields if isinstance(fields, str) else urllib.parse.urlencode(fields)
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection(BASE.netloc, timeout=20)
        connection.request(method, path, body, headers)
        reply = Reply(connection.getresponse())
        connection.close()
        for cookie in reply.headers.get_all("set-cookie", []):
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        reply.url = target
        return reply

    def get(self, target, **given):
        return self.send("GET", target, **given)

    def follow(self, reply):
        """Goes along redirects to our own pages."""
        steps = []
        while reply.status in (302, 303, 307) and own(urllib.parse.urljoin(reply.url, reply.location)):
            steps.append(f"{reply.status} {shape(reply.location)}")
            reply = self.get(urllib.parse.urljoin(reply.url, reply.location))
        return reply, steps


def own(url):
    parts = urllib.parse.urlsplit(url)
    return parts.netloc == BASE.netloc and parts.path.startswith(BASE.path + "/")


def shape(location):
    """A location without what is random."""
    parts = urllib.parse.urlsplit(location)
    names = sorted(name for name, _ in urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    return parts.path + ("?" + "&".join(names) if names else "")


class Form(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.action, self.method, self.fields, self.values = None, None, [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and self.action is None:
            self.action, self.method = attributes.get("action", ""), attributes.get("method", "get")
        if tag in ("input", "button") and attributes.get("name"):
            self.fields.append(attributes["name"])
            self.values[attributes["name"]] = attributes.get("value", "")


def authorization(**changes):
    params = {
        "client_id": "platform",
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "scope": SCOPES,
        "state": "a state",
        "nonce": "a nonce",
    }
    params.update(changes)
    return {name: value for name, value in params.items() if value is not None}


def start(browser, path="auth", **changes):
    return browser.get(f"{ISSUER}/{path}?" + urllib.parse.urlencode(authorization(**changes)))


def log_in(browser, page, login="user@example.com", password=PASSWORD):
    form = Form(page.body)
    fields = {name: form.values[name] for name in form.fields}
    fields.update({"login": login, "password": password})
    return browser.send("POST", urllib.parse.urljoin(page.url, form.action), fields)


def code(login="user@example.com", **changes):
    browser = Browser()
    page, _ = browser.follow(start(browser, **changes))
    reply, _ = browser.follow(log_in(browser, page, login))
    return reply.query().get("code", "no code: " + shape(reply.location))


def basic(client="platform", secret=SECRET):
    return {"authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


def token(fields, headers=None, path="token"):
    return Browser().send("POST", f"{ISSUER}/{path}", fields, basic() if headers is None else headers)


def redeem(value, **changes):
    fields = {"grant_type": "authorization_code", "code": value, "redirect_uri": CALLBACK}
    fields.update(changes)
    return token(fields)


def claims(jwt):
    head, body, _ = (jwt + "..").split(".")[:3]
    if not body:
        return {"not": "a JWT"}
    part = lambda text: json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    found = part(body)
    for name in ("iat", "exp", "auth_time"):
        if name in found:
            found[name] = type(found[name]).__name__
    if "iat" in found and "exp" in found:
        found["lifetime"] = part(body)["exp"] - part(body)["iat"]
    for name in ("at_hash", "c_hash", "jti", "sid"):
        if name in found:
            found[name] = f"<{name}>"
    return {"head": {k: (v if k != "kid" else "<kid>") for k, v in part(head).items()}, "claims": found}


def error(reply):
    body = reply.json()
    if isinstance(body, dict):
        return f"{reply.status} {body.get('error')}"
    return f"{reply.status} {reply.headers.get('content-type', '').split(';')[0]}"


def outcome(reply):
    """Where a request for authorization leads."""
    if reply.status in (302, 303):
        target = urllib.parse.urlsplit(reply.location)
        query = reply.query()
        to = target.scheme + "://" + target.netloc + target.path if target.netloc else target.path
        if "error" in query:
            return f"{reply.status} {to} error={query['error']} state={query.get('state')}"
        return f"{reply.status} {to} {' '.join(sorted(query))}"
    return f"{reply.status} {reply.headers.get('content-type', '').split(';')[0]}"


# --- what anybody may read

reply = Browser().get(f"{ISSUER}/.well-known/openid-configuration")
say("discovery status", f"{reply.status} {reply.headers.get('content-type')}")
told = reply.json() or {}
LATER = [
    "acr_values_supported", "authorization_response_iss_parameter_supported", "backchannel_logout_session_supported",
    "backchannel_logout_supported", "claims_parameter_supported", "end_session_endpoint",
    "introspection_endpoint_auth_methods_supported", "request_parameter_supported", "request_uri_parameter_supported",
    "response_modes_supported", "revocation_endpoint", "revocation_endpoint_auth_methods_supported", "ui_locales_supported",
]
for name in sorted({*told, *LATER}):
    value = told.get(name, "is not there")
    say(f"discovery {name}", sorted(value) if isinstance(value, list) else value)
reply = Browser().get(f"{ISSUER}/keys")
say("keys status", f"{reply.status} {reply.headers.get('content-type')}")
keys = (reply.json() or {}).get("keys", [])
say("keys fields", sorted({name for key in keys for name in key}))
say("keys kinds", sorted({f"{key['kty']} {key['alg']} {key['use']}" for key in keys}))
for path in ["healthz", "", "robots.txt", "nothing", "auth", "token", "userinfo", "approval", "device", "callback", "logout"]:
    say(f"GET /{path}", f"{Browser().get(f'{ISSUER}/{path}').status}")
for path in ["keys", ".well-known/openid-configuration", "token", "userinfo", "auth", "device/code", "token/introspect"]:
    say(f"POST /{path}, empty", error(token("", {}, path)))
for method in ["PUT", "DELETE", "OPTIONS"]:
    for path in ["token", "keys", "auth"]:
        say(f"{method} /{path}", str(Browser().send(method, f"{ISSUER}/{path}").status))
for origin in ["https://app.example", "https://other.example"]:
    for path in [".well-known/openid-configuration", "keys", "token", "userinfo"]:
        reply = Browser().send("OPTIONS", f"{ISSUER}/{path}", headers={"origin": origin, "access-control-request-method": "POST"})
        say(f"preflight of {origin} to /{path}", f"{reply.headers.get('access-control-allow-origin')}")

# --- a login

browser = Browser()
reply = start(browser)
say("authorization, first answer", f"{reply.status} {shape(reply.location)}")
page, steps = browser.follow(reply)
say("authorization, last page", f"{page.status} {page.headers.get('content-type')}")
form = Form(page.body)
say("login form", f"{form.method.lower()} {sorted(set(form.fields) & {'login', 'password'})}")
say("login page, headers", {n: page.headers.get(n) is not None for n in ["x-frame-options", "content-security-policy"]})
wrong = log_in(browser, page, password="wrong")
say("wrong password", f"{wrong.status} form again: {'password' in Form(wrong.body).fields}")
wrong = log_in(browser, page, login="nobody@example.com")
say("unknown user", f"{wrong.status} form again: {'password' in Form(wrong.body).fields}")
reply = log_in(browser, page)
reply, steps = browser.follow(reply)
say("right password", outcome(reply))
say("state comes back", reply.query().get("state"))
first = redeem(reply.query().get("code", ""))
body = first.json() or {}
say("tokens", f"{first.status} {sorted(body)}")
say("tokens, type", body.get("token_type", "").lower())
say("tokens, lifetime", round(body.get("expires_in", 0), -1))
say("tokens, scope", body.get("scope"))
say("tokens, headers", {n: first.headers.get(n) for n in ["content-type", "cache-control", "pragma"]})
say("ID token", claims(body.get("id_token", "")))
say("access token", claims(body.get("access_token", "")))
reply = Browser().get(f"{ISSUER}/userinfo", headers={"authorization": "Bearer " + body.get("access_token", "")})
say("userinfo", f"{reply.status} {reply.headers.get('content-type')}")
say("userinfo, claims", {n: v for n, v in (reply.json() or {}).items() if n not in ("iat", "exp", "at_hash", "jti", "nonce", "auth_time", "sid")})
for what, headers in [("nothing", {}), ("no token", {"authorization": "Bearer x"}), ("Basic", basic())]:
    reply = Browser().get(f"{ISSUER}/userinfo", headers=headers)
    say(f"userinfo with {what}", f"{reply.status} {(reply.headers.get('www-authenticate') or '').split(' ')[0]}")
say("the code again", error(redeem("x" * 25)))

for login in ["user@example.com", "USER@EXAMPLE.COM", "Grace@Example.com", "grace@example.com"]:
    body = redeem(code(login)).json() or {}
    say(f"ID token of {login}", claims(body.get("id_token", "")).get("claims", {}))

# --- scopes and audiences

for scope in ["openid", "openid email", "openid profile", "openid groups", "openid federated:id", "openid offline_access",
              "email", "openid unknown", "openid address phone", "openid audience:server:client_id:peer",
              "openid audience:server:client_id:platform audience:server:client_id:peer", "openid audience:server:client_id:cli",
              "openid audience:server:client_id:nobody", ""]:
    browser = Browser()
    reply = start(browser, scope=scope)
    page, _ = browser.follow(reply)
    if "password" in Form(page.body).fields:
        reply, _ = browser.follow(log_in(browser, page, "grace@example.com"))
        body = redeem(reply.query().get("code", "")).json() or {}
        say(f"scope `{scope}`", sorted(body))
        say(f"scope `{scope}`, claims", claims(body.get("id_token", "")).get("claims", {}))
    else:
        say(f"scope `{scope}`", outcome(page))

# --- requests for authorization

for what, changes in {
    "no client": {"client_id": None}, "unknown client": {"client_id": "nobody"}, "no redirect URI": {"redirect_uri": None},
    "another redirect URI": {"redirect_uri": "https://evil.example/"}, "redirect URI with more": {"redirect_uri": CALLBACK + "/x"},
    "redirect URI of a peer": {"redirect_uri": "https://peer.example/cb"}, "no response type": {"response_type": None},
    "token": {"response_type": "token"}, "id_token": {"response_type": "id_token"}, "code id_token": {"response_type": "code id_token"},
    "none": {"response_type": "none"}, "unknown response type": {"response_type": "x"}, "no scope": {"scope": None}, "no state": {"state": None},
    "no nonce": {"nonce": None}, "prompt none": {"prompt": "none"}, "prompt login": {"prompt": "login"}, "prompt consent": {"prompt": "consent"},
    "prompt unknown": {"prompt": "x"}, "prompt none login": {"prompt": "none login"}, "max_age": {"max_age": "10"}, "max_age wrong": {"max_age": "x"},
    "S256": {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}, "plain": {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
    "challenge without method": {"code_challenge": VERIFIER}, "unknown method": {"code_challenge": CHALLENGE, "code_challenge_method": "S512"},
    "request": {"request": "x"}, "request_uri": {"request_uri": "https://x.example"}, "registration": {"registration": "x"},
    "response mode query": {"response_mode": "query"}, "response mode fragment": {"response_mode": "fragment"}, "response mode form_post": {"response_mode": "form_post"},
    "connector": {"connector_id": "local"}, "unknown connector": {"connector_id": "x"}, "login hint": {"login_hint": "user@example.com"},
    "display": {"display": "popup"}, "unknown parameter": {"extra": "1"}, "public client, loopback": {"client_id": "cli", "redirect_uri": "http://localhost:1234/cb"},
    "public client, other": {"client_id": "cli", "redirect_uri": "https://localhost/cb"}, "public client, out of band": {"client_id": "cli", "redirect_uri": "urn:ietf:wg:oauth:2.0:oob"},
}.items():
    browser = Browser()
    reply = start(browser, **changes)
    say(f"authorization, {what}", "asks for a login" if "password" in Form(browser.follow(reply)[0].body).fields else outcome(browser.follow(reply)[0]))
reply = Browser().send("POST", f"{ISSUER}/auth", authorization())
say("authorization by POST", f"{reply.status} {shape(reply.location)}")
browser = Browser()
reply = start(browser, "auth/local")
say("authorization at the connector", "asks for a login" if "password" in Form(browser.follow(reply)[0].body).fields else outcome(reply))
reply = start(Browser(), "auth/nothing")
say("authorization at an unknown connector", outcome(reply))

# --- the token endpoint

def used():
    value = code()
    redeem(value)
    return value

pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
say("redeem twice", error(redeem(used())))
say("redeem, another redirect URI", error(redeem(code(), redirect_uri="https://app.example/cb?tenant=a")))
say("redeem, no redirect URI", error(redeem(code(), redirect_uri="")))
say("redeem, verifier", str(redeem(code(**pkce), code_verifier=VERIFIER).status))
say("redeem, wrong verifier", error(redeem(code(**pkce), code_verifier=VERIFIER + "x")))
say("redeem, no verifier", error(redeem(code(**pkce))))
say("redeem, verifier without a challenge", error(redeem(code(), code_verifier=VERIFIER)))
say("redeem, another client", error(token({"grant_type": "authorization_code", "code": code(), "redirect_uri": CALLBACK}, basic("peer", "mYv0n3bWk7cd"))))
say("wrong secret", error(token({"grant_type": "authorization_code", "code": "x"}, basic(secret="x"))))
say("wrong secret, challenge", (token({"grant_type": "authorization_code", "code": "x"}, basic(secret="x")).headers.get("www-authenticate") or "none").split(" ")[0])
say("unknown client", error(token({"grant_type": "authorization_code", "code": "x"}, basic("nobody"))))
say("no client", error(token({"grant_type": "authorization_code", "code": "x"}, {})))
say("secret in the body", str(token({"grant_type": "authorization_code", "code": code(), "redirect_uri": CALLBACK, "client_id": "platform", "client_secret": SECRET}, {}).status))
say("no grant type", error(token({"code": "x"})))
say("unknown grant type", error(token({"grant_type": "x"})))
say("password grant", error(token({"grant_type": "password", "username": "user@example.com", "password": PASSWORD, "scope": "openid"})))
say("client credentials", error(token({"grant_type": "client_credentials", "scope": "openid"})))
say("no code", error(token({"grant_type": "authorization_code", "redirect_uri": CALLBACK})))
say("code in the query", error(Browser().send("POST", f"{ISSUER}/token?grant_type=authorization_code&code=x", "", basic())))
say("token by GET", error(Browser().get(f"{ISSUER}/token?grant_type=authorization_code&code=x", headers=basic())))

# --- refresh tokens

body = redeem(code()).json() or {}
refresh = body.get("refresh_token", "")
reply = token({"grant_type": "refresh_token", "refresh_token": refresh})
body = reply.json() or {}
say("refresh", f"{reply.status} {sorted(body)}")
say("refresh, rotates", str(body.get("refresh_token") not in (None, refresh)))
say("refresh, ID token", claims(body.get("id_token", "")))
say("refresh with the former", error(token({"grant_type": "refresh_token", "refresh_token": refresh})))
say("refresh with nonsense", error(token({"grant_type": "refresh_token", "refresh_token": "x"})))
say("refresh without one", error(token({"grant_type": "refresh_token"})))
refresh = (redeem(code()).json() or {}).get("refresh_token", "")
say("refresh of another client", error(token({"grant_type": "refresh_token", "refresh_token": refresh}, basic("peer", "mYv0n3bWk7cd"))))
refresh = (redeem(code()).json() or {}).get("refresh_token", "")
reply = token({"grant_type": "refresh_token", "refresh_token": refresh, "scope": "openid email"})
say("refresh with less scope", f"{reply.status} {sorted(claims((reply.json() or {}).get('id_token', '')).get('claims', {}))}")
refresh = (redeem(code(scope="openid offline_access")).json() or {}).get("refresh_token", "")
say("refresh with more scope", error(token({"grant_type": "refresh_token", "refresh_token": refresh, "scope": "openid email"})))

# --- introspection and devices

body = redeem(code()).json() or {}
for kind in ["access_token", "refresh_token", "id_token"]:
    reply = token({"token": body.get(kind, "")}, path="token/introspect")
    found = reply.json() or {}
    say(f"introspect the {kind}", f"{reply.status} active: {found.get('active')} {sorted(found)}")
say("introspect nonsense", f"{(token({'token': 'x'}, path='token/introspect').json() or {})}")
say("introspect without a client", error(token({"token": body.get("access_token", "")}, {}, "token/introspect")))
for client in ["cli", "platform", "nobody"]:
    reply = token({"client_id": client, "scope": "openid"}, {} if client == "cli" else None, "device/code")
    say(f"device code for {client}", f"{reply.status} {sorted(reply.json() or {})}")
reply = token({"client_id": "cli", "scope": SCOPES}, {}, "device/code")
device = reply.json() or {}
say("device code, numbers", {n: device.get(n) for n in ["expires_in", "interval"]})
say("device code, addresses", f"{device.get('verification_uri')} {shape(device.get('verification_uri_complete', ''))}")
grant = "urn:ietf:params:oauth:grant-type:device_code"
say("device, before", error(token({"grant_type": grant, "device_code": device.get("device_code", ""), "client_id": "cli"}, {})))
say("device, at once again", error(token({"grant_type": grant, "device_code": device.get("device_code", ""), "client_id": "cli"}, {})))
say("device, nonsense", error(token({"grant_type": grant, "device_code": "x", "client_id": "cli"}, {})))
page = Browser().get(f"{ISSUER}/device?user_code=AAAA-BBBB")
say("device page", f"{page.status} {sorted(set(Form(page.body).fields) & {'user_code'})}")
exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
say("exchange, empty", error(token({"grant_type": exchange})))
say("exchange, nonsense", error(token({"grant_type": exchange, "subject_token": "x", "subject_token_type": "urn:ietf:params:oauth:token-type:id_token", "connector_id": "local"})))

if len(sys.argv) > 2:
    with open(sys.argv[2], "w") as file:
        file.writelines(secret + "\n" for secret in sorted(SEEN))
