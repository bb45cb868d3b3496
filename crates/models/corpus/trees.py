"""Trees and what is made of them."""

import numpy as np
import sklearn
from sklearn import ensemble as e
from sklearn import tree

from data import make

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def forest(p, cls, **more):
    return cls(n_estimators=p.whole(3, 7), max_depth=p.whole(2, 5), random_state=2, **more)


def with_missing(p, model, classes=None, y=None):
    X = p.numbers(90)
    target = p.labels(X, classes) if classes else p.values(X)
    if y is not None:
        target = y(target)
    X[p.rng.random(X.shape) < 0.1] = np.nan
    model.fit(X, target)
    return model, p.ask(np.nan_to_num(X), missing=True)


def histogram(p, cls, **more):
    return make(cls, max_iter=p.whole(3, 8), max_leaf_nodes=p.whole(4, 10), min_samples_leaf=3, random_state=1, **more)


def categories(p, cls, classes=None, **more):
    X = p.numbers(120)
    X[:, 1] = p.rng.integers(0, 12, len(X))
    y = p.labels(X, classes) if classes else p.values(X) + (X[:, 1] % 3)
    X[p.rng.random(len(X)) < 0.1, 1] = np.nan
    model = histogram(p, cls, categorical_features=[1], **more).fit(X, y)
    rows = p.ask(np.nan_to_num(X))
    for given in rows:
        given[:, 1] = p.rng.integers(0, 14, len(given))
    rows[0][3, 1] = np.nan
    return model, rows


def positive(y):
    return np.exp(y / 5)


def boost(p, cls, **more):
    return make(cls, n_estimators=p.whole(3, 8), max_depth=p.whole(2, 4), learning_rate=p.between(0.05, 0.4), random_state=1, **more)


CASES = [
    ("DecisionTreeClassifier", lambda p: p.classifier(tree.DecisionTreeClassifier(max_depth=p.whole(2, 6)))),
    ("DecisionTreeClassifier entropy", lambda p: p.classifier(
        tree.DecisionTreeClassifier(max_depth=4, criterion="entropy", class_weight="balanced"))),
    ("DecisionTreeClassifier missing", lambda p: with_missing(p, tree.DecisionTreeClassifier(max_depth=5), 3) if VERSION >= (1, 3) else None),
    ("DecisionTreeRegressor", lambda p: p.regressor(tree.DecisionTreeRegressor(max_depth=p.whole(2, 6)))),
    ("DecisionTreeRegressor outputs", lambda p: p.regressor(tree.DecisionTreeRegressor(max_depth=3), 2)),
    ("DecisionTreeClassifier outputs", lambda p: p.outputs(tree.DecisionTreeClassifier(max_depth=4))),
    ("RandomForestClassifier outputs", lambda p: p.outputs(forest(p, e.RandomForestClassifier))),
    ("ExtraTreesClassifier outputs", lambda p: p.outputs(forest(p, e.ExtraTreesClassifier, class_weight="balanced"), outputs=2)),
    ("ExtraTreeClassifier", lambda p: p.classifier(tree.ExtraTreeClassifier(max_depth=4))),
    ("ExtraTreeRegressor", lambda p: p.regressor(tree.ExtraTreeRegressor(max_depth=4))),
    ("RandomForestClassifier", lambda p: p.classifier(forest(p, e.RandomForestClassifier))),
    ("RandomForestClassifier missing", lambda p: with_missing(p, forest(p, e.RandomForestClassifier), 3) if VERSION >= (1, 4) else None),
    ("RandomForestRegressor", lambda p: p.regressor(forest(p, e.RandomForestRegressor))),
    ("RandomForestRegressor outputs", lambda p: p.regressor(forest(p, e.RandomForestRegressor), 3)),
    ("ExtraTreesClassifier", lambda p: p.classifier(forest(p, e.ExtraTreesClassifier))),
    ("ExtraTreesRegressor", lambda p: p.regressor(forest(p, e.ExtraTreesRegressor))),
    ("GradientBoostingClassifier", lambda p: p.classifier(boost(p, e.GradientBoostingClassifier), 2)),
    ("GradientBoostingClassifier many", lambda p: p.classifier(boost(p, e.GradientBoostingClassifier), 4)),
    ("GradientBoostingClassifier exponential", lambda p: p.classifier(boost(p, e.GradientBoostingClassifier, loss="exponential"), 2)),
    ("GradientBoostingClassifier zero", lambda p: p.classifier(boost(p, e.GradientBoostingClassifier, init="zero"), 3)),
    ("GradientBoostingRegressor", lambda p: p.regressor(boost(p, e.GradientBoostingRegressor))),
    ("GradientBoostingRegressor huber", lambda p: p.regressor(boost(p, e.GradientBoostingRegressor, loss=p.one("huber", "quantile"), subsample=0.7))),
    ("HistGradientBoostingClassifier", lambda p: p.classifier(histogram(p, e.HistGradientBoostingClassifier), 2)),
    ("HistGradientBoostingClassifier many", lambda p: with_missing(p, histogram(p, e.HistGradientBoostingClassifier), 3)),
    ("HistGradientBoostingClassifier categories", lambda p: categories(p, e.HistGradientBoostingClassifier, 3)),
    ("HistGradientBoostingRegressor", lambda p: p.regressor(histogram(p, e.HistGradientBoostingRegressor))),
    ("HistGradientBoostingRegressor missing", lambda p: with_missing(p, histogram(p, e.HistGradientBoostingRegressor))),
    ("HistGradientBoostingRegressor categories", lambda p: categories(p, e.HistGradientBoostingRegressor)),
    ("HistGradientBoostingRegressor poisson", lambda p: p.regressor(histogram(p, e.HistGradientBoostingRegressor, loss="poisson"), y=positive)),
    ("IsolationForest", lambda p: p.regressor(e.IsolationForest(n_estimators=p.whole(4, 9), max_samples=32, random_state=1))),
    ("IsolationForest features", lambda p: p.regressor(
        e.IsolationForest(n_estimators=5, max_samples=20, max_features=0.6, contamination=0.2, random_state=1))),
    ("AdaBoostClassifier", lambda p: p.classifier(make(e.AdaBoostClassifier, n_estimators=p.whole(3, 8), algorithm="SAMME"), 2)),
    ("AdaBoostClassifier many", lambda p: p.classifier(make(e.AdaBoostClassifier, n_estimators=p.whole(3, 8), algorithm="SAMME"), 4)),
    ("AdaBoostClassifier real", lambda p: p.classifier(make(e.AdaBoostClassifier, n_estimators=5, algorithm="SAMME.R"), 3) if VERSION < (1, 6) else None),
    ("AdaBoostRegressor", lambda p: p.regressor(make(e.AdaBoostRegressor, n_estimators=p.whole(3, 8), random_state=1))),
    ("BaggingClassifier", lambda p: p.classifier(make(e.BaggingClassifier, n_estimators=4, random_state=1, max_features=0.8), 3)),
    ("BaggingRegressor", lambda p: p.regressor(make(e.BaggingRegressor, n_estimators=4, random_state=1))),
]
