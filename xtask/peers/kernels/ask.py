"""How long the libraries take for one row and for all rows of a model in a folder (`make.py`): microseconds, as JSON.

The shortest of many short runs counts: what else the machine does only makes a run longer. What a call through ctypes or through
a session of ONNX Runtime takes that computes nothing is taken off. One thread.
"""

import ctypes
import json
import os
import sys
import time

import joblib
import lightgbm
import numpy as np
import onnx
import onnxruntime
import tl2cgen
import xgboost

FOLDER = sys.argv[1]
# Seconds of a run, how many runs, and seconds of all of them.
RUN, RUNS, ALL = 0.0003, 500, 2.0


def shortest(call):
    """Microseconds of a call."""
    count, spent = 1, 0.0
    while spent < RUN:
        count *= 2
        begin = time.perf_counter()
        for _ in range(count):
            call()
        spent = time.perf_counter() - begin
    best, total = spent, spent
    for _ in range(RUNS):
        if total > ALL:
            break
        begin = time.perf_counter()
        for _ in range(count):
            call()
        spent = time.perf_counter() - begin
        best, total = min(best, spent), total + spent
    return best / count * 1e6


def in_turn(calls):
    """A call that is another one each time, so that no row is asked about twice in turn."""
    state = {"at": 0}

    def call():
        calls[state["at"]]()
        state["at"] = (state["at"] + 1) % len(calls)

    return call


def estimator(case, rows):
    model = joblib.load(os.path.join(FOLDER, case["file"]))
    ask = model.predict_proba if case["asked"] == "proba" else model.predict
    single = [lambda row=rows[i:i + 1]: ask(row) for i in range(200)]
    return shortest(in_turn(single)), shortest(lambda: ask(rows))


def session(path_or_bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path_or_bytes, options, providers=["CPUExecutionProvider"])


def onnx_graph(case, rows):
    graph = session(os.path.join(FOLDER, f"{case['name']}.onnx"))
    name, out = graph.get_inputs()[0].name, [graph.get_outputs()[1].name]
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    nothing = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["X"], ["Y"])], "nothing",
            [value("X", kind, [None, None])], [value("Y", kind, [None, None])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8,
    )
    empty = session(nothing.SerializeToString())

    def run(graph, name, out):
        single = [lambda row=rows[i:i + 1]: graph.run(out, {name: row}) for i in range(1000)]
        return shortest(in_turn(single)), shortest(lambda: graph.run(out, {name: rows}))

    one, all_rows = run(graph, name, out)
    return one - run(empty, "X", ["Y"])[0], all_rows


def foreign(function, arguments):
    """The calls of a C function, one for each tuple of arguments, and what they take if the function does nothing."""
    def calls(function):
        return in_turn([lambda each=each: function(*each) for each in arguments])

    nothing = ctypes.CDLL(None).abs
    nothing.argtypes = function.argtypes
    return shortest(calls(function)) - shortest(calls(nothing))


def lightgbm_c(case, rows):
    booster = lightgbm.Booster(model_file=os.path.join(FOLDER, case["file"]))
    library = lightgbm.basic._LIB
    handle = booster._handle
    fast, count = ctypes.c_void_p(), ctypes.c_int64()
    settings = b"num_threads=1"
    doubles = np.ascontiguousarray(rows, dtype=np.float64)
    made = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        handle, 0, 0, -1, 1, rows.shape[1], ctypes.c_char_p(settings), ctypes.byref(fast)
    )
    assert made == 0, library.LGBM_GetLastError()
    one = library.LGBM_BoosterPredictForMatSingleRowFast
    one.argtypes = [ctypes.c_void_p] * 4
    answers = np.zeros(len(rows))
    length, out = ctypes.addressof(count), answers.ctypes.data
    given = [(fast.value, row.ctypes.data, length, out + 8 * i) for i, row in enumerate(doubles)]
    for each in given:
        assert one(*each) == 0
    assert np.array_equal(answers, np.load(os.path.join(FOLDER, case["answers"])))
    many = library.LGBM_BoosterPredictForMat

    def all_rows():
        many(
            handle, ctypes.c_void_p(doubles.ctypes.data), 1, rows.shape[0], rows.shape[1], 1, 0, 0, -1,
            ctypes.c_char_p(settings), ctypes.byref(count), ctypes.c_void_p(out),
        )

    return foreign(one, given), shortest(all_rows)


