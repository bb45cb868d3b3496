"""Transformers of numbers, each in front of nothing: what is compared is `transform`."""

import numpy as np
from sklearn import decomposition as d
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn import feature_selection as fs
from sklearn import linear_model as lm
from sklearn import preprocessing as pre
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from data import make


def fitted(p, model, classes=None, positive=False, missing=False):
    X = p.numbers()
    y = p.labels(X, classes) if classes else p.values(X)
    X = np.abs(X) + 0.1 if positive else X
    asked = p.ask(X)
    if missing:
        X = X.copy()
        X[p.rng.random(X.shape) < 0.15] = np.nan
        asked = p.ask(np.nan_to_num(X), missing=True)
    asked = [np.abs(given) + given.dtype.type(0.1) for given in asked] if positive else asked
    model.fit(X, y)
    return model, asked


def indices(p, model, high=5):
    """Small whole numbers, as encoders of categories take."""
    X = p.rng.integers(0, high, size=(60, p.features)).astype(float)
    model.fit(X)
    return model, [p.rng.integers(0, high, size=(8, p.features)).astype(float)]


def unseen(p, model):
    model, [given] = indices(p, model)
    given[2:5, 0] = 17
    return model, [given, given[2:3]]


def selected(p, model):
    return fitted(p, make_pipeline(pre.StandardScaler(), model), 3)


def labels(p, values):
    """Asked about labels that it was fitted on."""
    y = values[p.rng.integers(0, len(values), 30)]
    given = y[:7]
    return pre.LabelEncoder().fit(y), [list(given) if given.dtype.kind in "OU" else given.reshape(-1, 1).astype(float)]


