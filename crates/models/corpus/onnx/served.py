"""Makes the graphs that tests of the protocols serve, and prints what ONNX Runtime answers.

    python served.py ../../../inference/tests/models
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn import compose, datasets, ensemble, linear_model, pipeline, preprocessing

import estimators


def iris():
    x, y = datasets.load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    model = ensemble.RandomForestClassifier(5, max_depth=4, random_state=0).fit(x.astype(np.float32), names[y])
    made = to_onnx(model, initial_types=[("X", FloatTensorType([None, 4]))], target_opset={"": 15, "ai.onnx.ml": 3})
    return made, {"X": np.array([[6.8, 2.8, 4.8, 1.4], [5.1, 3.5, 1.4, 0.2]], np.float32)}


def rooms():
    build = lambda: pipeline.make_pipeline(compose.ColumnTransformer([  # noqa: E731
        ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["city", "kind"]),
        ("numbers", preprocessing.StandardScaler(), ["area", "price"]), ("rest", "passthrough", ["rooms"])]),
        linear_model.LogisticRegression())
    made, _ = estimators.frame(build, options={"zipmap": False}, opset={"": 15, "ai.onnx.ml": 3})(None)
    return made, {"city": np.array([["Ulm"], ["Rom"]], object), "kind": np.array([["a"], ["c"]], object),
                  "rooms": np.array([[3], [1]]), "area": np.array([[80.5], [20.0]], np.float32),
                  "price": np.array([[0.25], [-1.0]], np.float32)}


def ids():
    """A column of identifiers, and the one before each."""
    value = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [None, 1])  # noqa: E731
    one = onnx.helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1])
    node = onnx.helper.make_node("Sub", ["id", "one"], ["before"])
    graph = onnx.helper.make_graph([node], "ids", [value("id")], [value("before")], [one])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    return made, {"id": np.array([[2**53 + 1], [2**63 - 1]])}


for name, make in (("iris", iris), ("rooms", rooms), ("ids", ids)):
    model, given = make()
    data = model.SerializeToString()
    with open(os.path.join(sys.argv[1], f"{name}.onnx"), "wb") as out:
        out.write(data)
    session = onnxruntime.InferenceSession(data)
    print(name, len(data), [output.name for output in session.get_outputs()], session.run(None, given))