def xgboost_c(case, rows):
    booster = xgboost.Booster({"nthread": 1}, model_file=os.path.join(FOLDER, case["file"]))
    library = xgboost.core._LIB
    predict = library.XGBoosterPredictFromDense
    predict.argtypes = [ctypes.c_void_p] * 7
    settings = json.dumps({
        "type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False,
        "missing": float("nan"), "cache_id": 0, "nthread": 1,
    }).encode()
    held = ctypes.create_string_buffer(settings)
    shape, dimensions, result = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_void_p()

    def array(values):
        about = {"data": (values.ctypes.data, True), "shape": list(values.shape), "typestr": "<f4", "version": 3}
        return ctypes.create_string_buffer(json.dumps(about).encode())

    def given(buffer):
        return (
            booster.handle.value, ctypes.addressof(buffer), ctypes.addressof(held), None,
            ctypes.addressof(shape), ctypes.addressof(dimensions), ctypes.addressof(result),
        )

    buffers = [array(rows[i:i + 1]) for i in range(200)]
    whole = array(rows)
    assert predict(*given(whole)) == 0, library.XGBGetLastError()
    answers = np.ctypeslib.as_array(ctypes.cast(result, ctypes.POINTER(ctypes.c_float)), (len(rows),))
    assert np.array_equal(answers.astype(float), np.load(os.path.join(FOLDER, case["answers"])))
    return foreign(predict, [given(buffer) for buffer in buffers]), shortest(lambda: predict(*given(whole)))


def treelite_c(case, rows):
    """The function that Treelite's compiler made, called for a row, and for all of them through its own loop."""
    path = os.path.join(FOLDER, f"{case['name']}.so")
    library = ctypes.CDLL(path)
    predictor = tl2cgen.Predictor(path, nthread=1)
    kind = np.dtype(predictor.threshold_type)
    # A union of a number and a mark of what is missing, which is −1.
    size = max(kind.itemsize, 4)
    entries = np.zeros((len(rows), rows.shape[1], size), dtype=np.uint8)
    entries[:, :, :kind.itemsize] = np.ascontiguousarray(rows, dtype=kind)[:, :, None].view(np.uint8).reshape(
        len(rows), rows.shape[1], kind.itemsize
    )
    answers = np.zeros((predictor.num_target, max(predictor.num_class)), dtype=predictor.leaf_output_type)
    library.predict.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    given = [(row.ctypes.data, 0, answers.ctypes.data) for row in entries]
    matrix = tl2cgen.DMatrix(np.ascontiguousarray(rows, dtype=kind))
    expected = np.load(os.path.join(FOLDER, case["answers"])).reshape(len(rows), -1)
    assert np.allclose(predictor.predict(matrix).reshape(len(rows), -1)[:, -1], expected[:, -1], atol=1e-5)
    return foreign(library.predict, given), shortest(lambda: predictor.predict(matrix))


PEERS = {
    "scikit-learn": estimator, "onnxruntime": onnx_graph, "lightgbm": lightgbm_c, "treelite": treelite_c,
    "xgboost": xgboost_c,
}
with open(os.path.join(FOLDER, "cases.json")) as file:
    cases = json.load(file)
for case in cases:
    if case["name"] != sys.argv[2]:
        continue
    rows = np.load(os.path.join(FOLDER, case["rows"]))
    for peer in case["peers"]:
        one, many = PEERS[peer](case, rows)
        print(json.dumps({"name": case["name"], "peer": peer, "one": one, "many": many}), flush=True)
