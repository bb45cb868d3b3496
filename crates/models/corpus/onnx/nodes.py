"""Graphs of one operator each, with every setting that the converters do not reach."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
F, D, I, S, B, I32 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL, TensorProto.INT32
NUMPY = {F: np.float32, D: np.float64, I: np.int64, S: object, B: np.bool_, I32: np.int32}


def graph(operator, domain, inputs, outputs, attributes, constants=None, opset=18, ml=3,):
    """A model of one node. `inputs` are pairs of a type and values; `constants` are inputs that are part of the model."""
    names = [f"in{index}" for index in range(len(inputs))]
    given = {name: np.asarray(values, dtype=NUMPY[kind]) for name, (kind, values) in zip(names, inputs)}
    constants = constants or []
    initial = [numpy_helper.from_array(np.asarray(value, dtype=NUMPY[kind]), f"c{index}") if kind != S
               else helper.make_tensor(f"c{index}", S, np.shape(value), [text.encode() for text in np.ravel(value)])
               for index, (kind, value) in enumerate(constants)]
    results = [f"out{index}" for index in range(len(outputs))]
    node = helper.make_node(operator, names + [tensor.name for tensor in initial], results, domain=domain, name="node", **attributes)
    made = helper.make_graph(
        [node], "graph",
        [helper.make_tensor_value_info(name, kind, [None] * np.ndim(given[name])) for name, (kind, _) in zip(names, inputs)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(results, outputs)], initial)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(ML, ml),
                                                   helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 8
    return model, [given]


def ensemble(rng, modes, targets, depth, features, double, missing):
    """The attributes of random trees, and leaves with their weights."""
    out = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    leaves = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    tracks = []
    for tree in range(5):
        count = 0

        def grow(level):
            nonlocal count
            node, count = count, count + 1
            place = len(out["treeids"])
            for key, value in (("treeids", tree), ("nodeids", node), ("featureids", int(rng.integers(features))),
                               ("modes", "LEAF"), ("values", 0.0), ("truenodeids", 0), ("falsenodeids", 0)):
                out[key].append(value)
            tracks.append(int(rng.integers(2)))
            if level == depth or rng.random() < 0.15:
                for target in sorted(rng.choice(targets, size=int(rng.integers(1, targets + 1)), replace=False)):
                    for key, value in (("treeids", tree), ("nodeids", node), ("ids", int(target)), ("weights", float(np.float32(rng.normal())))):
                        leaves[key].append(value)
                return node
            out["modes"][place] = str(rng.choice(modes))
            out["values"][place] = float(rng.integers(-2, 3)) if rng.random() < 0.7 else float(np.float32(rng.normal()))
            out["truenodeids"][place] = grow(level + 1)
            out["falsenodeids"][place] = grow(level + 1)
            return node

        grow(0)
    attributes = {f"nodes_{key}": value for key, value in out.items()}
    if missing:
        attributes["nodes_missing_value_tracks_true"] = tracks
    if double:
        attributes["nodes_values_as_tensor"] = numpy_helper.from_array(np.array(attributes.pop("nodes_values"), np.float64), "v")
    return attributes, leaves


def points(rng, count=14, columns=4, missing=True):
    x = np.where(rng.random((count, columns)) < 0.5, rng.integers(-2, 3, (count, columns)), rng.normal(size=(count, columns)))
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def regressor(aggregate, post, targets, modes, double=False, base=False, missing=False):
    def make(rng):
        attributes, leaves = ensemble(rng, modes, targets, 4, 4, double, missing)
        for key in ("treeids", "nodeids", "ids"):
            attributes[f"target_{key}"] = leaves[key]
        if double:
            attributes["target_weights_as_tensor"] = numpy_helper.from_array(np.array(leaves["weights"], np.float64), "w")
        else:
            attributes["target_weights"] = leaves["weights"]
        if base:
            attributes["base_values"] = [float(value) for value in rng.normal(size=targets).astype(np.float32)]
            if double:
                attributes["base_values_as_tensor"] = numpy_helper.from_array(np.array(attributes.pop("base_values"), np.float64), "b")
        return graph("TreeEnsembleRegressor", ML, [(D if double else F, points(rng))], [F],
                     {**attributes, "n_targets": targets, "aggregate_function": aggregate, "post_transform": post})

    return make


def classifier(post, classes, modes, text=False, double=False, base=0, positive=False, ids=None):
    def make(rng):
        attributes, leaves = ensemble(rng, modes, ids or classes, 4, 4, double, True)
        weights = [abs(w) / 5 for w in leaves["weights"]] if positive else leaves["weights"]
        weights = [float(np.float32(w)) for w in weights]
        for key in ("treeids", "nodeids", "ids"):
            attributes[f"class_{key}"] = leaves[key]
        if double:
            attributes["class_weights_as_tensor"] = numpy_helper.from_array(np.array(weights, np.float64), "w")
        else:
            attributes["class_weights"] = weights
        if base:
            attributes["base_values"] = [float(value) for value in rng.normal(size=base).astype(np.float32)]
            if double:
                attributes["base_values_as_tensor"] = numpy_helper.from_array(np.array(attributes.pop("base_values"), np.float64), "b")
        if text:
            attributes["classlabels_strings"] = ["x", "y", "z", "w"][:classes]
        else:
            attributes["classlabels_int64s"] = [7, -3, 5, 11][:classes]
        return graph("TreeEnsembleClassifier", ML, [(D if double else F, points(rng))], [S if text else I, F],
                     {**attributes, "post_transform": post})

    return make


def trees(out):
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        for targets in (1, 3):
            for double in (False, True):
                for base in (False, True):
                    out.append((f"TreeEnsembleRegressor {aggregate} {targets} {double} {base}", "TreeEnsembleRegressor",
                                regressor(aggregate, "NONE", targets, MODES, double, base, True)))
    for post in ("LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"):
        for targets in (1, 3):
            out.append((f"TreeEnsembleRegressor {post} {targets}", "TreeEnsembleRegressor",
                        regressor("SUM", post, targets, MODES[:1])))
    for mode in MODES:
        out.append((f"TreeEnsembleRegressor {mode}", "TreeEnsembleRegressor", regressor("SUM", "NONE", 1, [mode], missing=True)))
    for post in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"):
        for classes, ids, base in ((2, 1, 0), (2, 2, 0), (2, 1, 1), (2, 2, 2), (2, 1, 2), (3, 3, 0), (3, 3, 3)):
            for positive in (False, True):
                if post == "PROBIT" and ids == 1:
                    # The runtime leaves the second score as it finds the memory.
                    continue
                out.append((f"TreeEnsembleClassifier {post} {classes} {ids} {base} {positive}", "TreeEnsembleClassifier",
                            classifier(post, classes, MODES, classes == 3, base=base, positive=positive, ids=ids)))
    for classes in (2, 3):
        out.append((f"TreeEnsembleClassifier double {classes}", "TreeEnsembleClassifier", classifier("NONE", classes, MODES[:2], double=True)))

    def version5(modes, aggregate, double):
        def make(rng):
            kind = np.float64 if double else np.float32
            attributes = {
                "n_targets": 2, "aggregate_function": aggregate, "post_transform": 0,
                "tree_roots": [0, 3],
                "nodes_featureids": [0, 1, 2, 3],
                "nodes_modes": numpy_helper.from_array(np.array(modes, np.uint8), "m"),
                "nodes_splits": numpy_helper.from_array(np.array([0.5, -1.0, 2.0, 0.25], kind), "s"),
                "nodes_truenodeids": [1, 0, 2, 4], "nodes_trueleafs": [0, 1, 1, 1],
                "nodes_falsenodeids": [2, 1, 3, 5], "nodes_falseleafs": [0, 1, 1, 1],
                "leaf_targetids": [0, 1, 0, 1, 0, 1],
                "leaf_weights": numpy_helper.from_array(np.array([0.5, -1.5, 2.0, 3.25, 0.125, -4.0], kind), "w"),
            }
            if 6 in modes:
                attributes["membership_values"] = numpy_helper.from_array(np.array([1.0, -2.0, np.nan], kind), "b")
            x = points(rng)
            # Of sets the runtime compares whole numbers, cut.
            x = np.round(x) if 6 in modes else x
            return graph("TreeEnsemble", ML, [(D if double else F, x)], [D if double else F], attributes, opset=21, ml=5)

        return make

    for aggregate in (0, 1, 2, 3):
        for double in (False, True):
            out.append((f"TreeEnsemble {aggregate} {double}", "TreeEnsemble", version5([0, 1, 2, 3], aggregate, double)))
    out.append(("TreeEnsemble equal", "TreeEnsemble", version5([4, 5, 0, 4], 1, False)))
    out.append(("TreeEnsemble member", "TreeEnsemble", version5([0, 6, 0, 0], 1, False)))


def learning(out):
    def add(operator, label, make):
        out.append((f"{operator} {label}", operator, make))

    def simple(operator, label, inputs, outputs, attributes, domain=ML, **more):
        def make(rng):
            made = [(kind, values(rng) if callable(values) else values) for kind, values in inputs]
            return graph(operator, domain, made, outputs, attributes, **more)

        add(operator, label, make)

    x = lambda rng: rng.normal(size=(9, 4)).astype(np.float32)  # noqa: E731
    whole = lambda rng: rng.integers(-3, 4, (9, 4))  # noqa: E731
    for post in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"):
        simple("LinearRegressor", post, [(F, x)], [F], {
            "coefficients": [0.5, -0.25, 1.5, 0.1, 0.2, 0.7, -1.1, 0.3], "intercepts": [0.1, -0.2], "targets": 2, "post_transform": post})
        for kind, data in ((F, x), (D, x), (I, whole), (I32, whole)):
            for text in (False, True):
                labels = {"classlabels_strings": ["p", "q", "r"]} if text else {"classlabels_ints": [3, 1, 2]}
                simple("LinearClassifier", f"{post} {kind} {text}", [(kind, data)], [S if text else I, F], {
                    "coefficients": [0.5, -0.25, 1.5, 0.1, 0.2, 0.7, -1.1, 0.3, -0.6, 0.05, 0.4, -0.9],
                    "intercepts": [0.1, -0.2, 0.3], "multi_class": 1, "post_transform": post, **labels})
        if post == "PROBIT":
            continue
        simple("LinearClassifier", f"one {post}", [(F, x)], [I, F], {
            "coefficients": [0.5, -0.25, 1.5, 0.1], "intercepts": [0.1], "post_transform": post, "classlabels_ints": [4, 9]})
    for kind, data in ((F, x), (D, x), (I, whole), (I32, whole)):
        simple("Scaler", f"columns {kind}", [(kind, data)], [F], {"offset": [0.1, 0.2, 0.3, 0.4], "scale": [1.5, 2.0, 0.3, -1.0]})
        simple("Scaler", f"one {kind}", [(kind, data)], [F], {"offset": [0.1], "scale": [1.5]})
        for norm in ("MAX", "L1", "L2"):
            simple("Normalizer", f"{norm} {kind}", [(kind, data)], [F], {"norm": norm})
    simple("Binarizer", "half", [(F, x)], [F], {"threshold": 0.5})
    simple("Imputer", "floats", [(F, [[1.0, np.nan, 3.0], [np.nan, 2.0, np.nan]])], [F],
           {"imputed_value_floats": [0.5, 1.5, 2.5], "replaced_value_float": float("nan")})
    simple("Imputer", "one", [(F, [[1.0, -1.0, 3.0], [-1.0, 2.0, 9.0]])], [F],
           {"imputed_value_floats": [0.5], "replaced_value_float": -1.0})
    simple("Imputer", "whole", [(I, [[1, -1, 3], [-1, 2, 9]])], [I], {"imputed_value_int64s": [7, 8, 9], "replaced_value_int64": -1})
    simple("OneHotEncoder", "text", [(S, [["a"], ["b"], ["z"]])], [F], {"cats_strings": ["a", "b", "c"], "zeros": 1})
    simple("OneHotEncoder", "whole", [(I, [[3], [1], [9]])], [F], {"cats_int64s": [1, 2, 3], "zeros": 1})
    simple("OneHotEncoder", "floats", [(F, [[3.0], [1.0], [9.0]])], [F], {"cats_int64s": [1, 2, 3], "zeros": 1})
    pairs = {"ss": (S, S, ["a", "b", "q"]), "si": (S, I, ["a", "b", "q"]), "sf": (S, F, ["a", "b", "q"]), "is": (I, S, [1, 2, 9]),
             "if": (I, F, [1, 2, 9]), "ii": (I, I, [1, 2, 9]), "fs": (F, S, [0.5, np.nan, 9.0]), "fi": (F, I, [0.5, np.nan, 9.0]), "ff": (F, F, [0.5, np.nan, 9.0])}
    keys = {S: ("keys_strings", ["a", "b"]), I: ("keys_int64s", [1, 2]), F: ("keys_floats", [0.5, float("nan")])}
    values = {S: ("values_strings", ["x", "y"], "default_string", "none"), I: ("values_int64s", [10, 20], "default_int64", -7),
              F: ("values_floats", [1.25, 2.5], "default_float", 0.125)}
    for label, (source, target, data) in pairs.items():
        name, mapped, default, other = values[target]
        simple("LabelEncoder", label, [(source, [data])], [target], {keys[source][0]: keys[source][1], name: mapped, default: other}, ml=2)
        simple("LabelEncoder", f"{label} 4", [(source, [data])], [target], {keys[source][0]: keys[source][1], name: mapped, default: other}, ml=4)
    simple("LabelEncoder", "tensors", [(D, [[1.5, 2.5, 9.0]])], [D], {
        "keys_tensor": numpy_helper.from_array(np.array([1.5, 2.5]), "k"), "values_tensor": numpy_helper.from_array(np.array([10.0, 20.0]), "v"),
        "default_tensor": numpy_helper.from_array(np.array([-1.0]), "d")}, ml=4)
    simple("LabelEncoder", "first version", [(S, ["b", "a", "q"])], [I], {"classes_strings": ["a", "b"], "default_int64": -2}, ml=1)
    simple("CategoryMapper", "to numbers", [(S, ["b", "a", "q"])], [I], {"cats_strings": ["a", "b"], "cats_int64s": [5, 6], "default_int64": -2})
    simple("CategoryMapper", "to text", [(I, [5, 6, 9])], [S], {"cats_strings": ["a", "b"], "cats_int64s": [5, 6], "default_string": "none"})
    simple("FeatureVectorizer", "two", [(F, x), (F, x)], [F], {"inputdimensions": [4, 4]})
    simple("FeatureVectorizer", "cut", [(F, x), (F, x)], [F], {"inputdimensions": [2, 4]})
    simple("ArrayFeatureExtractor", "floats", [(F, x)], [F], {}, constants=[(I, [2, 0])])
    simple("ArrayFeatureExtractor", "text", [(S, [["a", "b", "c"]])], [S], {}, constants=[(I, [1])])
    for kernel, parameters in (("LINEAR", [0.0, 0.0, 0.0]), ("POLY", [0.3, 0.7, 3.0]), ("POLY", [0.3, 0.7, 2.0]), ("RBF", [0.4, 0.0, 3.0]), ("SIGMOID", [0.1, 0.2, 3.0])):
        def machine(rng, kernel=kernel, parameters=parameters, probabilities=False, classes=3, post="NONE"):
            vectors = rng.normal(size=(4 * classes, 4)).astype(np.float32)
            pairs = classes * (classes - 1) // 2
            attributes = {"kernel_type": kernel, "support_vectors": vectors.ravel().tolist(), "vectors_per_class": [4] * classes,
                          "coefficients": rng.normal(size=4 * classes * (classes - 1)).astype(np.float32).tolist(),
                          "rho": rng.normal(size=pairs).astype(np.float32).tolist(), "classlabels_ints": list(range(classes)), "post_transform": post}
            if parameters:
                attributes["kernel_params"] = parameters
            if probabilities:
                attributes.update(prob_a=[-1.5] * pairs, prob_b=[0.1] * pairs)
            return graph("SVMClassifier", ML, [(F, x(rng))], [I, F], attributes)

        for probabilities in (False, True):
            for classes in (2, 3):
                add("SVMClassifier", f"{kernel} {parameters[2:]} {probabilities} {classes}",
                    lambda rng, m=machine, p=probabilities, c=classes: m(rng, probabilities=p, classes=c))
        for post in ("LOGISTIC", "SOFTMAX"):
            add("SVMClassifier", f"{kernel} {parameters[2:]} {post}", lambda rng, m=machine, p=post: m(rng, post=p))
            add("SVMClassifier", f"{kernel} {parameters[2:]} two {post}", lambda rng, m=machine, p=post: m(rng, post=p, classes=2))

        def line(rng, kernel=kernel, parameters=parameters, one=0):
            attributes = {"kernel_type": kernel, "support_vectors": rng.normal(size=24).astype(np.float32).tolist(), "n_supports": 6,
                          "coefficients": rng.normal(size=6).astype(np.float32).tolist(), "rho": [0.25], "one_class": one}
            if parameters:
                attributes["kernel_params"] = parameters
            return graph("SVMRegressor", ML, [(F, x(rng))], [F], attributes)

        add("SVMRegressor", f"{kernel} {parameters[2:]}", line)
        add("SVMRegressor", f"{kernel} {parameters[2:]} one", lambda rng, m=line: m(rng, one=1))
    simple("SVMClassifier", "no vectors", [(F, x)], [I, F], {
        "coefficients": [0.5, -0.25, 1.5, 0.1, 0.2, 0.7, -1.1, 0.3, -0.6, 0.05, 0.4, -0.9], "rho": [0.1], "classlabels_ints": [0, 1, 2],
        "kernel_params": [0.0, 0.0, 0.0]})


def core(out):
    def add(operator, label, inputs, outputs, attributes=None, constants=None, opset=18, domain=""):
        def make(rng):
            made = [(kind, values(rng) if callable(values) else values) for kind, values in inputs]
            return graph(operator, domain, made, outputs, attributes or {}, constants, opset)

        out.append((f"{operator} {label}", operator, make))

    x = lambda rng: rng.normal(size=(3, 4)) * 3  # noqa: E731
    row = lambda rng: rng.normal(size=(1, 4))  # noqa: E731
    whole = lambda rng: rng.integers(-5, 6, (3, 4))  # noqa: E731
    some = lambda rng: rng.integers(1, 6, (3, 4))  # noqa: E731
    truth = lambda rng: rng.random((3, 4)) < 0.5  # noqa: E731
    positive = lambda rng: rng.random((3, 4)) * 5 + 0.1  # noqa: E731
    unit = lambda rng: rng.random((3, 4)) * 2 - 1  # noqa: E731
    for kind in (F, D):
        for operator in ("Abs", "Neg", "Exp", "Sigmoid", "Tanh", "Relu", "Ceil", "Floor", "Round", "Sign", "Identity", "Reciprocal",
                         "Softplus", "Sin", "LeakyRelu", "Elu"):
            add(operator, f"{kind}", [(kind, x)], [kind])
        for operator in ("Sqrt", "Log"):
            add(operator, f"{kind}", [(kind, positive)], [kind])
        for operator in ("Add", "Sub", "Mul", "Div"):
            add(operator, f"{kind}", [(kind, x), (kind, row)], [kind])
            add(operator, f"{kind} same", [(kind, x), (kind, x)], [kind])
        add("Pow", f"{kind}", [(kind, positive), (kind, row)], [kind])
        add("Pow", f"{kind} square", [(kind, x)], [kind], constants=[(kind, 2.0)])
        for operator in ("Max", "Min", "Sum", "Mean"):
            add(operator, f"{kind}", [(kind, x), (kind, row)], [kind])
        for operator in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"):
            add(operator, f"{kind}", [(kind, x), (kind, row)], [B])
        add("Clip", f"{kind}", [(kind, x)], [kind], constants=[(kind, -1.0), (kind, 1.0)])
        add("IsNaN", f"{kind}", [(kind, [[1.0, np.nan]])], [B])
        add("IsInf", f"{kind}", [(kind, [[1.0, np.inf, -np.inf]])], [B])
        for axis in (0, 1):
            add("Softmax", f"{kind} {axis}", [(kind, x)], [kind], {"axis": axis})
            add("LogSoftmax", f"{kind} {axis}", [(kind, x)], [kind], {"axis": axis})
            add("ArgMax", f"{kind} {axis}", [(kind, x)], [I], {"axis": axis})
            add("ArgMin", f"{kind} {axis}", [(kind, x)], [I], {"axis": axis, "keepdims": 0})
            for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp"):
                if operator == "ReduceSum":
                    add(operator, f"{kind} {axis}", [(kind, x)], [kind], {"keepdims": axis}, constants=[(I, [axis])])
                add(operator, f"{kind} {axis} 11", [(kind, x)], [kind], {"axes": [axis], "keepdims": 1 - axis}, opset=11)
                add(operator, f"{kind} {axis} all", [(kind, x)], [kind], {}, opset=11)
        add("MatMul", f"{kind}", [(kind, x)], [kind], constants=[(kind, np.linspace(-1, 1, 20).reshape(4, 5))])
        add("MatMul", f"{kind} vector", [(kind, x)], [kind], constants=[(kind, np.linspace(-1, 1, 4))])
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            left = (lambda rng: rng.normal(size=(4, 3))) if a else x
            right = np.linspace(-1, 1, 20).reshape((5, 4) if b else (4, 5))
            add("Gemm", f"{kind} {a} {b}", [(kind, left)], [kind], {"transA": a, "transB": b, "alpha": 0.5, "beta": 2.0},
                constants=[(kind, right), (kind, np.arange(5.0))])
        add("CDist", f"{kind}", [(kind, x)], [kind], {"metric": "sqeuclidean"}, constants=[(kind, np.linspace(-1, 1, 20).reshape(5, 4))], domain="com.microsoft")
        add("CDist", f"{kind} root", [(kind, x)], [kind], {"metric": "euclidean"}, constants=[(kind, np.linspace(-1, 1, 20).reshape(5, 4))], domain="com.microsoft")
        for largest in (0, 1):
            add("TopK", f"{kind} {largest}", [(kind, x)], [kind, I], {"largest": largest, "axis": 1}, constants=[(I, [2])])
        add("Where", f"{kind}", [(B, truth), (kind, x), (kind, row)], [kind])
        add("CumSum", f"{kind}", [(kind, x)], [kind], constants=[(I, 1)])
        add("Mod", f"{kind}", [(kind, x), (kind, positive)], [kind], {"fmod": 1})
    for operator in ("Asin", "Acos", "Tan", "Atan"):
        add(operator, "floats", [(F, unit)], [F])
    for operator in ("And", "Or", "Xor"):
        add(operator, "truth", [(B, truth), (B, truth)], [B])
    add("Not", "truth", [(B, truth)], [B])
    for operator in ("Add", "Sub", "Mul", "Div", "Mod"):
        for kind in (I, I32):
            add(operator, f"{kind}", [(kind, whole), (kind, some)], [kind])
    add("Equal", "text", [(S, [["a", "b"]]), (S, [["a", "c"]])], [B], opset=19)
    for source, data in ((F, [[1.7, -2.5, 0.0, 3e9]]), (D, [[1.7, -2.5, 0.0, 1e300]]), (I, [[1, -2, 0, 1 << 40]]), (I32, [[1, -2, 0, 7]]), (B, [[True, False]])):
        for target in (F, D, I, B, S):
            if source in (F, D) and target == I:
                data = [[1.7, -2.5, 0.0, 3e9]]
            add("Cast", f"{source} {target}", [(source, data)], [target], {"to": target})
    for target in (F, D, I):
        add("Cast", f"text {target}", [(S, [["1", "-2", "1e3" if target != I else "10"]])], [target], {"to": target})
    for kind, data in ((F, x), (I, whole), (B, truth)):
        add("Reshape", f"{kind}", [(kind, data)], [kind], constants=[(I, [2, -1])])
        add("Reshape", f"{kind} zero", [(kind, data)], [kind], constants=[(I, [0, 2, 2])])
        add("Transpose", f"{kind}", [(kind, data)], [kind], {"perm": [1, 0]})
        add("Flatten", f"{kind}", [(kind, data)], [kind], {"axis": 1})
        add("Unsqueeze", f"{kind}", [(kind, data)], [kind], constants=[(I, [0, 2])])
        add("Squeeze", f"{kind}", [(kind, data if kind != F else row)], [kind], constants=None)
        add("Concat", f"{kind}", [(kind, data), (kind, data)], [kind], {"axis": 1})
        add("Concat", f"{kind} rows", [(kind, data), (kind, data)], [kind], {"axis": 0})
        add("Gather", f"{kind}", [(kind, data)], [kind], {"axis": 1}, constants=[(I, [2, 0, -1])])
        add("Gather", f"{kind} one", [(kind, data)], [kind], {"axis": 0}, constants=[(I, 1)])
        add("GatherElements", f"{kind}", [(kind, data)], [kind], {"axis": 1}, constants=[(I, [[0], [3], [-2]])])
        add("GatherND", f"{kind}", [(kind, data)], [kind], constants=[(I, [[0, 1], [2, 3]])])
        add("Slice", f"{kind}", [(kind, data)], [kind], constants=[(I, [0, 3]), (I, [2, -10]), (I, [0, 1]), (I, [1, -1])])
        add("Split", f"{kind}", [(kind, data)], [kind, kind], {"axis": 1}, constants=[(I, [1, 3])])
        add("Expand", f"{kind}", [(kind, data)], [kind], constants=[(I, [2, 1, 4])])
        add("Tile", f"{kind}", [(kind, data)], [kind], constants=[(I, [2, 1])])
        add("Shape", f"{kind}", [(kind, data)], [I])
        add("Size", f"{kind}", [(kind, data)], [I])
    add("Pad", "floats", [(F, x)], [F], constants=[(I, [1, 0, 0, 2]), (F, 0.5)])
    add("Concat", "text", [(S, [["a"], ["b"]]), (S, [["c"], ["d"]])], [S], {"axis": 1})
    add("Gather", "text", [(S, [["a", "b"]])], [S], {"axis": 1}, constants=[(I, [1])])
    add("Reshape", "text", [(S, [["a", "b"]])], [S], constants=[(I, [-1])])
    add("ConstantOfShape", "floats", [(I, [2, 3])], [F], {"value": numpy_helper.from_array(np.array([1.5], np.float32), "v")})
    add("Range", "whole", [], [I], constants=[(I, 1), (I, 9), (I, 3)])
    add("OneHot", "floats", [(I, [0, 2, -1])], [F], {"axis": -1}, constants=[(I, 3), (F, [0.5, 2.0])])
    add("NonZero", "floats", [(F, [[0.0, 1.0], [2.0, 0.0]])], [I])
    add("StringNormalizer", "lower", [(S, ["Über", "THE", "the", "x"])], [S], {"case_change_action": "LOWER", "stopwords": ["the"], "is_case_sensitive": 0, "locale": "C.UTF-8"})
    add("StringNormalizer", "plain", [(S, ["a", "the", "c"])], [S], {"case_change_action": "NONE", "stopwords": ["the"], "is_case_sensitive": 1, "locale": "C.UTF-8"})
    for mode in ("TF", "IDF", "TFIDF"):
        add("TfIdfVectorizer", f"{mode}", [(I, [[1, 2, 3, 1, 2, 7], [5, 6, 5, 6, 1, 1]])], [F], {
            "mode": mode, "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 1, "ngram_counts": [0, 3],
            "ngram_indexes": [0, 1, 2, 3, 4], "pool_int64s": [1, 2, 5, 1, 2, 5, 6], "weights": [1.0, 2.0, 0.5, 4.0, 0.25]})
    add("TfIdfVectorizer", "text", [(S, [["a", "b", "a", "c"]])], [F], {
        "mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0, "ngram_counts": [0, 2],
        "ngram_indexes": [0, 1, 2, 3], "pool_strings": ["a", "b", "a", "b", "b", "a"]})


def cases():
    out = []
    trees(out)
    learning(out)
    core(out)
    # Differences of large numbers: a kind of its own.
    return [(name, "PROBIT" if "PROBIT" in name else kind, make) for name, kind, make in out]
