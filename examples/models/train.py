"""Trains the example models, and the small models that the tests compare with.

    python train.py iris sklearn-iris/model.joblib
    python train.py mixed ../../crates/inference/tests/models/mixed.joblib
    python train.py words ../../crates/inference/tests/models/words.joblib
    python train.py ids ../../crates/inference/tests/models/ids.joblib
    python train.py xgb ../../crates/inference/tests/models/iris.ubj        (with xgboost==2.1.4)
    python train.py lgb ../../crates/inference/tests/models/iris.bst        (with lightgbm==4.6.0)
    python train.py mlserver ../../crates/inference/tests/models/mlserver
                                        (with xgboost==3.2.0 lightgbm==4.7.0 catboost==1.2.10)
    python train.py golden ../../crates/models/tests/golden/1.9.1

The last form is run once for each scikit-learn version, each in a virtual environment of its own (Python 3.11):

    scikit-learn==1.1.3 numpy==1.24.4 scipy==1.10.1 joblib==1.1.1
    scikit-learn==1.5.2 numpy==1.26.4 joblib==1.6.0
    scikit-learn==1.9.1 numpy==2.4.6 joblib==1.6.0        (requirements.txt)

A golden case is a model file and a JSON file of the same name with the input and what scikit-learn says to it. Floats
are written as the hexadecimal digits of their bits, so that nothing is lost.
"""

import json
import os
import pickle
import struct
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
from sklearn import datasets, svm
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

warnings.simplefilter("ignore")


def bits(values):
    flat = np.asarray(values, dtype=np.float64).ravel()
    return "".join(struct.pack(">d", value).hex() for value in flat)


def labelled(y, kind):
    names = {
        "int": np.array([7, -3, 11, 40]),
        "int32": np.array([0, 1, 2, 3], dtype=np.int32),
        "float": np.array([1.0, 2.0, -3.0, 1e17]),
        "str": np.array(["setosa", "versicolor", "é", "d"]),
        "object": np.array(["ham", "spam", "eggs", "x"], dtype=object),
        "bool": np.array([False, True]),
    }[kind]
    return names[y]


def problem(rng, classes, features, rows=60):
    X = rng.normal(size=(rows, features)) * rng.uniform(0.5, 3, features)
    scores = np.stack([X @ rng.normal(size=features) for _ in range(classes)])
    y = scores.argmax(0)
    y[:classes] = np.arange(classes)
    return X, y


def svc(rng, kernel, **more):
    return svm.SVC(
        kernel=kernel,
        C=float(rng.uniform(0.2, 5)),
        gamma=[0.3, "scale", "auto"][rng.integers(3)],
        degree=int(rng.integers(2, 5)),
        coef0=float(rng.uniform(0, 1)),
        **more,
    )


