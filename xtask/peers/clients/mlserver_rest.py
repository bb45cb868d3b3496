"""Requests as they are, to a server that speaks as MLServer does."""

import base64
import json

import httpx

from calls import HTTP, TEXTS, tell

JSON = {"content-type": "application/json"}
SHOWN = ("content-type", "content-encoding", "vary", "allow", "location")
ROWS = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
INPUT = {"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": ROWS}


def ask(method, path, body=None, headers=JSON):
    content = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
    with httpx.Client(timeout=30) as client:
        request = client.build_request(method, f"http://{HTTP}{path}", content=content, headers=headers)
        for name in ("accept-encoding", "user-agent"):
            if name not in headers:
                request.headers.pop(name, None)
        answer = client.send(request)
    kept = {name: value for name, value in answer.headers.items() if name in SHOWN or name.startswith("ce-")}
    text = answer.text
    if path.endswith("/index"):
        text = json.dumps(sorted(answer.json(), key=lambda entry: entry["name"]))
    kept = {name: value.removeprefix(f"http://{HTTP}") for name, value in sorted(kept.items())}
    return f"{answer.status_code} {json.dumps(kept)} {text[:900]}"


def get(path):
    tell(f"GET {path}", lambda: ask("GET", path, headers={}))


def post(name, path, body, headers=JSON):
    tell(name, lambda: ask("POST", path, body, headers))


def infer(name, body, model="iris", headers=JSON):
    post(name, f"/v2/models/{model}/infer", body, headers)


for path in [
    "/", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/iris", "/v2/models/words",
    "/v2/models/nope", "/v2/models/iris/ready", "/v2/models/nope/ready", "/v2/models/iris/versions/v1",
    "/v2/models/iris/versions/v1/ready", "/v2/models/iris/versions/zz", "/v2/models/iris/versions/zz/ready",
    "/v2/models/price/versions/v1", "/v2/models/iris/infer", "/v1/models/iris", "/metrics", "/nope",
]:
    get(path)
post("index", "/v2/repository/index", {})
post("index, ready", "/v2/repository/index", {"ready": True})
infer("infer", {"inputs": [INPUT]})
infer("infer, id", {"id": "abc", "inputs": [INPUT]})
infer("infer, empty id", {"id": "", "inputs": [INPUT]})
infer("infer, flat", {"id": "a", "inputs": [{**INPUT, "data": sum(ROWS, [])}]})
post("infer, version", "/v2/models/iris/versions/v1/infer", {"id": "a", "inputs": [INPUT]})
post("infer, unknown version", "/v2/models/iris/versions/zz/infer", {"id": "a", "inputs": [INPUT]})
infer("infer, no version", {"id": "a", "inputs": [INPUT]}, "price")
infer("infer, unknown model", {"inputs": [INPUT]}, "nope")
for name in ("predict", "predict_proba", "transform", "zz"):
    infer(f"infer, {name}", {"id": "a", "inputs": [INPUT], "outputs": [{"name": name}]})
texts = {"name": "input-0", "shape": [3], "datatype": "BYTES", "data": TEXTS}
infer("texts", {"id": "a", "inputs": [{**texts, "parameters": {"content_type": "str"}}]}, "words")
infer("texts, a column", {"id": "a", "inputs": [{**texts, "shape": [3, 1], "parameters": {"content_type": "str"}}]}, "words")
infer("texts, of the request", {"id": "a", "parameters": {"content_type": "str"}, "inputs": [texts]}, "words")
infer("texts, no content type", {"id": "a", "inputs": [texts]}, "words")
packed = [base64.b64encode(text.encode()).decode() for text in TEXTS]
infer("texts, base64", {"id": "a", "inputs": [{**texts, "data": packed, "parameters": {"content_type": "base64"}}]}, "words")
infer("probabilities", {"id": "a", "inputs": [{**texts, "parameters": {"content_type": "str"}}], "outputs": [{"name": "predict_proba"}]}, "words")
infer(
    "two outputs",
    {"id": "a", "inputs": [{**texts, "parameters": {"content_type": "str"}}], "outputs": [{"name": "predict_proba"}, {"name": "predict"}]},
    "words",
)
columns = [
    {"name": "size", "shape": [3], "datatype": "FP64", "data": [2.0, 3.0, 9.0]},
    {"name": "colour", "shape": [3, 1], "datatype": "BYTES", "data": ["red", "violet", "blue"]},
]
infer("data frame", {"id": "a", "parameters": {"content_type": "pd"}, "inputs": columns}, "mixed")
infer("data frame, strings", {"id": "a", "parameters": {"content_type": "pd"}, "inputs": [columns[0], {**columns[1], "parameters": {"content_type": "str"}}]}, "mixed")
infer("data frame, numbers", {"id": "a", "parameters": {"content_type": "pd"}, "inputs": [{**columns[0], "name": n} for n in "abcd"]}, "price")
infer("two inputs", {"id": "a", "inputs": [INPUT, INPUT]})
infer("no inputs", {"id": "a", "inputs": []})
infer("content type of numpy", {"id": "a", "inputs": [{**INPUT, "parameters": {"content_type": "np"}}]})
infer("unknown content type", {"id": "a", "inputs": [{**INPUT, "parameters": {"content_type": "zz"}}]})
infer("parameters", {"id": "a", "parameters": {"x": 1}, "inputs": [INPUT]})
infer("nested parameters", {"id": "a", "parameters": {"x": {"y": [1]}}, "inputs": [INPUT]})
for datatype in ("FP64", "INT64", "INT32", "INT8", "UINT8", "BOOL"):
    infer(datatype, {"id": "a", "inputs": [{**INPUT, "datatype": datatype, "data": [1, 0, 1, 0] * 2}]}, "price")
infer("unknown datatype", {"inputs": [{**INPUT, "datatype": "XX"}]})
infer("datatype in small letters", {"inputs": [{**INPUT, "datatype": "fp32"}]})
infer("wrong shape", {"inputs": [{**INPUT, "shape": [3, 4]}]})
infer("wrong columns", {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]})
infer("no JSON", '{"inputs":[')
infer("no object", "[1]")
infer("no body", "")
infer("nothing", "{}")
infer("no data", {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]})
infer("number for an id", {"id": 1, "inputs": [INPUT]})
infer("data that is no list", {"inputs": [{**INPUT, "data": 1}]})
infer("another content type", {"id": "a", "inputs": [INPUT]}, headers={"content-type": "text/plain"})
infer("no content type", {"id": "a", "inputs": [INPUT]}, headers={})
infer("gzip accepted", {"id": "a", "inputs": [{**INPUT, "shape": [200, 4], "data": ROWS * 100}]}, "price", {**JSON, "accept-encoding": "gzip"})
infer("gzip accepted, short", {"id": "a", "inputs": [INPUT]}, "price", {**JSON, "accept-encoding": "gzip"})
post("unload", "/v2/repository/models/price/unload", {})
infer("infer, unloaded", {"inputs": [INPUT]}, "price")
get("/v2/models/price/ready")
post("index, unloaded", "/v2/repository/index", {})
post("load", "/v2/repository/models/price/load", {})
infer("infer, loaded again", {"id": "a", "inputs": [INPUT]}, "price")
post("load, unknown", "/v2/repository/models/nope/load", {})
post("unload, unknown", "/v2/repository/models/nope/unload", {})
