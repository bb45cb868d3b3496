"""Trains the models that servers are asked about, in the folder that is named, and writes requests with what answers end with.

`all` has a folder for each model, `one` the iris model alone, in the form that KServe's server and MLServer read.
"""

import json
import os
import sys

import joblib
import numpy as np
from sklearn import datasets, svm
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

FOLDER = sys.argv[1]
requests = {}


def write(root, name, model):
    folder = os.path.join(FOLDER, root, name)
    os.makedirs(folder, exist_ok=True)
    joblib.dump(model, os.path.join(folder, "model.joblib"))
    settings = {
        "name": name, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"},
    }
    with open(os.path.join(folder, "model-settings.json"), "w") as file:
        json.dump(settings, file)


def request(name, path, body, ending, headers=()):
    requests[name] = {"path": path, "headers": dict(headers)}
    for suffix, content in [("body", body), ("ending", ending)]:
        with open(os.path.join(FOLDER, f"{name}.{suffix}"), "wb") as file:
            file.write(content)


def dense(value):
    return json.dumps(value, separators=(",", ":")).encode()


X, y = datasets.load_iris(return_X_y=True)
iris = svm.SVC(gamma="scale").fit(X, y)
write("one", "iris", iris)
write("all", "iris", iris)
flowers = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
answer = iris.predict(flowers).tolist()
plain = [("content-type", "application/json")]
request("v1", "/v1/models/iris:predict", dense({"instances": flowers}), dense({"predictions": answer}), plain)
tensor = {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": sum(flowers, [])}
request(
    "v2", "/v2/models/iris/infer", dense({"id": "1", "inputs": [tensor]}), b'"data":' + dense(answer) + b"}]}", plain
)

X, y = datasets.make_classification(
    n_samples=10000, n_features=20, n_informative=12, n_redundant=4, n_classes=3, random_state=7
)
forest = RandomForestClassifier(100, random_state=7, n_jobs=2).fit(X, y)
forest.set_params(n_jobs=1)
write("all", "forest", forest)
body = dense({"instances": X[:1].tolist()})
request("forest", "/v1/models/forest:predict", body, dense({"predictions": forest.predict(X[:1]).tolist()}), plain)

X, y = datasets.make_classification(n_samples=1000, n_features=100, n_informative=30, n_classes=3, random_state=7)
linear = LogisticRegression(max_iter=300).fit(X, y)
write("all", "linear", linear)
X = X.astype(np.float32)
tensor = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "parameters": {"binary_data_size": X.nbytes}}
wanted = {"name": "output-0", "parameters": {"binary_data": True}}
head = dense({"id": "1", "inputs": [tensor], "outputs": [wanted]})
sized = [("content-type", "application/octet-stream"), ("inference-header-content-length", str(len(head)))]
answer = linear.predict(X).astype(np.int64).tobytes()
request("binary", "/v2/models/linear/infer", head + X.tobytes(), answer, sized)

with open(os.path.join(FOLDER, "requests.json"), "w") as file:
    json.dump(requests, file)
