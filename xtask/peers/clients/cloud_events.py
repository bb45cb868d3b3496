"""Events as the package `cloudevents` sends and reads them."""

import httpx
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http

from calls import HTTP, ROWS, TEXTS, tell

ATTRIBUTES = {"type": "com.example.sample", "source": "https://example.com/producer", "time": "2021-01-28T21:04:43+00:00"}


def send(write, model="iris", data=None, **attributes):
    event = CloudEvent({**ATTRIBUTES, **attributes}, data or {"instances": ROWS.tolist()})
    headers, body = write(event)
    answer = httpx.post(f"http://{HTTP}/v1/models/{model}:predict", headers=headers, content=body, timeout=30)
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text}"
    try:
        event = from_http(answer.headers, answer.content)
    except Exception as error:  # an answer that is no event
        return f"{type(error).__name__} {answer.text}"
    attributes = {name: value for name, value in sorted(event.get_attributes().items())}
    return f"{attributes} {event.data}"


tell("binary", lambda: send(to_binary))
tell("structured", lambda: send(to_structured))
tell("binary, texts", lambda: send(to_binary, "words", {"instances": TEXTS}))
tell("structured, texts", lambda: send(to_structured, "words", {"instances": TEXTS}))
tell("binary, an extension", lambda: send(to_binary, custom="abc"))
tell("structured, an extension", lambda: send(to_structured, custom="abc"))
tell("binary, floats out", lambda: send(to_binary, "price"))
tell("binary, wrong columns", lambda: send(to_binary, data={"instances": [[1, 2, 3]]}))
tell("binary, unknown model", lambda: send(to_binary, "nope"))
