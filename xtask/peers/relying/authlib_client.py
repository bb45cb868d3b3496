"""Authlib's clients over requests and httpx, and tokens checked by its own JOSE."""

import re
import sys
import urllib.parse

import httpx
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken, UserInfo
from joserfc import jwt
from joserfc.jwk import KeySet

ISSUER = sys.argv[1]
CALLBACK = "http://127.0.0.1:9/callback"
# Authlib sends secrets in the header as they are, not form-encoded (RFC 6749 section 2.3.1): one without signs that would change.
ID, SECRET = "machine", "secret-of-machine"
SCOPE = "openid profile email groups offline_access"


def log_in(url):
    """What a person does in a browser, until the application is called."""
    browser = requests.Session()
    form = None
    for _ in range(10):
        if form is None:
            answer = browser.get(url, allow_redirects=False)
        else:
            answer = browser.post(url, data=form, allow_redirects=False)
        form = None
        location = answer.headers.get("location")
        if location is None:
            assert re.search('name="password"', answer.text), answer.text
            form = {"login": "user@example.com", "password": "12341234"}
            continue
        url = urllib.parse.urljoin(url, location)
        if url.startswith(CALLBACK):
            return url
    raise AssertionError(f"no end at {url}")


def checked(server, token, client_id, nonce, algorithm="RS256"):
    """The claims of an ID token, its signature and all that OpenID Connect says of them looked at."""
    keys = KeySet.import_key_set(requests.get(server["jwks_uri"]).json())
    decoded = jwt.decode(token["id_token"], keys, algorithms=[algorithm])
    options = {
        "iss": {"values": [ISSUER]},
        "aud": {"values": [client_id]},
        "nonce": {"value": nonce},
    }
    parameters = {"nonce": nonce, "client_id": client_id, "access_token": token["access_token"]}
    claims = CodeIDToken(decoded.claims, decoded.header, options, parameters)
    claims.validate()
    return claims


def fails(error, call):
    try:
        call()
    except OAuthError as found:
        assert found.error == error, found
    else:
        raise AssertionError(f"expected {error}")


def run(kind, method):
    server = requests.get(f"{ISSUER}/.well-known/openid-configuration").json()
    client = kind(
        ID,
        SECRET,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope=SCOPE,
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    )
    verifier = "0123456789" * 5
    url, state = client.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, nonce="n-1"
    )
    back = log_in(url)
    token = client.fetch_token(
        server["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier
    )
    claims = checked(server, token, ID, "n-1")
    assert claims["email"] == "user@example.com" and claims["groups"] == ["admins", "staff"], claims
    about = UserInfo(client.get(server["userinfo_endpoint"]).json())
    assert about.sub == claims["sub"] and about.name == "user", about
    print(f"{kind.__module__} {method}: code, PKCE, userinfo")

    fails(
        "invalid_grant",
        lambda: client.fetch_token(
            server["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier
        ),
    )
    print(f"{kind.__module__} {method}: a code works once")

    url, state = client.create_authorization_url(
        server["authorization_endpoint"], code_verifier=verifier, nonce="n-2"
    )
    token = client.fetch_token(
        server["token_endpoint"], authorization_response=log_in(url), state=state, code_verifier=verifier
    )
    first = token["refresh_token"]
    again = client.refresh_token(server["token_endpoint"], refresh_token=first)
    assert again["refresh_token"] != first
    checked(server, again, ID, None)
    print(f"{kind.__module__} {method}: refresh with rotation")

    def introspect(value):
        answer = client.introspect_token(server["introspection_endpoint"], token=value)
        return answer.json()["active"]

    assert introspect(again["access_token"]) and introspect(again["refresh_token"])
    answer = client.revoke_token(
        server["revocation_endpoint"], token=again["refresh_token"], token_type_hint="refresh_token"
    )
    assert answer.status_code == 200, answer.text
    assert not introspect(again["access_token"]) and not introspect(again["refresh_token"])
    fails(
        "invalid_grant",
        lambda: client.refresh_token(server["token_endpoint"], refresh_token=again["refresh_token"]),
    )
    print(f"{kind.__module__} {method}: introspection and revocation")

    wrong = kind(ID, "wrong", token_endpoint_auth_method=method, redirect_uri=CALLBACK)
    fails("invalid_client", lambda: wrong.fetch_token(server["token_endpoint"], code="x", grant_type="authorization_code"))
    machine = kind(ID, SECRET, token_endpoint_auth_method=method, scope="openid groups")
    assert machine.fetch_token(server["token_endpoint"], grant_type="client_credentials")["access_token"]
    print(f"{kind.__module__} {method}: secrets")


for kind in (OAuth2Session, OAuth2Client):
    for method in ("client_secret_basic", "client_secret_post"):
        run(kind, method)

for client_id, secret, algorithm in (
    ("web-es256", "secret-of-es256", "ES256"),
    ("web-eddsa", "secret-of-eddsa", "EdDSA"),
):
    server = httpx.get(f"{ISSUER}/.well-known/openid-configuration").json()
    client = OAuth2Client(client_id, secret, scope=SCOPE, redirect_uri=CALLBACK)
    url, state = client.create_authorization_url(server["authorization_endpoint"], nonce="n")
    token = client.fetch_token(server["token_endpoint"], authorization_response=log_in(url), state=state)
    checked(server, token, client_id, "n", algorithm)
    print(f"{algorithm}: signature and at_hash")
