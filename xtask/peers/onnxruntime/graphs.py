"""Graphs with operators that the kernels of Sidegate have not, and whether a server answers as ONNX Runtime does.

    python graphs.py library           the path of ONNX Runtime's library
    python graphs.py make FOLDER       a folder for each graph
    python graphs.py refused FOLDER    graphs that must not be served
    python graphs.py ask http://…      compares answers bit by bit; ends with 1 if one differs
"""

import glob
import json
import os
import sys
import urllib.request

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FLOAT, DOUBLE, INT64, INT32, BOOL, TEXT, UINT8 = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING,
    TensorProto.UINT8)
NAMES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "bool": "BOOL", "object": "BYTES"}


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, constants=(), opset=17):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def weights(*shape):
    return (np.random.default_rng(sum(shape)).normal(size=shape) * 0.5).astype(np.float32)


def convolution():
    nodes = [node("Conv", "x w b", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), node("Relu", "c", "r"),
             node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]), node("GlobalAveragePool", "p", "g"),
             node("Flatten", "g", "f"), node("Gemm", "f d", "z", transB=1), node("Softmax", "z", "y", axis=-1)]
    constants = [constant("w", weights(8, 3, 3, 3)), constant("b", weights(8)), constant("d", weights(5, 8))]
    return model(nodes, [value("x", FLOAT, "n", 3, 16, 16)], [value("y", FLOAT, "n", 5)], constants)


def recurrent(operator, gates, opset=14):
    names = "x w r b" + ("" if operator != "LSTM" else " ")
    nodes = [node(operator, names.strip(), "all last" if operator != "LSTM" else "all last cell", hidden_size=6)]
    constants = [constant("w", weights(1, gates * 6, 4)), constant("r", weights(1, gates * 6, 6)),
                 constant("b", weights(1, 2 * gates * 6))]
    outputs = [value("all", FLOAT, "t", 1, "n", 6), value("last", FLOAT, 1, "n", 6)]
    outputs += [value("cell", FLOAT, 1, "n", 6)] if operator == "LSTM" else []
    return model(nodes, [value("x", FLOAT, "t", "n", 4)], outputs, constants, opset)


def simple(operator, kinds_in, kinds_out, constants=(), opset=17, **attributes):
    """One node; shapes are given with the kinds."""
    inputs = [value(f"i{index}", *kind) for index, kind in enumerate(kinds_in)]
    outputs = [value(f"o{index}", *kind) for index, kind in enumerate(kinds_out)]
    names = [port.name for port in inputs] + [constant.name for constant in constants]
    made = helper.make_node(operator, names, [port.name for port in outputs], **attributes)
    return model([made], inputs, outputs, constants, opset)


def branches():
    """A choice between two graphs inside, each with constants of its own."""
    def body(factor):
        nodes = [helper.make_node("Constant", [], ["k"], value=constant("k", np.float32(factor))),
                 node("Mul", "x k", "s"), node("Erf", "s", "e"), node("Celu", "e", "o")]
        return helper.make_graph(nodes, "body", [], [value("o", FLOAT, "n")])
    nodes = [node("ReduceSum", "x", "sum", keepdims=0), node("Greater", "sum zero", "positive"),
             node("If", "positive", "y", then_branch=body(2), else_branch=body(-3))]
    return model(nodes, [value("x", FLOAT, "n")], [value("y", FLOAT, "n")], [constant("zero", np.float32(0))])


def attention():
    nodes = [node("LayerNormalization", "x scale bias", "l", axis=-1), node("MatMul", "l w", "q"),
             node("Transpose", "q", "k", perm=[0, 2, 1]), node("MatMul", "q k", "s"), node("Softmax", "s", "a", axis=-1),
             node("Dropout", "a", "kept"), node("MatMul", "kept l", "y")]
    constants = [constant("scale", weights(8)), constant("bias", weights(8)), constant("w", weights(8, 8))]
    return model(nodes, [value("x", FLOAT, "n", "t", 8)], [value("y", FLOAT, "n", "t", 8)], constants)


def quantised():
    nodes = [node("QuantizeLinear", "x scale zero", "q"), node("DequantizeLinear", "q scale zero", "y")]
    constants = [constant("scale", np.float32(0.05)), constant("zero", np.uint8(128))]
    return model(nodes, [value("x", FLOAT, "n", 4)], [value("y", FLOAT, "n", 4)], constants)


