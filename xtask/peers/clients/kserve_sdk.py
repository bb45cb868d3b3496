"""KServe's own clients."""

import asyncio

import grpc
import numpy as np
import pandas as pd
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from calls import GRPC, HTTP, ROWS, TEXTS, tell, tell_async

BASE = f"http://{HTTP}"


def tensor(name="input-0", values=ROWS, datatype="FP32", binary=False):
    tensor = InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def request(model="iris", inputs=None, **more):
    return InferRequest(model, inputs or [tensor()], request_id="7", **more)


def show(answer):
    if isinstance(answer, dict):
        return answer
    outputs = [f"{o.name} {o.datatype} {o.shape} {o.as_numpy()}" for o in answer.outputs]
    return f"{answer.model_name} {answer.model_version} {answer.id} {answer.parameters} {outputs}"


async def shown(call):
    return show(await call)


async def rest(version):
    client = InferenceRESTClient(RESTConfig(protocol=version, timeout=30))
    tell_ = lambda name, call: tell_async(f"{version} {name}", call)
    await tell_("live", client.is_server_live(BASE))
    await tell_("ready", client.is_server_ready(BASE))
    await tell_("model ready", client.is_model_ready(BASE, "iris"))
    await tell_("model ready, unknown", client.is_model_ready(BASE, "nope"))
    ask = lambda data, model: shown(client.infer(BASE, data, model_name=model))
    if version == "v1":
        await tell_("infer", ask({"instances": ROWS.tolist()}, "iris"))
        await tell_("infer, inputs", ask({"inputs": ROWS.tolist()}, "iris"))
        await tell_("infer, texts", ask({"instances": TEXTS}, "words"))
        await tell_("infer, floats out", ask({"instances": ROWS.tolist()}, "price"))
        await tell_("infer, records", ask({"instances": [[{"colour": "red", "size": 2.0}, {"colour": "blue", "size": None}]]}, "mixed"))
        await tell_("infer, columns", ask({"instances": [{"colour": ["red", "blue"], "size": [2.0, 9.0]}]}, "mixed"))
        await tell_("infer, wrong columns", ask({"instances": [[1, 2, 3]]}, "iris"))
        await tell_("infer, unknown model", ask({"instances": [[1, 2, 3]]}, "nope"))
        await tell_("explain", client.explain(BASE, "iris", {"instances": ROWS.tolist()}))
        return
    await tell_("infer", ask(request(), "iris"))
    await tell_("infer, binary in", ask(request(inputs=[tensor(binary=True)]), "iris"))
    await tell_("infer, binary out", ask(request(request_outputs=[RequestedOutput("output-0", {"binary_data": True})]), "iris"))
    await tell_("infer, all binary", ask(request(inputs=[tensor(binary=True)], parameters={"binary_data_output": True}), "iris"))
    await tell_("infer, floats out", ask(request("price"), "price"))
    await tell_("infer, INT64 beyond 2^53", ask(request("price", [tensor(values=np.full((1, 4), 2**53 + 1), datatype="INT64")]), "price"))
    await tell_("infer, FP16", ask(request(inputs=[tensor(values=ROWS.astype("f2"), datatype="FP16", binary=True)]), "iris"))
    texts = np.array(TEXTS, object)
    await tell_("infer, texts", ask(request("words", [tensor(values=texts, datatype="BYTES")]), "words"))
    await tell_("infer, texts in binary", ask(request("words", [tensor(values=texts, datatype="BYTES", binary=True)]), "words"))
    frame = pd.DataFrame({"colour": ["red", "violet", "blue"], "size": [2.0, 3.0, 9.0]})
    columns = [tensor(name, frame[name].to_numpy(), "BYTES" if name == "colour" else "FP64") for name in frame]
    await tell_("infer, data frame", ask(request("mixed", columns, parameters={"content_type": "pd"}), "mixed"))
    await tell_("infer, wrong columns", ask(request(inputs=[tensor(values=ROWS[:, :3].copy())]), "iris"))
    await tell_("infer, unknown model", ask(request("nope"), "nope"))


async def rpc():
    client = InferenceGRPCClient(GRPC)
    tell_ = lambda name, call: tell_async(f"grpc {name}", call)
    await tell_("live", client.is_server_live())
    await tell_("ready", client.is_server_ready())
    await tell_("model ready", client.is_model_ready("iris"))
    await tell_("model ready, unknown", client.is_model_ready("nope"))
    ask = lambda *given: shown(client.infer(request(*given)))
    await tell_("infer", ask())
    await tell_("infer, binary in", ask("iris", [tensor(binary=True)]))
    await tell_("infer, floats out", ask("price"))
    texts = np.array(TEXTS, object)
    await tell_("infer, texts", ask("words", [tensor(values=texts, datatype="BYTES")]))
    await tell_("infer, texts in binary", ask("words", [tensor(values=texts, datatype="BYTES", binary=True)]))
    await tell_("infer, wrong columns", ask("iris", [tensor(values=ROWS[:, :3].copy())]))
    await tell_("infer, unknown model", ask("nope"))
    await client.close()
    packed = InferenceGRPCClient(GRPC, channel_args=[("grpc.default_compression_algorithm", grpc.Compression.Gzip.value)])
    await tell_("infer, gzip", shown(packed.infer(request())))
    await packed.close()


async def main():
    await rest("v1")
    await rest("v2")
    await rpc()


asyncio.run(main())
