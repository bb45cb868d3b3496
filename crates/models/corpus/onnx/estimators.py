"""scikit-learn's estimators, converted by skl2onnx with its options."""

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn import (calibration, cluster, compose, cross_decomposition, decomposition, discriminant_analysis, ensemble,
                     feature_extraction, feature_selection, gaussian_process, impute, isotonic, kernel_approximation, linear_model, mixture,
                     model_selection, multiclass, multioutput, naive_bayes, neighbors, neural_network, pipeline,
                     preprocessing, svm, tree)

COLUMNS = 5


def rows(rng, count, columns=COLUMNS):
    return rng.normal(size=(count, columns)) * 2 + 0.5


def classes(rng, x, count, text=False):
    score = x @ np.random.default_rng(3).normal(size=x.shape[1]) + rng.normal(size=len(x)) * 0.3
    y = np.digitize(score, np.quantile(score, np.linspace(0, 1, count + 1)[1:-1]))
    return np.array(["red", "green", "blue", "a é"])[y] if text else y


def asked(rng, dtype, transform=lambda x: x, name="X"):
    x = transform(rows(rng, 12)).astype(dtype)
    return [{name: x}, {name: x[:1]}]


def convert(model, x, dtype=np.float32, options=None, opset=None, name="X"):
    kind = FloatTensorType if dtype == np.float32 else DoubleTensorType
    options = {id(model): options} if options else None
    return to_onnx(model, initial_types=[(name, kind([None, x.shape[1]]))], options=options, target_opset=opset)


OPSETS = [None, {"": 12, "ai.onnx.ml": 1}, {"": 15, "ai.onnx.ml": 3}, {"": 18, "ai.onnx.ml": 3}]


def classifier(build, count=3, text=False, dtype=np.float32, options=None, opset=None, transform=lambda x: x):
    def make(rng):
        x = transform(rows(rng, 120)).astype(dtype)
        model = build().fit(x, classes(rng, x, count, text))
        return convert(model, x, dtype, options, opset), asked(rng, dtype, transform)

    return make


def regressor(build, dtype=np.float32, opset=None, outputs=1, transform=lambda x: x, target=lambda y: y, options=None):
    def make(rng):
        x = transform(rows(rng, 120)).astype(dtype)
        y = target(np.stack([x @ rng.normal(size=COLUMNS) + np.sin(x[:, 0]) for _ in range(outputs)], 1))
        model = build().fit(x, y[:, 0] if outputs == 1 else y)
        return convert(model, x, dtype, options, opset), asked(rng, dtype, transform)

    return make


def transformer(build, dtype=np.float32, opset=None, transform=lambda x: x, supervised=False):
    def make(rng):
        x = transform(rows(rng, 80)).astype(dtype)
        model = build()
        model = model.fit(x, classes(rng, x, 3)) if supervised else model.fit(x)
        return convert(model, x, dtype, None, opset), asked(rng, dtype, transform)

    return make


def gaps(x):
    x = x.copy()
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    return x


def cells(count, seed=0):
    """Columns of text, whole numbers and floats, as a data frame has them."""
    rng = np.random.default_rng(seed)
    return {
        "city": rng.choice(["Bonn", "Köln", "Ulm", "Kiel"], count).reshape(-1, 1).astype(object),
        "kind": rng.choice(["a", "b", "c"], count).reshape(-1, 1).astype(object),
        "rooms": rng.integers(1, 6, count).reshape(-1, 1).astype(np.int64),
        "area": (rng.random((count, 1)) * 100).astype(np.float32),
        "price": rng.normal(size=(count, 1)).astype(np.float32),
    }