def graphs():
    """By name: the model, and how to make its inputs of random numbers."""
    def floats(*shape, kind=np.float32):
        return lambda rng: rng.normal(size=shape).astype(kind)

    def whole(*shape, high=9, kind=np.int64):
        return lambda rng: rng.integers(-high, high, size=shape).astype(kind)

    words = np.array(["Ulm", "Köln am Rhein", "a,b,c", ""], object)
    return {
        "convolution": (convolution(), [floats(2, 3, 16, 16)]),
        "lstm": (recurrent("LSTM", 4), [floats(5, 2, 4)]),
        "gru": (recurrent("GRU", 3), [floats(5, 2, 4)]),
        "rnn": (recurrent("RNN", 1), [floats(5, 2, 4)]),
        "attention": (attention(), [floats(2, 7, 8)]),
        "branches": (branches(), [floats(6)]),
        "quantised": (quantised(), [floats(3, 4)]),
        "resize": (simple("Resize", [(FLOAT, 1, 1, 4, 4)], [(FLOAT, 1, 1, 8, 8)],
                          [constant("roi", np.array([], np.float32)),
                           constant("scales", np.array([1, 1, 2, 2], np.float32))], mode="linear"),
                   [floats(1, 1, 4, 4)]),
        "einsum": (simple("Einsum", [(DOUBLE, "a", "b"), (DOUBLE, "b", "c")], [(DOUBLE, "a", "c")], equation="ab,bc->ac"),
                   [floats(3, 4, kind=np.float64), floats(4, 2, kind=np.float64)]),
        "scatter": (simple("ScatterElements", [(INT32, 3, 3), (INT64, 2, 3), (INT32, 2, 3)], [(INT32, 3, 3)], axis=0),
                    [whole(3, 3, kind=np.int32), lambda rng: rng.integers(0, 3, size=(2, 3)),
                     whole(2, 3, kind=np.int32)]),
        "unique": (simple("Unique", [(INT64, "n")], [(INT64, "m"), (INT64, "m"), (INT64, "n"), (INT64, "m")]),
                   [lambda rng: rng.integers(2**53, 2**53 + 4, size=12)]),
        "infinite": (simple("IsInf", [(FLOAT, "n")], [(BOOL, "n")], opset=20),
                     [lambda rng: np.array([1, np.inf, -np.inf, 0], np.float32)]),
        "words": (simple("StringConcat", [(TEXT, "n"), (TEXT, "n")], [(TEXT, "n")], opset=20),
                  [lambda rng: rng.permutation(words), lambda rng: rng.permutation(words)]),
        "bools": (simple("ScatterND", [(BOOL, 4), (INT64, 2, 1), (BOOL, 2)], [(BOOL, 4)]),
                  [lambda rng: rng.random(4) < 0.5, lambda rng: rng.permutation(4)[:2].reshape(2, 1),
                   lambda rng: rng.random(2) < 0.5]),
    }


def refused():
    """By name: a model, and a part of what must be said about it."""
    bytes_in = simple("QLinearMatMul", [(UINT8, "n", 2)], [(UINT8, "n", 2)],
                      [constant("as", np.float32(0.1)), constant("az", np.uint8(0)),
                       constant("b", np.eye(2, dtype=np.uint8)), constant("bs", np.float32(0.1)),
                       constant("bz", np.uint8(0)), constant("ys", np.float32(0.1)), constant("yz", np.uint8(0))])
    elsewhere = convolution()
    tensor = elsewhere.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in (("location", "/etc/hostname"), ("offset", "0"), ("length", "864")):
        tensor.external_data.add(key=key, value=entry)
    unknown = simple("NoSuchOperator", [(FLOAT, "n")], [(FLOAT, "n")])
    return {"bytes": (bytes_in, "values of uint8"), "elsewhere": (elsewhere, "in another file"),
            "unknown": (unknown, "NoSuchOperator")}


def save(folder, name, made):
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with open(os.path.join(folder, name, "model.onnx"), "wb") as out:
        out.write(made.SerializeToString())


def raw(array):
    if array.dtype != object:
        return array.tobytes()
    texts = [text.encode() for text in array.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def infer(server, name, given, binary):
    """The outputs of a V2 request, in JSON or with tensors behind it, always answered in binary."""
    head = {"inputs": [], "parameters": {"binary_data_output": True}}
    body = b""
    for key, array in given.items():
        tensor = {"name": key, "shape": list(array.shape), "datatype": NAMES[str(array.dtype)]}
        if binary:
            data = raw(array)
            tensor["parameters"] = {"binary_data_size": len(data)}
            body += data
        else:
            tensor["data"] = array.ravel().tolist()
        head["inputs"].append(tensor)
    text = json.dumps(head).encode()
    headers = {"content-type": "application/json"}
    if binary:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    request = urllib.request.Request(f"{server}/v2/models/{name}/infer", text + body, headers)
    with urllib.request.urlopen(request) as response:
        answer = response.read()
        length = int(response.headers["inference-header-content-length"])
    outputs, at = {}, length
    for output in json.loads(answer[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        outputs[output["name"]] = (output["datatype"], output["shape"], answer[at:at + size])
        at += size
    return outputs


def ask(server):
    different = 0
    for name, (made, inputs) in graphs().items():
        options = onnxruntime.SessionOptions()
        session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_inputs()]
        wrong = values = 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            given = {key: make(rng) for key, make in zip(names, inputs)}
            expected = session.run(None, given)
            # JSON has no infinite numbers.
            found = infer(server, name, given, binary=seed % 2 == 0 or name == "infinite")
            for port, array in zip(session.get_outputs(), expected):
                values += array.size
                datatype = NAMES[str(array.dtype)] if array.dtype.kind not in "US" else "BYTES"
                wrong += found.get(port.name) != (datatype, list(array.shape), raw(array))
        print(f"{name}: {values} values, {wrong} of {20 * len(expected)} tensors differ")
        different += wrong
    return different


def main():
    match sys.argv[1:]:
        case ["library"]:
            print(glob.glob(os.path.join(os.path.dirname(onnxruntime.__file__), "capi", "libonnxruntime.so*"))[0])
        case ["make", folder]:
            for name, (made, _) in graphs().items():
                onnx.checker.check_model(made)
                save(folder, name, made)
        case ["refused", folder]:
            for name, (made, said) in refused().items():
                save(folder, name, made)
                print(f"{name}\t{said}")
        case ["ask", server]:
            sys.exit(1 if ask(server) else 0)


main()