def estimators(rng):
    """Name, estimator, classes (0: regression), labels."""
    for kernel in ["linear", "poly", "rbf", "sigmoid"]:
        yield f"svc-{kernel}-2", svc(rng, kernel), 2, "int"
        yield f"svc-{kernel}-4", svc(rng, kernel, decision_function_shape="ovo"), 4, "str"
    yield "svc-rbf-proba-2", svc(rng, "rbf", probability=True, random_state=1), 2, "bool"
    yield "svc-rbf-proba-4", svc(rng, "rbf", probability=True, random_state=1), 4, "object"
    yield "svc-poly-ties", svc(rng, "poly", break_ties=True), 4, "float"
    for name, kind, classes, labels in [
        ("rf", RandomForestClassifier, 3, "int"),
        ("rf-many", RandomForestClassifier, 4, "object"),
        ("et", ExtraTreesClassifier, 2, "str"),
    ]:
        yield name, kind(n_estimators=int(rng.integers(3, 8)), max_depth=int(rng.integers(2, 6)), random_state=2), classes, labels
    for name, kind in [("rf-regressor", RandomForestRegressor), ("et-regressor", ExtraTreesRegressor)]:
        yield name, kind(n_estimators=int(rng.integers(3, 8)), max_depth=int(rng.integers(2, 6)), random_state=3), 0, None
    yield "tree", DecisionTreeClassifier(max_depth=4, random_state=4), 3, "float"
    yield "tree-balanced", DecisionTreeClassifier(max_depth=3, class_weight="balanced", criterion="entropy"), 3, "int32"
    yield "tree-regressor", DecisionTreeRegressor(max_depth=5, random_state=5), 0, None
    yield "lr-2", LogisticRegression(C=float(rng.uniform(0.1, 5))), 2, "bool"
    yield "lr-4", LogisticRegression(C=float(rng.uniform(0.1, 5))), 4, "str"
    yield "lr-liblinear", LogisticRegression(solver="liblinear"), 2, "int"
    yield "lr-plain", LogisticRegression(fit_intercept=False), 3, "int"
    yield "pipe-svc", make_pipeline(StandardScaler(), svc(rng, "rbf")), 3, "int"
    yield "pipe-lr", make_pipeline(StandardScaler(with_mean=False), LogisticRegression()), 3, "object"
    forest = RandomForestRegressor(n_estimators=3, max_depth=3, random_state=6)
    yield "pipe-regressor", make_pipeline("passthrough", StandardScaler(with_std=False), forest), 0, None
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    yield "pipe-pipe", make_pipeline(StandardScaler(with_std=False), inner), 2, "int"


WRITERS = (
    [("joblib", lambda m, p: joblib.dump(m, p))] * 3
    + [(f"z{level}.joblib", lambda m, p, level=level: joblib.dump(m, p, compress=level)) for level in (1, 9)]
    + [(f"{name}.joblib", lambda m, p, name=name: joblib.dump(m, p, compress=(name, 3))) for name in ("gzip", "bz2")]
    + [(f"p{n}.pkl", lambda m, p, n=n: open(p, "wb").write(pickle.dumps(m, protocol=n))) for n in range(6)]
)


def jsonable(values):
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def case(directory, name, model, X, classes, single):
    columns = X.shape[1]
    X = X.astype(np.float32) if single else X
    record = {"columns": columns, "single": bool(single), "rows": bits(X)}
    if classes:
        known = model.classes_
        record["classes"] = jsonable(known)
        record["predict"] = [int(np.where(known == label)[0][0]) for label in model.predict(X)]
        if hasattr(model, "predict_proba"):
            record["predict_proba"] = bits(model.predict_proba(X))
    else:
        record["predict"] = bits(model.predict(X))
    if hasattr(model, "decision_function"):
        record["decision_function"] = bits(model.decision_function(X))
    with open(os.path.join(directory, name + ".json"), "w") as out:
        json.dump(record, out, separators=(",", ":"))
        out.write("\n")


def golden(directory):
    os.makedirs(directory, exist_ok=True)
    rng = np.random.default_rng(int.from_bytes(os.path.basename(directory).encode()[:6], "big"))
    for index, (name, model, classes, labels) in enumerate(estimators(rng)):
        features = int(rng.integers(3, 9))
        X, y = problem(rng, classes or 2, features)
        model.fit(X, labelled(y, labels) if classes else X @ rng.normal(size=features) + rng.normal(size=len(X)))
        ending, write = WRITERS[int(rng.integers(len(WRITERS)))] if index else WRITERS[0]
        write(model, os.path.join(directory, f"{name}.{ending}"))
        rows = rng.normal(size=(12, features)) * 3
        rows[0] = X[0]
        rows[1] = 0
        if name in ("rf", "tree", "tree-regressor", "et"):
            missing = rows.copy()
            missing[2:5, rng.integers(features)] = np.nan
            try:
                model.predict(missing)
                rows = missing
            except ValueError:
                pass
        case(directory, f"{name}.{ending}", model, rows, classes, index % 3 == 1)