def frame(build, kind="classifier", options=None, opset=None):
    """One input for each column."""
    import pandas

    def make(rng):
        data = cells(150)
        table = pandas.DataFrame({name: value.ravel() for name, value in data.items()})
        y = (table["area"] > 50).astype(int) + (table["city"] == "Ulm").astype(int)
        model = build()
        model.fit(table, y) if kind != "regressor" else model.fit(table, table["area"] * 2 + table["price"])
        types = {"city": StringTensorType, "kind": StringTensorType, "rooms": Int64TensorType, "area": FloatTensorType,
                 "price": FloatTensorType}
        initial = [(name, types[name]([None, 1])) for name in data]
        converted = to_onnx(model, initial_types=initial, options={id(model): options} if options else None, target_opset=opset)
        new = cells(11, 7)
        return converted, [new, {name: value[:1] for name, value in new.items()}]

    return make


def text(build):
    def make(rng):
        texts = ["the cat sat on the mat", "a dog and a cat", "dogs bark, cats do not", "the mat is red", "nothing here",
                 "red dog red cat", "On The Mat", "a b c"] * 6
        y = np.arange(len(texts)) % 3
        model = build().fit(texts, y)
        data = np.array(texts[:8] + ["unseen words only", "", "cat"], dtype=object).reshape(-1, 1)
        converted = to_onnx(model, initial_types=[("text", StringTensorType([None, 1]))],
                            options={id(model.steps[0][1]): {"locale": "C.UTF-8"}})
        return converted, [{"text": data}, {"text": data[:1]}]

    return make


def encoder(build, strings=True):
    def make(rng):
        data = np.concatenate([cells(60)["city"], cells(60)["kind"]], axis=1)
        new = np.concatenate([cells(9, 3)["city"], cells(9, 3)["kind"]], axis=1)
        if not strings:
            data, new = rng.integers(0, 5, (60, 2)), rng.integers(0, 5, (9, 2))
        model = build().fit(data, np.arange(60) % 2)
        kind = StringTensorType if strings else Int64TensorType
        return to_onnx(model, initial_types=[("X", kind([None, 2]))]), [{"X": new}, {"X": new[:1]}]

    return make


