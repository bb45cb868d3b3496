"""Neighbours, naive Bayes, networks, clusters."""

import numpy as np
from sklearn import cluster, mixture, naive_bayes, neighbors
from sklearn import neural_network as nn
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.kernel_ridge import KernelRidge

from data import make


def counted(p, model, classes):
    X = p.counts()
    model.fit(X, p.labels(X - 2, classes))
    return model, [np.abs(given).round() for given in p.ask(X)]


def doubles(p, model):
    """KMeans that was fitted on double precision fails on single."""
    model, [many, _, one] = p.regressor(model)
    return model, [many, one]


def categorical(p):
    X = p.rng.integers(0, 4, size=(60, p.features))
    X[0] = 3
    model = naive_bayes.CategoricalNB().fit(X, p.labels(X - 1.5, 3))
    return model, [p.rng.integers(0, 4, size=(8, p.features)).astype(float)]


def compressed(p, model, classes=None):
    """Fitted on sparse rows, asked about dense ones, of which none is as near to one fitted row as to another."""
    X = p.sparse()
    dense = X.toarray()
    model.fit(X, p.labels(dense, classes) if classes else p.values(dense))
    asked = p.ask(dense, fitted=False)
    for given in asked:
        given[(given == 0).all(1)] = 0.5
    return model, asked


def labels(p, model):
    """Any number of labels for a row."""
    X = p.numbers()
    return model.fit(X, p.several(X, 3, np.array([0, 1, 1]))), p.ask(X)


CASES = [
    ("KNeighborsClassifier sparse", lambda p: compressed(p, neighbors.KNeighborsClassifier(n_neighbors=p.whole(1, 7)), 3)),
    ("KNeighborsClassifier sparse cosine", lambda p: compressed(
        p, neighbors.KNeighborsClassifier(weights="distance", metric="cosine"), 3)),
    ("KNeighborsRegressor sparse", lambda p: compressed(p, neighbors.KNeighborsRegressor(metric=p.one("manhattan", "euclidean")))),
    ("KNeighborsClassifier outputs", lambda p: p.outputs(neighbors.KNeighborsClassifier(weights=p.one("uniform", "distance")))),
    ("NearestCentroid sparse", lambda p: compressed(p, neighbors.NearestCentroid(), 3)),
    ("KernelRidge sparse", lambda p: compressed(p, KernelRidge(kernel=p.one("rbf", "linear"), gamma=0.2))),
    ("MLPClassifier outputs", lambda p: labels(p, nn.MLPClassifier(hidden_layer_sizes=(5,), max_iter=40, random_state=1))),
    ("KNeighborsClassifier", lambda p: p.classifier(neighbors.KNeighborsClassifier(n_neighbors=p.whole(1, 7)))),
    ("KNeighborsClassifier distance", lambda p: p.classifier(neighbors.KNeighborsClassifier(weights="distance", algorithm="brute"), fitted=False)),
    ("KNeighborsClassifier tree", lambda p: p.classifier(
        neighbors.KNeighborsClassifier(weights=p.one("uniform", "distance"), algorithm=p.one("kd_tree", "ball_tree")))),
    ("KNeighborsClassifier manhattan", lambda p: p.classifier(neighbors.KNeighborsClassifier(metric="manhattan"))),
    ("KNeighborsRegressor", lambda p: p.regressor(neighbors.KNeighborsRegressor(n_neighbors=p.whole(1, 7)))),
    ("KNeighborsRegressor distance", lambda p: p.regressor(neighbors.KNeighborsRegressor(weights="distance", algorithm="kd_tree"))),
    ("KNeighborsRegressor outputs", lambda p: p.regressor(neighbors.KNeighborsRegressor(metric=p.one("chebyshev", "manhattan")), 2)),
    ("NearestCentroid", lambda p: p.classifier(neighbors.NearestCentroid())),
    ("GaussianNB", lambda p: p.classifier(naive_bayes.GaussianNB())),
    ("GaussianNB priors", lambda p: p.classifier(naive_bayes.GaussianNB(priors=[0.3, 0.7]), 2)),
    ("MultinomialNB", lambda p: counted(p, naive_bayes.MultinomialNB(alpha=p.between(0.1, 2)), 3)),
    ("BernoulliNB", lambda p: counted(p, naive_bayes.BernoulliNB(binarize=p.one(0.0, 1.5)), 3)),
    ("ComplementNB", lambda p: counted(p, naive_bayes.ComplementNB(norm=p.one(True, False)), 4)),
    ("CategoricalNB", categorical),
    ("MLPClassifier", lambda p: p.classifier(nn.MLPClassifier(hidden_layer_sizes=(5, 4), activation=p.one("relu", "tanh", "logistic", "identity"), max_iter=40, random_state=1), 2)),
    ("MLPClassifier many", lambda p: p.classifier(nn.MLPClassifier(hidden_layer_sizes=(6,), max_iter=40, random_state=1), 4)),
    ("MLPRegressor", lambda p: p.regressor(nn.MLPRegressor(hidden_layer_sizes=(6,), activation=p.one("relu", "tanh", "logistic"), max_iter=40, random_state=1))),
    ("MLPRegressor outputs", lambda p: p.regressor(nn.MLPRegressor(hidden_layer_sizes=(4, 3), max_iter=40, random_state=1), 2)),
    ("KMeans", lambda p: doubles(p, cluster.KMeans(n_clusters=p.whole(2, 6), n_init=1, random_state=1))),
    ("MiniBatchKMeans", lambda p: doubles(p, cluster.MiniBatchKMeans(n_clusters=3, n_init=1, random_state=1))),
    ("GaussianMixture", lambda p: p.regressor(mixture.GaussianMixture(2, covariance_type=p.one("full", "diag"), random_state=1))),
    ("KernelRidge", lambda p: p.regressor(KernelRidge(kernel=p.one("rbf", "linear"), gamma=0.2))),
    ("DummyClassifier", lambda p: p.classifier(make(DummyClassifier, strategy=p.one("prior", "most_frequent")))),
    ("DummyRegressor", lambda p: p.regressor(DummyRegressor(strategy=p.one("mean", "median")))),
]
