"""Random problems to fit models on, and rows to ask them about."""

import inspect

import numpy as np
import sklearn
from scipy import sparse


class Problem:
    def __init__(self, rng):
        self.rng = rng
        self.features = int(rng.integers(3, 8))

    def numbers(self, rows=60):
        return self.rng.normal(size=(rows, self.features)) * self.rng.uniform(0.5, 3, self.features)

    def counts(self, rows=60):
        return self.rng.poisson(2, size=(rows, self.features)).astype(float)

    def labels(self, X, classes, kind=None):
        """Labels that X explains, of a random type."""
        names = {
            "int": np.array([7, -3, 11, 40]),
            "int32": np.array([0, 1, 2, 3], dtype=np.int32),
            "float": np.array([1.0, 2.0, -3.0, 1e17]),
            "str": np.array(["setosa", "versicolor", "é", "d"]),
            "object": np.array(["ham", "spam", "eggs", "x"], dtype=object),
        }
        if classes == 2:
            names["bool"] = np.array([False, True])
        kind = kind or str(self.rng.choice(sorted(names)))
        scores = X @ self.rng.normal(size=(X.shape[1], classes))
        y = scores.argmax(1)
        y[:classes] = np.arange(classes)
        return names[kind][y]

    def values(self, X, outputs=None):
        y = X @ self.rng.normal(size=(X.shape[1], outputs or 1)) + self.rng.normal(size=(len(X), outputs or 1)) * 0.5
        return y if outputs else y[:, 0]

    def ask(self, X, missing=False, fitted=True, single=True):
        """Many rows in double and in single precision, and one row; the first is one of the fitted rows."""
        rows = X[self.rng.integers(len(X), size=9)] + self.rng.normal(size=(9, X.shape[1]))
        if fitted:
            rows[0] = X[0]
        rows[1] = 0
        rows[2:5] *= 4
        if missing:
            rows[self.rng.random(rows.shape) < 0.15] = np.nan
        return [rows, rows[::2].astype(np.float32 if single else float), rows[3:4]]

    def classifier(self, model, classes=None, X=None, **more):
        X = self.numbers() if X is None else X
        model.fit(X, self.labels(X, classes or int(self.rng.integers(2, 5))))
        return model, self.ask(X, **more)

    def regressor(self, model, outputs=None, X=None, y=None, **more):
        X = self.numbers() if X is None else X
        model.fit(X, self.values(X, outputs) if y is None else y(self.values(X, outputs)))
        return model, self.ask(X, **more)

    def sparse(self, rows=60):
        """Rows of which most values are zero, but of no row all."""
        X = self.rng.normal(size=(rows, self.features * 3)) * self.rng.uniform(0.5, 3, self.features * 3)
        X[self.rng.random(X.shape) < 0.6] = 0
        X[:, -1] += (X == 0).all(1)
        return sparse.csr_matrix(X)

    def several(self, X, outputs=3, kind=None):
        """Classes of several outputs, of one type and not equally many."""
        # Trees of 0.20 take no text here.
        kinds = [np.array([4, -1, 9])] + [np.array(["no", "yes", "perhaps"])] * (sklearn.__version__ >= "0.21")
        names = self.one(*kinds) if kind is None else kind
        return np.stack([names[self.labels(X, 2 + index % 2, "int32")] for index in range(outputs)], 1)

    def outputs(self, model, **more):
        X = self.numbers()
        return model.fit(X, self.several(X, **more)), self.ask(X)

    def between(self, low, high):
        return float(self.rng.uniform(low, high))

    def whole(self, low, high):
        return int(self.rng.integers(low, high))

    def one(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]


def make(cls, **settings):
    """The estimator with those of the settings that its version has."""
    known = inspect.signature(cls.__init__).parameters
    return cls(**{name: value for name, value in settings.items() if name in known})
