"""tritonclient over HTTP."""

import numpy as np
import tritonclient.http as client

from calls import HTTP, ROWS, TEXTS, tell

server = client.InferenceServerClient(HTTP, concurrency=2)


def tensor(name, values, datatype, binary=True):
    tensor = client.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def output(result):
    answer = result.get_response()
    return {**answer, "outputs": [str(result.as_numpy(o["name"])) + str(o["shape"]) + o["datatype"] for o in answer["outputs"]]}


def infer(model="iris", inputs=None, **more):
    return output(server.infer(model, inputs or [tensor("input-0", ROWS, "FP32")], request_id="7", **more))


tell("live", server.is_server_live)
tell("ready", server.is_server_ready)
tell("model ready", lambda: server.is_model_ready("iris"))
tell("model ready, unknown", lambda: server.is_model_ready("nope"))
tell("model ready, version", lambda: server.is_model_ready("iris", "1"))
tell("server metadata", server.get_server_metadata)
tell("model metadata", lambda: server.get_model_metadata("iris"))
tell("model metadata, unknown", lambda: server.get_model_metadata("nope"))
tell("model configuration", lambda: server.get_model_config("iris"))
tell("statistics", lambda: server.get_inference_statistics("iris"))
tell("index", server.get_model_repository_index)
for given in (True, False):
    for wanted in (True, False):
        tell(
            f"infer, binary in {given}, binary out {wanted}",
            lambda: infer(
                inputs=[tensor("input-0", ROWS, "FP32", given)],
                outputs=[client.InferRequestedOutput("output-0", binary_data=wanted)],
            ),
        )
tell("infer, no outputs named", infer)
tell("infer, unknown output", lambda: infer(outputs=[client.InferRequestedOutput("zz")]))
for datatype, kind in [
    ("FP64", "f8"), ("FP16", "f2"), ("INT8", "i1"), ("INT16", "i2"), ("INT32", "i4"), ("INT64", "i8"),
    ("UINT8", "u1"), ("UINT16", "u2"), ("UINT32", "u4"), ("UINT64", "u8"), ("BOOL", "?"),
]:
    tell(f"infer, {datatype}", lambda: infer(inputs=[tensor("input-0", ROWS.astype(kind), datatype)]))
tell("infer, floats out", lambda: infer("price", [tensor("input-0", ROWS.astype("f8"), "FP64")]))
tell("infer, a thousand rows", lambda: infer("price", [tensor("x", np.tile(ROWS, (500, 1)), "FP32")])["outputs"][0][-12:])
texts = np.array(TEXTS, object)
tell("infer, texts in binary", lambda: infer("words", [tensor("input-0", texts, "BYTES")]))
tell("infer, texts in JSON", lambda: infer("words", [tensor("input-0", texts, "BYTES", False)]))
tell("infer, one column of texts", lambda: infer("words", [tensor("input-0", texts.reshape(3, 1), "BYTES")]))
columns = [
    tensor("size", np.array([2.0, np.nan, 9.0]), "FP64"),
    tensor("colour", np.array(["red", "violet", "blue"], object), "BYTES"),
]
tell("infer, columns by name", lambda: infer("mixed", columns, parameters={"content_type": "pd"}))
tell("infer, a column is missing", lambda: infer("mixed", columns[:1], parameters={"content_type": "pd"}))
for word in ("gzip", "deflate"):
    tell(f"infer, {word} request", lambda: infer(request_compression_algorithm=word))
    tell(f"infer, {word} answer", lambda: infer(response_compression_algorithm=word))
tell("infer, asynchronous", lambda: output(server.async_infer("iris", [tensor("input-0", ROWS, "FP32")], request_id="7").get_result()))
tell("infer, wrong columns", lambda: infer(inputs=[tensor("input-0", ROWS[:, :3].copy(), "FP32")]))
tell("infer, unknown model", lambda: infer("nope"))
tell("infer, version", lambda: infer(model_version="1"))
tell("unload", lambda: server.unload_model("price"))
tell("infer, unloaded", lambda: infer("price", [tensor("input-0", ROWS, "FP32")]))
tell("load", lambda: server.load_model("price"))
tell("infer, loaded again", lambda: infer("price", [tensor("input-0", ROWS, "FP32")]))
tell("load, unknown", lambda: server.load_model("nope"))
tell("unload, unknown", lambda: server.unload_model("nope"))
