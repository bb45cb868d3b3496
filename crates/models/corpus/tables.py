"""Columns by name, of text and of numbers, with values missing and categories that fitting did not see."""

import numpy as np
import pandas as pd
from sklearn import linear_model as lm
from sklearn import preprocessing as pre
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn import ensemble
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, SVR

from data import make

COLOURS = ["red", "green", "blue", "grün", "a longer name of a colour"]
SIZES = ["S", "M", "L", "XL"]


def table(p, rows=80, missing=True, unseen=False):
    X = pd.DataFrame({
        "age": p.rng.normal(40, 12, rows),
        "colour": p.rng.choice(COLOURS + (["violet"] if unseen else []), rows).astype(object),
        "count": p.rng.integers(0, 5, rows),
        "size": p.rng.choice(SIZES + (["XXS"] if unseen else []), rows).astype(object),
        "weight": p.rng.gamma(2.0, 3.0, rows),
    })
    if missing:
        X.loc[p.rng.random(rows) < 0.15, "age"] = np.nan
        X.loc[p.rng.random(rows) < 0.15, "colour"] = np.nan
    return X


def target(p, X, classes=None):
    score = X["weight"] / 3 + X["count"] + (X["colour"] == "red") * 2 + p.rng.normal(size=len(X)) * 0.3
    if classes is None:
        return score.to_numpy()
    y = np.array(["no", "yes", "perhaps"], dtype=object)[np.digitize(score, np.quantile(score, [0.4, 0.8][: classes - 1]))]
    return y


# Until 0.23 encoders take no missing values.
ENCODED = "unknown_value" in pre.OrdinalEncoder().get_params()
# Until 0.24 an ordinal encoder takes no missing values.
MISSING = "encoded_missing_value" in pre.OrdinalEncoder().get_params()


def mixed(p, model, classes=None, columns=None, missing=True, unseen=True):
    X = table(p, missing=missing)
    columns = columns or X.columns
    model.fit(X[columns], target(p, X, classes))
    asked = table(p, 10, missing, unseen)[columns]
    return model, [asked, asked[4:5]]


def encoder(**settings):
    return make(pre.OneHotEncoder, handle_unknown="ignore", **settings)


def usual(sparse_threshold=0.3, **more):
    """The pipeline of scikit-learn's example on mixed types."""
    return ColumnTransformer([
        ("num", make_pipeline(SimpleImputer(strategy="median"), pre.StandardScaler()), ["age", "weight", "count"]),
        ("cat", make_pipeline(SimpleImputer(strategy="most_frequent"), encoder()), ["colour", "size"]),
    ], sparse_threshold=sparse_threshold, **more)


def texts(p, model, unseen=True, missing=False):
    X = table(p, missing=missing)[["colour", "size"]]
    model.fit(X)
    asked = table(p, 9, missing, unseen)[["colour", "size"]]
    return model, [asked, asked[2:3]]


def array(p, model):
    """Columns by number of an array."""
    X = p.numbers()
    X[:, 1] = p.rng.integers(0, 4, len(X))
    model.fit(X, p.values(X))
    asked = p.ask(X)
    for given in asked:
        given[:, 1] = p.rng.integers(0, 6, len(given))
    return model, asked


def objects(p, model):
    """An array of objects: text and numbers."""
    X = table(p, missing=False)
    model.fit(X.to_numpy(dtype=object), target(p, X))
    return model, [table(p, 8, False).to_numpy(dtype=object)]


