"""What scripts of Kubeflow's users do to get a session cookie through Dex's form.

A re-expression of the steps of `tests/dex_login_test.py` of kubeflow/manifests, which the documentation of Kubeflow Pipelines has too:
follow redirects, choose `local` where the address ends in `/auth`, post `login` and `password` to the address of the form, approve.
"""

import sys
from urllib.parse import urlencode, urlsplit

import requests

endpoint, user, password = sys.argv[1:]


def arrived(answer, what):
    assert answer.status_code == 200, f"{what}: {answer.status_code} at {answer.url}: {answer.text[:300]}"
    return answer


session = requests.Session()
answer = session.get(endpoint, allow_redirects=True)
if answer.status_code in (401, 403):
    # The page that offers to log in.
    start = urlsplit(answer.url)
    start = start._replace(path="/oauth2/start", query=urlencode({"rd": start.path}))
    answer = session.get(start.geturl(), allow_redirects=True)
arrived(answer, "the way to the form")
assert answer.history, "nothing asked to log in"
at = urlsplit(answer.url)
if at.path.endswith("/auth"):
    at = at._replace(path=f"{at.path}/local")
form = at.geturl()
if not (at.path.rstrip("/").endswith("/login") and "/auth/" in at.path):
    form = arrived(session.get(form, allow_redirects=True), "the form").url
answer = arrived(session.post(form, data={"login": user, "password": password}, allow_redirects=True), "the login")
assert answer.history, "no redirect after the form: the password was not taken"
if urlsplit(answer.url).path.endswith("/approval"):
    answer = arrived(session.post(answer.url, data={"approval": "approve"}, allow_redirects=True), "the approval")
cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
assert cookies, "no cookie"
print("a session cookie")

# With nothing but these cookies the platform is open.
inside = requests.get(endpoint, headers={"cookie": cookies}, allow_redirects=False)
assert inside.status_code == 200, f"{inside.status_code}: {inside.text[:300]}"
print("the platform answers")