CASES = [
    ("LabelEncoder", lambda p: labels(p, p.one(np.array([3, -7, 12]), np.array([0.5, 2.0])))),
    ("LabelEncoder text", lambda p: labels(p, np.array(["spam", "ham", "é"], dtype=p.one(object, str)))),
    ("StandardScaler", lambda p: fitted(p, pre.StandardScaler())),
    ("StandardScaler mean", lambda p: fitted(p, pre.StandardScaler(with_std=False))),
    ("StandardScaler scale", lambda p: fitted(p, pre.StandardScaler(with_mean=False), missing=True)),
    ("StandardScaler SVC", lambda p: p.classifier(make_pipeline(pre.StandardScaler(), SVC(gamma=0.2)), 3)),
    ("StandardScaler LogisticRegression", lambda p: p.classifier(make_pipeline(pre.StandardScaler(), lm.LogisticRegression()), 3)),
    ("MinMaxScaler", lambda p: fitted(p, pre.MinMaxScaler((-1, 2)))),
    ("MinMaxScaler clip", lambda p: fitted(p, make(pre.MinMaxScaler, clip=True), missing=True)),
    ("MaxAbsScaler", lambda p: fitted(p, pre.MaxAbsScaler())),
    ("RobustScaler", lambda p: fitted(p, pre.RobustScaler())),
    ("RobustScaler center", lambda p: fitted(p, pre.RobustScaler(with_scaling=False, quantile_range=(10, 80)))),
    ("Normalizer", lambda p: fitted(p, pre.Normalizer())),
    ("Normalizer l1", lambda p: fitted(p, pre.Normalizer("l1"))),
    ("Normalizer max", lambda p: fitted(p, pre.Normalizer("max"))),
    ("Binarizer", lambda p: fitted(p, pre.Binarizer(threshold=0.3))),
    ("KBinsDiscretizer", lambda p: fitted(p, make(pre.KBinsDiscretizer, n_bins=4, strategy=p.one("uniform", "quantile")))),
    ("KBinsDiscretizer ordinal", lambda p: fitted(p, make(pre.KBinsDiscretizer, n_bins=p.whole(2, 6), encode="ordinal", strategy="kmeans"))),
    ("PolynomialFeatures", lambda p: fitted(p, pre.PolynomialFeatures(p.whole(2, 4)))),
    ("PolynomialFeatures interactions", lambda p: fitted(p, pre.PolynomialFeatures(3, interaction_only=True, include_bias=False))),
    ("PolynomialFeatures Ridge", lambda p: p.regressor(make_pipeline(pre.PolynomialFeatures(2), lm.Ridge()))),
    ("PowerTransformer", lambda p: fitted(p, pre.PowerTransformer())),
    ("PowerTransformer box-cox", lambda p: fitted(p, pre.PowerTransformer("box-cox", standardize=p.one(True, False)), positive=True)),
    ("QuantileTransformer", lambda p: fitted(p, pre.QuantileTransformer(n_quantiles=20))),
    ("FunctionTransformer", lambda p: fitted(p, make_pipeline(pre.FunctionTransformer(np.log1p), pre.FunctionTransformer()), positive=True)),
    ("SimpleImputer", lambda p: fitted(p, SimpleImputer(strategy=p.one("mean", "median")), missing=True)),
    ("SimpleImputer constant", lambda p: fitted(p, SimpleImputer(strategy="constant", fill_value=-7.0), missing=True)),
    ("SimpleImputer indicator", lambda p: fitted(p, SimpleImputer(strategy="most_frequent", add_indicator=True), missing=True)),
    ("SimpleImputer value", lambda p: indices(p, SimpleImputer(missing_values=3, strategy="mean"))),
    ("SimpleImputer RandomForestClassifier", lambda p: fitted(
        p, make_pipeline(SimpleImputer(), RandomForestClassifier(n_estimators=4, max_depth=4, random_state=1)), 3, missing=True)),
    ("MissingIndicator", lambda p: fitted(p, MissingIndicator(features="all"), missing=True)),
    ("OneHotEncoder numbers", lambda p: unseen(p, make(pre.OneHotEncoder, handle_unknown="ignore"))),
    ("OneHotEncoder drop", lambda p: indices(p, make(pre.OneHotEncoder, drop=p.one("first", "if_binary")), p.whole(2, 5))),
    ("OneHotEncoder infrequent", lambda p: unseen(p, make(pre.OneHotEncoder, handle_unknown="infrequent_if_exist", min_frequency=13))
     if "min_frequency" in pre.OneHotEncoder().get_params() else None),
    ("OrdinalEncoder numbers", lambda p: unseen(p, make(pre.OrdinalEncoder, handle_unknown="use_encoded_value", unknown_value=-1))
     if "unknown_value" in pre.OrdinalEncoder().get_params() else None),
    ("PCA", lambda p: fitted(p, d.PCA(n_components=p.whole(1, 4)))),
    ("PCA whiten", lambda p: fitted(p, d.PCA(n_components=2, whiten=True))),
    ("PCA SVC", lambda p: p.classifier(make_pipeline(pre.StandardScaler(), d.PCA(2), SVC()), 3)),
    ("TruncatedSVD", lambda p: fitted(p, d.TruncatedSVD(2, random_state=1))),
    ("FastICA", lambda p: fitted(p, make(d.FastICA, n_components=2, random_state=1, whiten="unit-variance"))),
    ("VarianceThreshold", lambda p: fitted(p, fs.VarianceThreshold(1.5 if p.features > 3 else 0.1))),
    ("SelectKBest", lambda p: fitted(p, fs.SelectKBest(k=2), 3)),
    ("SelectPercentile", lambda p: fitted(p, fs.SelectPercentile(percentile=60), 3)),
    ("SelectFpr", lambda p: fitted(p, fs.SelectFpr(alpha=0.5), 3)),
    ("SelectFromModel", lambda p: fitted(p, fs.SelectFromModel(lm.LogisticRegression()), 3)),
    ("SelectFromModel lasso", lambda p: fitted(p, fs.SelectFromModel(lm.Lasso(0.1)))),
    ("SelectFromModel forest", lambda p: fitted(p, fs.SelectFromModel(RandomForestClassifier(n_estimators=5, random_state=1)), 3)),
    ("SelectFromModel boosting", lambda p: fitted(p, fs.SelectFromModel(
        GradientBoostingRegressor(n_estimators=5, random_state=1), threshold="0.5*mean", max_features=2))),
    ("SelectFromModel tree", lambda p: p.classifier(make_pipeline(
        fs.SelectFromModel(DecisionTreeClassifier(random_state=1), threshold="median"), lm.LogisticRegression()), 2)),
    ("LinearDiscriminantAnalysis LogisticRegression", lambda p: p.classifier(
        make_pipeline(LinearDiscriminantAnalysis(solver=p.one("svd", "eigen")), lm.LogisticRegression()), 4)),
    ("KMeans Ridge", lambda p: p.regressor(make_pipeline(KMeans(3, n_init=1, random_state=1), lm.Ridge()), single=False)),
    ("RFE", lambda p: selected(p, fs.RFE(lm.LogisticRegression(), n_features_to_select=2))),
    ("FeatureUnion", lambda p: fitted(p, FeatureUnion([("a", pre.StandardScaler()), ("b", d.PCA(2)), ("c", "drop")]))),
    ("FeatureUnion Ridge", lambda p: p.regressor(make_pipeline(
        FeatureUnion([("a", pre.PolynomialFeatures(2)), ("b", pre.MinMaxScaler())], transformer_weights={"b": 3.0}), lm.Ridge()))),
    ("Pipeline", lambda p: p.classifier(make_pipeline("passthrough", make_pipeline(pre.StandardScaler(with_std=False), lm.LogisticRegression())), 2)),
]