CASES = [
    ("ColumnTransformer", lambda p: mixed(p, usual())),
    ("ColumnTransformer LogisticRegression", lambda p: mixed(p, make_pipeline(usual(), lm.LogisticRegression()), 3)),
    ("ColumnTransformer sparse LogisticRegression", lambda p: mixed(p, make_pipeline(usual(1.0), lm.LogisticRegression()), 2)),
    ("ColumnTransformer SGDRegressor", lambda p: mixed(p, make_pipeline(usual(), lm.SGDRegressor(random_state=1)))),
    ("ColumnTransformer Ridge", lambda p: mixed(p, make_pipeline(usual(1.0), lm.Ridge()))),
    ("ColumnTransformer RandomForestClassifier", lambda p: mixed(
        p, make_pipeline(usual(1.0), RandomForestClassifier(n_estimators=4, max_depth=4, random_state=1)), 3)),
    ("ColumnTransformer GradientBoostingRegressor", lambda p: mixed(
        p, make_pipeline(usual(), GradientBoostingRegressor(n_estimators=5, random_state=1)))),
    ("ColumnTransformer SVC", lambda p: mixed(p, make_pipeline(usual(0), SVC()), 3)),
    ("ColumnTransformer sparse SVC", lambda p: mixed(p, make_pipeline(usual(1.0), SVC(C=2.0)), 3)),
    ("ColumnTransformer sparse SVR", lambda p: mixed(p, make_pipeline(usual(1.0), SVR()))),
    ("ColumnTransformer sparse KNeighborsRegressor", lambda p: mixed(p, make_pipeline(usual(1.0), KNeighborsRegressor(weights="distance")))),
    ("ColumnTransformer passthrough", lambda p: mixed(p, ColumnTransformer(
        [("a", encoder(), ["size"]), ("b", "drop", ["colour"])], remainder="passthrough"))),
    ("ColumnTransformer remainder", lambda p: mixed(p, ColumnTransformer(
        [("a", encoder(), ["size", "colour"])], remainder=make_pipeline(SimpleImputer(), pre.MinMaxScaler()))) if ENCODED else None),
    ("ColumnTransformer slice", lambda p: array(p, ColumnTransformer(
        [("a", pre.StandardScaler(), slice(2, None)), ("b", encoder(), [1]), ("c", "passthrough", [0, -1])]))),
    ("ColumnTransformer mask", lambda p: array(p, make_column_transformer(
        (pre.StandardScaler(), np.arange(p.features) != 1), remainder="drop"))),
    ("ColumnTransformer Lasso", lambda p: array(p, make_pipeline(
        make_column_transformer((encoder(), [1]), remainder=pre.RobustScaler()), lm.Lasso(0.01)))),
    ("ColumnTransformer objects", lambda p: objects(p, make_pipeline(make_column_transformer(
        (encoder(), [1, 3]), (pre.StandardScaler(), [0, 4]), remainder="drop"), lm.LinearRegression()))),
    ("ColumnTransformer ordinal HistGradientBoostingClassifier", lambda p: mixed(p, make_pipeline(
        ColumnTransformer([("o", make(pre.OrdinalEncoder, handle_unknown="use_encoded_value", unknown_value=np.nan), ["colour", "size"])],
                          remainder="passthrough"),
        ensemble.HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=4)), 2) if MISSING else None),
    ("DataFrame LinearRegression", lambda p: mixed(p, lm.LinearRegression(), columns=["age", "count", "weight"], missing=False)),
    ("OneHotEncoder", lambda p: texts(p, encoder())),
    ("OneHotEncoder missing", lambda p: texts(p, encoder(), missing=True) if ENCODED else None),
    ("OneHotEncoder dense", lambda p: texts(p, encoder(sparse=False, sparse_output=False))),
    ("OneHotEncoder first", lambda p: texts(p, make(pre.OneHotEncoder, drop="first"), unseen=False)),
    ("OrdinalEncoder", lambda p: texts(p, pre.OrdinalEncoder(), unseen=False)),
    ("OrdinalEncoder missing", lambda p: texts(p, make(
        pre.OrdinalEncoder, handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1), missing=True) if MISSING else None),
    ("SimpleImputer text", lambda p: texts(p, make_pipeline(
        SimpleImputer(strategy="most_frequent"), make(pre.OneHotEncoder)), missing=True, unseen=False)),
    ("SimpleImputer text constant", lambda p: texts(p, make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"), make(pre.OrdinalEncoder)), missing=True, unseen=False)),
    ("TargetEncoder", lambda p: mixed(p, pre.TargetEncoder(random_state=1), columns=["colour", "size"]) if hasattr(pre, "TargetEncoder") else None),
]
