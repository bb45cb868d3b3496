"""Trains the models whose speed is compared, in the folder that is named, with rows to ask about and what their libraries answer.

`cases.json` says what is there: a model file, its rows, the answers, and what is asked (`predict` or `proba`).
"""

import json
import os
import sys

# Threads that wait give way to what else the machine does.
os.environ["OMP_WAIT_POLICY"] = "passive"

import joblib
import lightgbm
import numpy as np
import tl2cgen
import treelite
import xgboost
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

FOLDER = sys.argv[1]
ROWS = 1000
cases = []


def path(name):
    return os.path.join(FOLDER, name)


def case(name, file, rows, answers, asked, peers):
    np.save(path(f"{name}.npy"), answers)
    cases.append({
        "name": name, "file": file, "rows": rows, "answers": f"{name}.npy", "asked": asked, "peers": peers,
    })


def compiled(name, model):
    """Treelite's trees as C, compiled."""
    tl2cgen.export_lib(
        model, toolchain="gcc", libpath=path(f"{name}.so"), params={"parallel_comp": 100}, nthread=os.cpu_count(),
        options=["-O1"],
    )


def estimator(name, model, rows, asked, peers=("scikit-learn",)):
    joblib.dump(model, path(f"{name}.joblib"))
    given = np.load(path(rows))
    answers = model.predict_proba(given) if asked == "proba" else model.predict(given)
    case(name, f"{name}.joblib", rows, np.asarray(answers, dtype=float), asked, list(peers))


# Numbers of single precision, so that every library sees the same ones.
X, y = make_classification(
    n_samples=11000, n_features=20, n_informative=12, n_redundant=4, n_classes=3, random_state=7
)
X = X.astype(np.float32)
rows, X, y = X[:ROWS], X[ROWS:], y[ROWS:]
np.save(path("rows.npy"), rows)
binary = (y > 0).astype(int)

forest = RandomForestClassifier(100, random_state=7, n_jobs=2).fit(X, y)
forest.set_params(n_jobs=1)
estimator("forest", forest, "rows.npy", "proba", ["onnxruntime", "treelite", "scikit-learn"])
compiled("forest", treelite.sklearn.import_model(forest))
with open(path("forest.onnx"), "wb") as file:
    file.write(to_onnx(forest, rows[:1], options={"zipmap": False}).SerializeToString())

histogram = HistGradientBoostingClassifier(max_iter=500, early_stopping=False, random_state=7).fit(X, binary)
estimator("histogram", histogram, "rows.npy", "proba", ["treelite", "scikit-learn"])
compiled("histogram", treelite.sklearn.import_model(histogram))

booster = xgboost.train(
    {"objective": "binary:logistic", "max_depth": 6, "eta": 0.1, "nthread": 2},
    xgboost.DMatrix(X, binary), num_boost_round=500,
)
booster.save_model(path("xgboost.ubj"))
compiled("xgboost", treelite.frontend.load_xgboost_model(path("xgboost.ubj"), format_choice="ubjson"))
answers = booster.predict(xgboost.DMatrix(rows)).astype(float)
case("xgboost", "xgboost.ubj", "rows.npy", answers, "predict", ["xgboost", "treelite"])

booster = lightgbm.train(
    {"objective": "binary", "num_leaves": 31, "learning_rate": 0.05, "verbosity": -1, "num_threads": 2},
    lightgbm.Dataset(X, binary), num_boost_round=500,
)
booster.save_model(path("lightgbm.bst"))
compiled("lightgbm", treelite.frontend.load_lightgbm_model(path("lightgbm.bst")))
case("lightgbm", "lightgbm.bst", "rows.npy", booster.predict(rows), "predict", ["lightgbm", "treelite"])

few = slice(0, 3000)
for kernel in ["linear", "poly", "rbf", "sigmoid"]:
    estimator(f"svc-{kernel}", SVC(kernel=kernel, gamma="scale").fit(X[few], binary[few]), "rows.npy", "predict")
estimator("neighbours", KNeighborsClassifier(5, algorithm="brute").fit(X, y), "rows.npy", "predict")

wide, target = make_classification(n_samples=3000, n_features=100, n_informative=30, n_classes=3, random_state=7)
np.save(path("wide.npy"), wide[:ROWS].astype(np.float32))
estimator("linear", LogisticRegression(max_iter=300).fit(wide, target), "wide.npy", "proba")

random = np.random.default_rng(7)
words = np.array(["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), random.integers(3, 10))) for _ in range(5000)])
texts = [" ".join(random.choice(words, 30)) for _ in range(3000)]
text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, random.integers(0, 2, 3000))
np.save(path("texts.npy"), np.array(texts[:ROWS]))
estimator("text", text, "texts.npy", "proba")

# A forest of some 200 MB: labels that nothing explains make large trees.
noise = random.normal(size=(25000, 10))
large = ExtraTreesClassifier(52, max_features=1, n_jobs=2, random_state=7).fit(noise, random.integers(0, 3, 25000))
joblib.dump(large, path("large.joblib"))

with open(path("cases.json"), "w") as file:
    json.dump(cases, file)