def cases():
    out = []

    def add(kind, label, make):
        out.append((f"{kind} {label}", kind, make))

    labels = [("zipmap", None), ("plain", {"zipmap": False}), ("columns", {"zipmap": "columns"})]
    raw = {"zipmap": False, "raw_scores": True}
    lr = lambda: linear_model.LogisticRegression(max_iter=200)  # noqa: E731
    for count in (2, 3):
        for label, options in labels:
            add("LogisticRegression", f"{count} {label}", classifier(lr, count, options=options))
        for words in (False, True):
            add("LogisticRegression", f"{count} raw {words}", classifier(lr, count, words, options=raw))
            add("LogisticRegression", f"{count} text {words}", classifier(lr, count, words))
        add("LogisticRegression", f"{count} double", classifier(lr, count, dtype=np.float64, options={"zipmap": False}))
    for index, opset in enumerate(OPSETS):
        add("LogisticRegression", f"opset {index}", classifier(lr, 3, opset=opset, options={"zipmap": False}))
        add("RandomForestClassifier", f"opset {index}", classifier(
            lambda: ensemble.RandomForestClassifier(7, max_depth=5, random_state=0), 3, opset=opset, options={"zipmap": False}))
        add("StandardScaler", f"opset {index}", transformer(preprocessing.StandardScaler, opset=opset))
        add("GradientBoostingRegressor", f"opset {index}", regressor(
            lambda: ensemble.GradientBoostingRegressor(n_estimators=9, random_state=0), opset=opset))
        add("KNeighborsClassifier", f"opset {index}", classifier(
            neighbors.KNeighborsClassifier, 3, opset=opset, options={"zipmap": False}))
        add("MLPClassifier", f"opset {index}", classifier(
            lambda: neural_network.MLPClassifier((8,), max_iter=40, random_state=0), 3, opset=opset, options={"zipmap": False}))
        add("Pipeline", f"opset {index}", classifier(
            lambda: pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3), lr()), 3, opset=opset,
            options={"zipmap": False}))

    plain = {"zipmap": False}
    trees = {
        "DecisionTreeClassifier": lambda: tree.DecisionTreeClassifier(max_depth=6, random_state=0),
        "ExtraTreeClassifier": lambda: tree.ExtraTreeClassifier(max_depth=6, random_state=0),
        "RandomForestClassifier": lambda: ensemble.RandomForestClassifier(9, max_depth=5, random_state=0),
        "ExtraTreesClassifier": lambda: ensemble.ExtraTreesClassifier(9, max_depth=5, random_state=0),
        "GradientBoostingClassifier": lambda: ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0),
        "HistGradientBoostingClassifier": lambda: ensemble.HistGradientBoostingClassifier(max_iter=8, random_state=0),
        "AdaBoostClassifier": lambda: ensemble.AdaBoostClassifier(n_estimators=6, random_state=0),
        "BaggingClassifier": lambda: ensemble.BaggingClassifier(n_estimators=4, random_state=0),
    }
    others = {
        "SVC": lambda: svm.SVC(),
        "SVC probability": lambda: svm.SVC(probability=True, random_state=0),
        "SVC linear": lambda: svm.SVC(kernel="linear"),
        "SVC poly": lambda: svm.SVC(kernel="poly", degree=3),
        "SVC sigmoid": lambda: svm.SVC(kernel="sigmoid", gamma=0.05),
        "SVC ovo": lambda: svm.SVC(decision_function_shape="ovo"),
        "NuSVC": lambda: svm.NuSVC(nu=0.2),
        "LinearSVC": lambda: svm.LinearSVC(random_state=0),
        "SGDClassifier": lambda: linear_model.SGDClassifier(random_state=0),
        "SGDClassifier log": lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0),
        "SGDClassifier huber": lambda: linear_model.SGDClassifier(loss="modified_huber", random_state=0),
        "Perceptron": lambda: linear_model.Perceptron(random_state=0),
        "PassiveAggressiveClassifier": lambda: linear_model.PassiveAggressiveClassifier(random_state=0),
        "RidgeClassifier": linear_model.RidgeClassifier,
        "LinearDiscriminantAnalysis": discriminant_analysis.LinearDiscriminantAnalysis,
        "QuadraticDiscriminantAnalysis": discriminant_analysis.QuadraticDiscriminantAnalysis,
        "GaussianNB": naive_bayes.GaussianNB,
        "BernoulliNB": naive_bayes.BernoulliNB,
        "KNeighborsClassifier": neighbors.KNeighborsClassifier,
        "KNeighborsClassifier distance": lambda: neighbors.KNeighborsClassifier(weights="distance"),
        "RadiusNeighborsClassifier": lambda: neighbors.RadiusNeighborsClassifier(6.0),
        "MLPClassifier": lambda: neural_network.MLPClassifier((7, 5), max_iter=40, random_state=0),
        "MLPClassifier tanh": lambda: neural_network.MLPClassifier((6,), activation="tanh", max_iter=40, random_state=0),
        "MLPClassifier logistic": lambda: neural_network.MLPClassifier((6,), activation="logistic", max_iter=40, random_state=0),
        "CalibratedClassifierCV": lambda: calibration.CalibratedClassifierCV(linear_model.SGDClassifier(random_state=0), cv=2),
        "CalibratedClassifierCV isotonic": lambda: calibration.CalibratedClassifierCV(
            linear_model.LogisticRegression(), cv=2, method="isotonic"),
        "OneVsRestClassifier": lambda: multiclass.OneVsRestClassifier(lr()),
        "OneVsOneClassifier": lambda: multiclass.OneVsOneClassifier(lr()),
        "VotingClassifier": lambda: ensemble.VotingClassifier([("a", lr()), ("b", tree.DecisionTreeClassifier(max_depth=3))], flatten_transform=False),
        "VotingClassifier soft": lambda: ensemble.VotingClassifier(
            [("a", lr()), ("b", tree.DecisionTreeClassifier(max_depth=3))], voting="soft", flatten_transform=False),
        "StackingClassifier": lambda: ensemble.StackingClassifier([("a", lr()), ("b", tree.DecisionTreeClassifier(max_depth=3))]),
        "GridSearchCV": lambda: model_selection.GridSearchCV(lr(), {"C": [0.1, 1.0]}, cv=2),
        "GaussianProcessClassifier": lambda: gaussian_process.GaussianProcessClassifier(random_state=0),
        "LogisticRegressionCV": lambda: linear_model.LogisticRegressionCV(cv=2, max_iter=200),
    }
    for table in (trees, others):
        for label, build in table.items():
            kind = label.split()[0]
            for count in (2, 3):
                add(kind, f"{label} {count}", classifier(build, count, text=count == 3, options=plain if kind != "LinearSVC" else None))
            if kind not in ("GaussianProcessClassifier", "RadiusNeighborsClassifier", "LinearSVC"):
                add(kind, f"{label} double", classifier(build, 3, dtype=np.float64, options=plain))
            if table is trees or kind in ("SVC", "KNeighborsClassifier"):
                add(kind, f"{label} zipmap", classifier(build, 3, text=True))
                add(kind, f"{label} raw", classifier(build, 2, options=raw))
    add("MultinomialNB", "3", classifier(naive_bayes.MultinomialNB, 3, options=plain, transform=np.abs))
    add("ComplementNB", "3", classifier(naive_bayes.ComplementNB, 3, options=plain, transform=np.abs))
    add("CategoricalNB", "3", classifier(naive_bayes.CategoricalNB, 3, options=plain, transform=lambda x: np.clip(np.abs(np.round(x)), 0, 2)))
    add("HistGradientBoostingClassifier", "missing", classifier(trees["HistGradientBoostingClassifier"], 2, options=plain, transform=gaps))

    regressors = {
        "LinearRegression": linear_model.LinearRegression, "Ridge": linear_model.Ridge, "Lasso": linear_model.Lasso,
        "ElasticNet": linear_model.ElasticNet, "BayesianRidge": linear_model.BayesianRidge,
        "HuberRegressor": linear_model.HuberRegressor, "SGDRegressor": lambda: linear_model.SGDRegressor(random_state=0),
        "LinearSVR": lambda: svm.LinearSVR(random_state=0), "SVR": svm.SVR, "SVR linear": lambda: svm.SVR(kernel="linear"),
        "SVR poly": lambda: svm.SVR(kernel="poly"), "SVR sigmoid": lambda: svm.SVR(kernel="sigmoid", gamma=0.02), "NuSVR": svm.NuSVR,
        "DecisionTreeRegressor": lambda: tree.DecisionTreeRegressor(max_depth=6, random_state=0),
        "RandomForestRegressor": lambda: ensemble.RandomForestRegressor(8, max_depth=5, random_state=0),
        "ExtraTreesRegressor": lambda: ensemble.ExtraTreesRegressor(8, max_depth=5, random_state=0),
        "GradientBoostingRegressor": lambda: ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0),
        "HistGradientBoostingRegressor": lambda: ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0),
        "AdaBoostRegressor": lambda: ensemble.AdaBoostRegressor(n_estimators=5, random_state=0),
        "BaggingRegressor": lambda: ensemble.BaggingRegressor(n_estimators=4, random_state=0),
        "KNeighborsRegressor": neighbors.KNeighborsRegressor,
        "KNeighborsRegressor distance": lambda: neighbors.KNeighborsRegressor(weights="distance"),
        "MLPRegressor": lambda: neural_network.MLPRegressor(hidden_layer_sizes=(7,), max_iter=60, random_state=0),
        "VotingRegressor": lambda: ensemble.VotingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]),
        "StackingRegressor": lambda: ensemble.StackingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]),
        "GaussianProcessRegressor": lambda: gaussian_process.GaussianProcessRegressor(),
        "RANSACRegressor": lambda: linear_model.RANSACRegressor(random_state=0),
        "TheilSenRegressor": lambda: linear_model.TheilSenRegressor(random_state=0),
        "QuantileRegressor": lambda: linear_model.QuantileRegressor(alpha=0.01),
        "PLSRegression": lambda: cross_decomposition.PLSRegression(2),
        "TransformedTargetRegressor": lambda: compose.TransformedTargetRegressor(linear_model.Ridge()),
    }
    for label, build in regressors.items():
        kind = label.split()[0]
        add(kind, f"{label} single", regressor(build))
        add(kind, f"{label} double", regressor(build, np.float64))
    for label, build in {"PoissonRegressor": linear_model.PoissonRegressor, "GammaRegressor": linear_model.GammaRegressor,
                         "TweedieRegressor": lambda: linear_model.TweedieRegressor(power=1.5)}.items():
        add(label, "single", regressor(build, target=lambda y: np.abs(y) + 0.1))
        add(label, "double", regressor(build, np.float64, target=lambda y: np.abs(y) + 0.1))
    for label, build in {"LinearRegression": linear_model.LinearRegression, "RandomForestRegressor": regressors["RandomForestRegressor"],
                         "KNeighborsRegressor": neighbors.KNeighborsRegressor, "MLPRegressor": regressors["MLPRegressor"],
                         "MultiOutputRegressor": lambda: multioutput.MultiOutputRegressor(linear_model.Ridge())}.items():
        add(label, "outputs", regressor(build, outputs=3))
    add("HistGradientBoostingRegressor", "missing", regressor(regressors["HistGradientBoostingRegressor"], transform=lambda x: np.where(x > 3, np.nan, x), target=np.nan_to_num))

    transformers = {
        "StandardScaler": preprocessing.StandardScaler, "MinMaxScaler": preprocessing.MinMaxScaler,
        "MinMaxScaler clip": lambda: preprocessing.MinMaxScaler(clip=True), "MaxAbsScaler": preprocessing.MaxAbsScaler,
        "RobustScaler": preprocessing.RobustScaler, "Normalizer l2": preprocessing.Normalizer,
        "Normalizer l1": lambda: preprocessing.Normalizer("l1"), "Normalizer max": lambda: preprocessing.Normalizer("max"),
        "Binarizer": lambda: preprocessing.Binarizer(threshold=0.3), "PolynomialFeatures": preprocessing.PolynomialFeatures,
        "KBinsDiscretizer": lambda: preprocessing.KBinsDiscretizer(4, encode="ordinal"),
        "KBinsDiscretizer onehot": lambda: preprocessing.KBinsDiscretizer(4, encode="onehot-dense"),
        "PowerTransformer": preprocessing.PowerTransformer, "PowerTransformer box": lambda: preprocessing.PowerTransformer("box-cox"),
        "QuantileTransformer": lambda: preprocessing.QuantileTransformer(n_quantiles=10),
        "PCA": lambda: decomposition.PCA(3), "PCA whiten": lambda: decomposition.PCA(3, whiten=True),
        "IncrementalPCA": lambda: decomposition.IncrementalPCA(3), "KernelPCA": lambda: decomposition.KernelPCA(2, kernel="rbf"),
        "TruncatedSVD": lambda: decomposition.TruncatedSVD(2), "FastICA": lambda: decomposition.FastICA(3, random_state=0),
        "KMeans": lambda: cluster.KMeans(3, random_state=0), "MiniBatchKMeans": lambda: cluster.MiniBatchKMeans(3, random_state=0),
        "GaussianMixture": lambda: mixture.GaussianMixture(2, random_state=0),
        "BayesianGaussianMixture": lambda: mixture.BayesianGaussianMixture(n_components=2, random_state=0),
        "IsolationForest": lambda: ensemble.IsolationForest(n_estimators=6, random_state=0),
        "OneClassSVM": svm.OneClassSVM, "LocalOutlierFactor": lambda: neighbors.LocalOutlierFactor(novelty=True),
        "VarianceThreshold": feature_selection.VarianceThreshold, "FunctionTransformer": preprocessing.FunctionTransformer,
        "Nystroem": lambda: kernel_approximation.Nystroem(n_components=4, random_state=0),
    }
    for label, build in transformers.items():
        kind = label.split()[0]
        positive = {"transform": lambda x: np.abs(x) + 0.1} if "box" in label else {}
        opset = {"": 15, "ai.onnx.ml": 3} if kind == "IsolationForest" else None
        add(kind, f"{label} single", transformer(build, opset=opset, **positive))
        add(kind, f"{label} double", transformer(build, np.float64, opset=opset, **positive))
    for label, build in {"SimpleImputer": impute.SimpleImputer, "SimpleImputer median": lambda: impute.SimpleImputer(strategy="median"),
                         "SimpleImputer constant": lambda: impute.SimpleImputer(strategy="constant", fill_value=-1.0)}.items():
        add(label.split()[0], f"{label} single", transformer(build, transform=gaps))
        add(label.split()[0], f"{label} double", transformer(build, np.float64, transform=gaps))
    add("SelectKBest", "single", transformer(lambda: feature_selection.SelectKBest(k=2), supervised=True))
    add("RFE", "single", transformer(lambda: feature_selection.RFE(lr(), n_features_to_select=2), supervised=True))
    add("SelectFromModel", "single", transformer(lambda: feature_selection.SelectFromModel(lr()), supervised=True))
    add("FeatureUnion", "single", transformer(lambda: pipeline.FeatureUnion([("a", preprocessing.StandardScaler()), ("b", decomposition.PCA(2))])))

    for label, build in {"OneHotEncoder": lambda: preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                         "OneHotEncoder drop": lambda: preprocessing.OneHotEncoder(drop="first", sparse_output=False),
                         "OrdinalEncoder": preprocessing.OrdinalEncoder,
                         "TargetEncoder": lambda: preprocessing.TargetEncoder(random_state=0),
                         "OrdinalEncoder unknown": lambda: preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)}.items():
        add(label.split()[0], f"{label} text", encoder(build))
        add(label.split()[0], f"{label} numbers", encoder(build, False))

    def columns(last):
        numeric = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
        return lambda: pipeline.make_pipeline(compose.ColumnTransformer([
            ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["city", "kind"]),
            ("numbers", numeric, ["area", "price"]), ("rest", "passthrough", ["rooms"])]), last())

    for label, last in {"LogisticRegression": lr, "RandomForestClassifier": trees["RandomForestClassifier"],
                        "GradientBoostingClassifier": trees["GradientBoostingClassifier"]}.items():
        add("ColumnTransformer", label, frame(columns(last)))
        add("ColumnTransformer", f"{label} plain", frame(columns(last), options=plain))
    add("ColumnTransformer", "Ridge", frame(columns(linear_model.Ridge), "regressor"))
    add("ColumnTransformer", "ordinal", frame(lambda: pipeline.make_pipeline(compose.ColumnTransformer([
        ("words", preprocessing.OrdinalEncoder(), ["city", "kind"]), ("numbers", preprocessing.MinMaxScaler(), ["area", "price", "rooms"])]),
        trees["RandomForestClassifier"]()), options=plain))

    words = feature_extraction.text
    add("CountVectorizer", "text", text(lambda: pipeline.make_pipeline(words.CountVectorizer(), lr())))
    add("CountVectorizer", "ngrams", text(lambda: pipeline.make_pipeline(words.CountVectorizer(ngram_range=(1, 2)), lr())))
    add("TfidfVectorizer", "text", text(lambda: pipeline.make_pipeline(words.TfidfVectorizer(), lr())))
    add("TfidfVectorizer", "pattern", text(lambda: pipeline.make_pipeline(words.TfidfVectorizer(token_pattern="[a-zA-Z]+"), naive_bayes.MultinomialNB())))
    add("TfidfVectorizer", "char", text(lambda: pipeline.make_pipeline(words.TfidfVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False), lr())))
    return out
