"""Makes ONNX models with real converters, and records what real ONNX Runtime answers.

    python make.py ../../tests/onnx

`cargo xtask record --models` runs this once for each requirements-VERSION.txt.
"""

import importlib.util
import io
import json
import lzma
import os
import struct
import sys
import warnings
import zlib

import numpy as np
import onnxruntime

warnings.simplefilter("ignore")



class Archive:
    """Cases in xz, as in ../archive.py: a JSON header, the model, and the numbers that the header refers to."""

    def __init__(self):
        self.out = bytearray()
        self.count = 0
        self.operators = {}

    def keep(self, name, kind, model, inputs):
        """Asks the runtime about each set of inputs, in one thread: with several, sums of trees have no order."""
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        # The model as it is written: fused operators of the runtime's own round elsewhere.
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        data = model.SerializeToString()
        session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        numbers = bytearray()
        asked = []
        for given in inputs:
            found = session.run(names, given)
            asked.append({
                "inputs": [tensor(key, value, numbers) for key, value in given.items()],
                "outputs": [tensor(key, value, numbers) for key, value in zip(names, found)],
            })
        header = {"name": name, "kind": kind, "asked": asked}
        for part in (json.dumps(header, separators=(",", ":")).encode(), data, bytes(numbers)):
            self.out += struct.pack("<I", len(part)) + part
        self.count += 1
        count_operators(model.graph, self.operators)

    def save(self, path):
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
        with open(path, "wb") as out:
            out.write(lzma.compress(bytes(self.out), format=lzma.FORMAT_XZ, filters=filters))


def count_operators(graph, operators):
    for node in graph.node:
        key = f"{node.domain or 'ai.onnx'} {node.op_type}"
        operators[key] = operators.get(key, 0) + 1
        for attribute in node.attribute:
            if attribute.HasField("g"):
                count_operators(attribute.g, operators)


def tensor(name, value, numbers):
    """A named tensor; a list of maps is a table with the keys as names of its columns."""
    if isinstance(value, list):
        keys = list(value[0]) if value else []
        table = np.array([[row[key] for key in keys] for row in value], dtype=np.float32)
        return {**tensor(name, table, numbers), "keys": keys}
    value = np.asarray(value)
    out = {"name": name, "shape": list(value.shape)}
    if value.dtype.kind in "OUS":
        return {**out, "texts": [str(text) for text in value.ravel()]}
    code = value.dtype.str.lstrip("<|=")
    at = len(numbers)
    numbers += np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<")).tobytes()
    return {**out, "at": at, "dtype": code}


def cases():
    """Those of the converters that are installed, and what they are called."""
    if importlib.util.find_spec("hummingbird"):
        import hummingbirds

        return hummingbirds.cases(), "+hummingbird"
    import boosters
    import estimators
    import nodes

    return estimators.cases() + boosters.cases() + nodes.cases(), ""


def main(folder):
    archive = Archive()
    failed, refused = [], []
    chosen, name = cases()
    path = os.path.join(folder, f"onnxruntime-{onnxruntime.__version__}{name}.xz")
    for name, kind, make in chosen:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        try:
            model, inputs = make(rng)
        except Exception as error:
            refused.append(f"{name}: {type(error).__name__} {str(error)[:100]!r}")
            continue
        try:
            archive.keep(name, kind, model, inputs)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__} {str(error)[:200]!r}")
    os.makedirs(folder, exist_ok=True)
    archive.save(path)
    print(f"{archive.count} models, {os.path.getsize(path)} bytes: {path}")
    for key in sorted(archive.operators):
        print(f"  {archive.operators[key]:5} {key}")
    print("not converted:", *refused, sep="\n  ")
    print("not answered by the runtime:", *failed, sep="\n  ")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main(sys.argv[1])
