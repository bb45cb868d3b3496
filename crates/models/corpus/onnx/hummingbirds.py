"""What hummingbird makes of trees, boosters and linear models: products of matrices, gathers and comparisons.

In its three ways of writing trees, with scikit-learn's, LightGBM's and XGBoost's estimators."""

import lightgbm
import numpy as np
import xgboost
from hummingbird.ml import convert
from sklearn import cluster, decomposition, ensemble, feature_selection, impute, linear_model, naive_bayes, neural_network, pipeline, preprocessing, svm, tree

COLUMNS = 5
TREES = ("gemm", "tree_trav", "perf_tree_trav")


def case(build, classes=0, way=None):
    def make(rng):
        x = rng.normal(size=(150, COLUMNS)).astype(np.float32)
        y = x @ np.arange(1, COLUMNS + 1) + np.sin(3 * x[:, 0])
        if classes:
            y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
        model = convert(build().fit(x, y), "onnx", x[:9], extra_config={"tree_implementation": way} if way else {}).model
        name = model.graph.input[0].name
        rows = (rng.normal(size=(9, COLUMNS)) * 2, rng.normal(size=(1, COLUMNS)))
        return model, [{name: given.astype(np.float32)} for given in rows]

    return make


def cases():
    out = []

    def add(name, label, make):
        kind = "hummingbird naive Bayes" if name.endswith("NB") else "hummingbird"
        out.append((f"hummingbird {name} {label}", kind, make))

    several = {"n_estimators": 4, "max_depth": 3}
    fixed = {"random_state": 0}
    histogram = {"max_iter": 4, "max_depth": 3}
    lgbm = {"n_estimators": 4, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1, "verbose": -1}
    for way in TREES:
        for classes in (2, 3):
            for name, build in (
                ("DecisionTreeClassifier", lambda: tree.DecisionTreeClassifier(max_depth=4, **fixed)),
                ("RandomForestClassifier", lambda: ensemble.RandomForestClassifier(**several, **fixed)),
                ("ExtraTreesClassifier", lambda: ensemble.ExtraTreesClassifier(**several, **fixed)),
                ("GradientBoostingClassifier", lambda: ensemble.GradientBoostingClassifier(**several, **fixed)),
                ("HistGradientBoostingClassifier", lambda: ensemble.HistGradientBoostingClassifier(**histogram, **fixed)),
                ("XGBClassifier", lambda: xgboost.XGBClassifier(**several, n_jobs=1)),
                ("LGBMClassifier", lambda: lightgbm.LGBMClassifier(**lgbm)),
            ):
                add(name, f"{classes} {way}", case(build, classes, way))
        for name, build in (
            ("DecisionTreeRegressor", lambda: tree.DecisionTreeRegressor(max_depth=4, **fixed)),
            ("RandomForestRegressor", lambda: ensemble.RandomForestRegressor(**several, **fixed)),
            ("ExtraTreesRegressor", lambda: ensemble.ExtraTreesRegressor(**several, **fixed)),
            ("GradientBoostingRegressor", lambda: ensemble.GradientBoostingRegressor(**several, **fixed)),
            ("HistGradientBoostingRegressor", lambda: ensemble.HistGradientBoostingRegressor(**histogram, **fixed)),
            ("IsolationForest", lambda: ensemble.IsolationForest(n_estimators=4, max_samples=16, **fixed)),
            ("XGBRegressor", lambda: xgboost.XGBRegressor(**several, n_jobs=1)),
            ("LGBMRegressor", lambda: lightgbm.LGBMRegressor(**lgbm)),
        ):
            add(name, way, case(build, 0, way))
    for classes in (2, 3):
        for name, build in (
            ("LogisticRegression", linear_model.LogisticRegression),
            ("SGDClassifier log", lambda: linear_model.SGDClassifier(loss="log_loss", **fixed)),
            ("SGDClassifier", lambda: linear_model.SGDClassifier(**fixed)),
            ("LinearSVC", svm.LinearSVC),
            ("SVC", svm.SVC),
            ("SVC poly", lambda: svm.SVC(kernel="poly")),
            ("NuSVC", lambda: svm.NuSVC(nu=0.2)),
            ("BernoulliNB", naive_bayes.BernoulliNB),
            ("GaussianNB", naive_bayes.GaussianNB),
            ("MLPClassifier", lambda: neural_network.MLPClassifier((5, 4), max_iter=30, **fixed)),
            ("BaggingClassifier", lambda: ensemble.BaggingClassifier(linear_model.LogisticRegression(), 3, **fixed)),
        ):
            add(name, classes, case(build, classes))
    for name, build in (
        ("LinearRegression", linear_model.LinearRegression),
        ("RidgeCV", linear_model.RidgeCV),
        ("LinearSVR", svm.LinearSVR),
        ("MLPRegressor", lambda: neural_network.MLPRegressor((5,), max_iter=30, **fixed)),
        ("KMeans", lambda: cluster.KMeans(3, n_init=1, **fixed)),
    ):
        add(name, "plain", case(build))
    for build in (preprocessing.StandardScaler, preprocessing.MinMaxScaler, preprocessing.MaxAbsScaler, preprocessing.RobustScaler, preprocessing.Normalizer,
                  preprocessing.Binarizer, preprocessing.PolynomialFeatures, preprocessing.KBinsDiscretizer, impute.SimpleImputer, decomposition.PCA,
                  decomposition.TruncatedSVD, decomposition.FastICA, feature_selection.SelectKBest):
        settings = {"SelectKBest": {"k": 2}, "FastICA": {"whiten": "unit-variance"}}.get(build.__name__, {})
        add(build.__name__, "before", case(lambda build=build, settings=settings: pipeline.make_pipeline(build(**settings), linear_model.LogisticRegression()), 3))
    return out
