"""Verifies tokens with the code of docs/signed-identity.md, one a line: `python ask.py CODE < TOKENS`."""

import json
import sys

import jwt

scope = {}
with open(sys.argv[1]) as code:
    exec(code.read(), scope)  # noqa: S102
for line in sys.stdin:
    try:
        print(json.dumps(scope["caller"]({"x-sidegate-identity": line.strip()})))
    except jwt.PyJWTError as error:
        print(type(error).__name__)
