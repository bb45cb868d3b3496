"""What clients of MLServer use of its package: codecs around requests and answers, and `mlserver infer`."""

import json
import os
import subprocess
import sys
import tempfile

import httpx
import pandas as pd
from mlserver import types
from mlserver.codecs import NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec, StringRequestCodec

from calls import HTTP, ROWS, TEXTS, tell


def post(model, request):
    answer = httpx.post(f"http://{HTTP}/v2/models/{model}/infer", json=request.model_dump(exclude_none=True), timeout=30)
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text}"
    return types.InferenceResponse.model_validate(answer.json())


def arrays(model, request):
    answer = post(model, request)
    if isinstance(answer, str):
        return answer
    decoded = [f"{output.name} {output.datatype} {NumpyCodec.decode_output(output).tolist()}" for output in answer.outputs]
    return f"{answer.model_name} {decoded}"


def texts(model, request):
    answer = post(model, request)
    return answer if isinstance(answer, str) else StringCodec.decode_output(answer.outputs[0])


def frame(model, request):
    answer = post(model, request)
    return answer if isinstance(answer, str) else PandasCodec.decode_response(answer).to_dict("list")


def one_input(codec, payload, **more):
    return types.InferenceRequest(id="7", inputs=[codec.encode_input("input-0", payload, **more)])


def command_line():
    """Batch inference of MLServer's command line: a request on each line of a file."""
    with tempfile.TemporaryDirectory() as folder:
        given, taken = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(given, "w") as file:
            for row in ROWS.tolist():
                tensor = {"name": "input-0", "shape": [1, 4], "datatype": "FP32", "data": row}
                file.write(json.dumps({"inputs": [tensor]}) + "\n")
        program = os.path.join(os.path.dirname(sys.executable), "mlserver")
        command = [program, "infer", "-u", HTTP, "-m", "iris", "-i", given, "-o", taken, "--timeout", "30"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ended.returncode:
            return f"ended with {ended.returncode}"
        lines = [json.loads(line) for line in open(taken)]
        return sorted(str([(o["name"], o["shape"], o["data"]) for o in line["outputs"]]) for line in lines)


colours = pd.DataFrame({"colour": pd.Series(["red", "violet", "blue"], dtype=object), "size": [2.0, 3.0, 9.0]})
tell("numpy, request", lambda: arrays("iris", NumpyRequestCodec.encode_request(ROWS)))
tell("numpy, input", lambda: arrays("iris", one_input(NumpyCodec, ROWS)))
tell("numpy, integers", lambda: arrays("iris", one_input(NumpyCodec, ROWS.astype("i8"))))
tell("numpy, floats out", lambda: arrays("price", one_input(NumpyCodec, ROWS.astype("f8"))))
tell("pandas", lambda: texts("mixed", PandasCodec.encode_request(colours, use_bytes=False)))
tell("pandas, as a frame", lambda: frame("price", PandasCodec.encode_request(pd.DataFrame(ROWS.astype("f8"), columns=list("abcd")))))
tell("strings, request", lambda: texts("words", StringRequestCodec.encode_request(TEXTS, use_bytes=False)))
tell("strings, input", lambda: texts("words", one_input(StringCodec, TEXTS, use_bytes=False)))
tell("wrong columns", lambda: arrays("iris", one_input(NumpyCodec, ROWS[:, :3].copy()))[:4])
tell("unknown model", lambda: arrays("nope", one_input(NumpyCodec, ROWS))[:4])
tell("command line", command_line)
