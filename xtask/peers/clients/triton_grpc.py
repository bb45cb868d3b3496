"""tritonclient over gRPC."""

import os
import queue
import sys

import numpy as np
import tritonclient.grpc as client
from tritonclient.utils import InferenceServerException

from calls import GRPC, ROWS, TEXTS, tell

server = client.InferenceServerClient(GRPC)


def tensor(name, values, datatype):
    tensor = client.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def output(result):
    answer = result.get_response()
    values = [f"{o.name} {o.datatype} {result.as_numpy(o.name)}" for o in answer.outputs]
    return f"{answer.model_name} {answer.id} {values} raw {len(answer.raw_output_contents)}"


def infer(model="iris", inputs=None, **more):
    return output(server.infer(model, inputs or [tensor("input-0", ROWS, "FP32")], request_id="7", **more))


def stream():
    answers = queue.Queue()
    server.start_stream(lambda result, error: answers.put(error or output(result)))
    try:
        server.async_stream_infer("iris", [tensor("input-0", ROWS, "FP32")], request_id="7")
    except InferenceServerException:
        pass  # the call has failed already: the reason comes as its answer
    answer = answers.get(timeout=5)
    server.stop_stream()
    return answer


def waited():
    answers = queue.Queue()
    server.async_infer("iris", [tensor("input-0", ROWS, "FP32")], lambda result, error: answers.put(error or output(result)), request_id="7")
    return answers.get(timeout=30)


tell("live", server.is_server_live)
tell("ready", server.is_server_ready)
tell("model ready", lambda: server.is_model_ready("iris"))
tell("model ready, unknown", lambda: server.is_model_ready("nope"))
tell("server metadata", server.get_server_metadata)
tell("model metadata", lambda: server.get_model_metadata("iris"))
tell("model metadata, unknown", lambda: server.get_model_metadata("nope"))
tell("model configuration", lambda: server.get_model_config("iris"))
tell("statistics", lambda: server.get_inference_statistics("iris"))
tell("index", server.get_model_repository_index)
tell("infer", infer)
tell("infer, outputs named", lambda: infer(outputs=[client.InferRequestedOutput("output-0")]))
tell("infer, unknown output", lambda: infer(outputs=[client.InferRequestedOutput("zz")]))
for datatype, kind in [
    ("FP64", "f8"), ("FP16", "f2"), ("INT8", "i1"), ("INT16", "i2"), ("INT32", "i4"), ("INT64", "i8"),
    ("UINT8", "u1"), ("UINT16", "u2"), ("UINT32", "u4"), ("UINT64", "u8"), ("BOOL", "?"),
]:
    tell(f"infer, {datatype}", lambda: infer(inputs=[tensor("input-0", ROWS.astype(kind), datatype)]))
tell("infer, floats out", lambda: infer("price", [tensor("input-0", ROWS.astype("f8"), "FP64")]))
texts = np.array(TEXTS, object)
tell("infer, texts", lambda: infer("words", [tensor("input-0", texts, "BYTES")]))
columns = [
    tensor("size", np.array([2.0, np.nan, 9.0]), "FP64"),
    tensor("colour", np.array(["red", "violet", "blue"], object), "BYTES"),
]
tell("infer, columns by name", lambda: infer("mixed", columns, parameters={"content_type": "pd"}))
for word in ("gzip", "deflate"):
    tell(f"infer, {word}", lambda: infer(compression_algorithm=word))
tell("infer, asynchronous", waited)
tell("infer, stream", stream)
tell("infer, wrong columns", lambda: infer(inputs=[tensor("input-0", ROWS[:, :3].copy(), "FP32")]))
tell("infer, unknown model", lambda: infer("nope"))
tell("infer, version", lambda: infer(model_version="1"))
tell("infer, more than 8 MiB", lambda: infer("price", [tensor("x", np.zeros((300_000, 4)), "FP64")])[:60])
tell("unload", lambda: server.unload_model("price"))
tell("load", lambda: server.load_model("price"))
tell("infer, loaded again", lambda: infer("price", [tensor("input-0", ROWS, "FP32")]))
tell("load, unknown", lambda: server.load_model("nope"))
tell("unload, unknown", lambda: server.unload_model("nope"))

# A thread of the client may wait for ever for a stream that the server does not end.
sys.stdout.flush()
os._exit(0)
