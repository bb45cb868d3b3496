"""Calls of a client, one line each: `name: outcome`. What is fresh in every answer is masked."""

import json
import re
import sys

import numpy as np

ROWS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], np.float32)
TEXTS = ["a very good plot", "bad", "unseen \u2603"]
HTTP, GRPC = sys.argv[1:3]

MASKS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(\+00:00|Z)"), "<time>"),
    (re.compile(r"'/[^']*/models"), "'<models>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<address>"),
]


def show(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {[show(v) for v in value.tolist()]}"
    if hasattr(value, "DESCRIPTOR"):
        return " ".join(str(value).split())
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value)


def mask(text):
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def failed(error):
    """What a client makes of an answer it does not like; of gRPC the status alone."""
    if callable(getattr(error, "details", None)):
        return f"{error.code()}: {error.details()}"
    return f"{type(error).__name__}: {error}"


def tell(name, call):
    """Makes a call and prints what came of it."""
    try:
        outcome = show(call())
    except Exception as error:
        outcome = failed(error)
    print(f"{name}: {mask(outcome)}", flush=True)


async def tell_async(name, call):
    """As `tell`, for clients that wait."""
    try:
        value = await call
    except Exception as error:
        value = failed(error)
    tell(name, lambda: value)
