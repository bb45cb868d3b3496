"""curl, as in KServe's documentation."""

import json
import subprocess

from calls import HTTP, ROWS, TEXTS, tell

JSON = ["-H", "Content-Type: application/json"]
V2 = {"inputs": [{"name": "input-0", "shape": [2, 4], "datatype": "FP32", "data": ROWS.tolist()}]}


def curl(path, *more, body=None):
    command = ["curl", "--disable", "--silent", "--noproxy", "*", "--max-time", "30", "--write-out", " %{http_code}"]
    data = [] if body is None else ["-d", body if isinstance(body, str) else json.dumps(body)]
    return subprocess.run([*command, *more, *data, f"http://{HTTP}{path}"], stdout=subprocess.PIPE, check=True, text=True).stdout


tell("alive", lambda: curl("/"))
tell("models", lambda: "".join(sorted(curl("/v1/models"))))
tell("v1 ready", lambda: curl("/v1/models/iris"))
tell("v1 predict", lambda: curl("/v1/models/iris:predict", *JSON, body={"instances": ROWS.tolist()}))
tell("v1 predict, curl's content type", lambda: curl("/v1/models/iris:predict", body={"instances": ROWS.tolist()}))
tell("v1 predict, texts", lambda: curl("/v1/models/words:predict", *JSON, body={"instances": TEXTS}))
tell("v1 predict, a host", lambda: curl("/v1/models/iris:predict", *JSON, "-H", "Host: iris.kserve-test.example.com", body={"inputs": ROWS.tolist()}))
tell("v2 metadata", lambda: curl("/v2"))
tell("v2 ready", lambda: curl("/v2/models/iris/ready"))
tell("v2 infer", lambda: curl("/v2/models/iris/infer", *JSON, body=V2))
tell("v2 infer, charset", lambda: curl("/v2/models/iris/infer", "-H", "Content-Type: application/json; charset=utf-8", body=V2))
tell("v2 infer, compressed answer accepted", lambda: curl("/v2/models/iris/infer", *JSON, "--compressed", body=V2))
tell("v1 predict, many rows", lambda: curl("/v1/models/iris:predict", *JSON, "--compressed", body={"instances": ROWS.tolist() * 200})[-12:])
tell(
    "event",
    lambda: curl(
        "/v1/models/iris:predict",
        *JSON,
        *["-H", "ce-specversion: 1.0", "-H", "ce-source: curl-command", "-H", "ce-type: curl.demo", "-H", "ce-id: 123-abc"],
        body={"instances": ROWS.tolist()},
    ),
)
tell("v2 load", lambda: curl("/v2/repository/models/price/load", "-X", "POST"))
tell("v2 unload", lambda: curl("/v2/repository/models/price/unload", "-X", "POST"))
tell("v2 infer, unloaded", lambda: curl("/v2/models/price/infer", *JSON, body=V2))
tell("v2 load again", lambda: curl("/v2/repository/models/price/load", "-X", "POST", body={}))