def mixed(path):
    """Columns by name, of text and of numbers."""
    X = pd.DataFrame({
        "colour": ["red", "blue", "green", "red", "blue", "green"] * 4,
        "size": [1.0, 2.0, None, 4.0, 5.0, 6.0] * 4,
    })
    columns = ColumnTransformer([
        ("text", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["size"]),
    ])
    y = ["warm" if colour == "red" else "cold" for colour in X["colour"]]
    joblib.dump(make_pipeline(columns, LogisticRegression()).fit(X, y), path)


def words(path):
    """A text for each row."""
    texts = ["a good film", "good plot", "a bad film", "very bad"]
    joblib.dump(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["+", "+", "-", "-"]), path)


def ids(path):
    """Whole numbers next to each other where double precision holds every second one."""
    X = 2**53 + np.arange(8).reshape(-1, 1)
    y = ["even", "odd"] * 4
    joblib.dump(make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(X, y), path)


def xgb(path):
    import xgboost
    X, y = datasets.load_iris(return_X_y=True)
    settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "eta": 0.1}
    xgboost.train(settings, xgboost.DMatrix(X, y), 5).save_model(path)


def lgb(path):
    import lightgbm
    iris = datasets.load_iris()
    X = pd.DataFrame(iris.data, columns=[name.replace(" ", "_") for name in iris.feature_names])
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    lightgbm.train(settings, lightgbm.Dataset(X, iris.target), 5).save_model(path)


def mlserver(folder):
    """What MLServer's runtimes for boosters serve: files of estimators for scikit-learn, and of boosters."""
    import catboost
    import lightgbm
    import xgboost
    X, y = datasets.load_iris(return_X_y=True)
    X = X.astype(np.float32)
    two = (X[50:], y[50:] - 1)
    number = (X[:, :3], X[:, 3])

    def put(name, file):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        return os.path.join(folder, name, file)

    small = {"n_estimators": 3, "max_depth": 2}
    xgboost.XGBClassifier(**small).fit(X, y).save_model(put("xgb-three", "model.json"))
    xgboost.XGBClassifier(**small).fit(*two).save_model(put("xgb-two", "model.ubj"))
    xgboost.XGBRegressor(**small).fit(*number).save_model(put("xgb-number", "model.json"))
    settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 2}
    xgboost.train(settings, xgboost.DMatrix(X, y), 3).save_model(put("xgb-trained", "model.ubj"))
    settings = {"num_leaves": 3, "verbose": -1}
    three = {"objective": "multiclass", "num_class": 3, **settings}
    lightgbm.train(three, lightgbm.Dataset(X, y), 2).save_model(put("lgb-three", "model.bst"))
    lightgbm.train({"objective": "binary", **settings}, lightgbm.Dataset(*two), 2).save_model(put("lgb-two", "model.bst"))
    small = {"iterations": 3, "depth": 2, "verbose": 0, "allow_writing_files": False}
    catboost.CatBoostClassifier(**small).fit(X, y).save_model(put("cat-three", "model.cbm"))
    catboost.CatBoostClassifier(**small).fit(*two).save_model(put("cat-two", "model.bin"))
    words = np.where(two[1] == 0, "low", "high")
    catboost.CatBoostClassifier(**small).fit(two[0], words).save_model(put("cat-words", "model.cbm"))
    catboost.CatBoostRegressor(**small).fit(*number).save_model(put("cat-number", "model.cbm"))


def iris(path):
    X, y = datasets.load_iris(return_X_y=True)
    joblib.dump(svm.SVC(gamma="scale").fit(X, y), path)


if __name__ == "__main__":
    command, target = sys.argv[1:]
    commands = {
        "iris": iris, "golden": golden, "mixed": mixed, "words": words, "ids": ids, "xgb": xgb, "lgb": lgb, "mlserver": mlserver,
    }
    commands[command](target.rstrip("/"))
