"""The estimators of XGBoost and LightGBM for scikit-learn, pickled alone and inside of others."""

import io

import joblib
import lightgbm
import numpy as np
import pandas
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from archive import WRITERS

VERSION = f"wrapped-{xgboost.__version__}+{lightgbm.__version__}"
OLD = xgboost.__version__ < "2"
# Early stopping was asked of `fit`, and labels were encoded.
OLDEST = xgboost.__version__ < "1.6"


def boosted(rng, kind, **more):
    """An estimator with random settings."""
    if kind.startswith("XGB"):
        settings = {"n_estimators": int(rng.integers(2, 6)), "n_jobs": 1, "random_state": 3}
        if more.get("booster") != "gblinear":
            settings.update(max_depth=int(rng.integers(1, 4)), tree_method="hist")
        return getattr(xgboost, kind)(**{**settings, **more})
    settings = {"n_estimators": int(rng.integers(2, 6)), "num_leaves": int(rng.integers(2, 8)), "min_child_samples": 5, "n_jobs": 1,
                "random_state": 3, "verbose": -1}
    return getattr(lightgbm, kind)(**{**settings, **more})


def written(model, inputs, rng):
    writing, write = WRITERS[rng.integers(len(WRITERS))]
    file = io.BytesIO()
    write(model, file)
    return writing, file.getvalue(), joblib.load(io.BytesIO(file.getvalue())), inputs


def rows(problem, odd=True):
    new = np.round(problem.sample(20), 2)
    if odd:
        new[2, 0], new[3, 1], new[4, 0], new[5, 1] = np.inf, -np.inf, 1e-36, np.nan
        new[6], new[7] = 0.0, -999.0
    return [new, new[:9].astype(np.float32), new[1:2]]


def labels(problem, classes, kind):
    y = np.clip(((problem.sum + 2) / 4 * classes).astype(int), 0, classes - 1)
    y[:classes] = np.arange(classes)
    if kind == "text":
        return np.array(["a", "bb", "c", "d"])[y]
    if kind == "truth":
        return y == 1
    if kind == "float":
        return y * 2.0 - 1
    return y


def classifier(kind, classes=2, label="number", fit=None, **more):
    def make(problem):
        problem.x = np.round(problem.x, 2)
        y = labels(problem, classes, label)
        model = boosted(problem.rng, kind, **more).fit(problem.x, y, **(fit or {}))
        return written(model, rows(problem, more.get("booster") != "gblinear"), problem.rng)

    return make


def regressor(kind, outputs=1, positive=False, **more):
    def make(problem):
        problem.x = np.round(problem.x, 2)
        y = np.exp(problem.sum) if positive else problem.sum * 2 + 1
        if outputs > 1:
            y = np.stack([y * index + problem.rng.normal(size=len(y)) for index in range(outputs)], 1)
        model = boosted(problem.rng, kind, **more).fit(problem.x, y)
        return written(model, rows(problem, more.get("booster") != "gblinear"), problem.rng)

    return make


def ranker(kind, **more):
    def make(problem):
        y = np.clip(np.round(problem.sum + 2), 0, 4).astype(int)
        model = boosted(problem.rng, kind, **more).fit(problem.x, y, group=[len(y) // 2, len(y) - len(y) // 2])
        return written(model, rows(problem), problem.rng)

    return make


def stopped(kind):
    """Early stopping: the answer is that of the best round, and the file has those behind it."""
    def make(problem):
        rng, half = problem.rng, len(problem.sum) // 2
        y = problem.sum + rng.normal(size=len(problem.sum)) * 2
        y = (y > 0).astype(int) if kind.endswith("Classifier") else y
        x, held = problem.x[:half], [(problem.x[half:], y[half:])]
        model = boosted(rng, kind, n_estimators=30, learning_rate=0.9, **({"early_stopping_rounds": 4} if kind.startswith("XGB") and not OLDEST else {}))
        if kind.startswith("XGB"):
            model.fit(x, y[:half], eval_set=held, verbose=False, **({"early_stopping_rounds": 4} if OLDEST else {}))
        else:
            model.fit(x, y[:half], eval_set=held, callbacks=[lightgbm.early_stopping(4, verbose=False)])
        return written(model, rows(problem), rng)

    return make


COLOURS = ["red", "green", "light blue", "\u00fcber"]


def frame(problem, count=None):
    rng = problem.rng
    count = count or len(problem.sum)
    return pandas.DataFrame({"size": np.round(rng.normal(size=count), 2), "colour": rng.choice(COLOURS, count),
                             "weight": np.where(rng.random(count) < 0.1, np.nan, np.round(rng.gamma(2, size=count), 2)),
                             "shape": rng.choice(["round", "square"], count)})


def target(table):
    return table["size"] + 2.0 * (table["colour"] == "red") - np.nan_to_num(table["weight"]) + (table["shape"] == "round")


def columns(kind, dense=False, **more):
    """Text, numbers and gaps through a ColumnTransformer, whose result is sparse if it is mostly zeros."""
    def make(problem):
        table = frame(problem)
        y = target(table)
        y = np.digitize(y, [-0.5, 0.5]) if kind.endswith("Classifier") else y
        encoder = OneHotEncoder(handle_unknown="ignore") if not dense else OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        numbers = Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
        steps = ColumnTransformer([("text", encoder, ["colour", "shape"]), ("numbers", numbers, ["size", "weight"])], sparse_threshold=0.0 if dense else 1.0)
        model = Pipeline([("columns", steps), ("model", boosted(problem.rng, kind, **more))]).fit(table, y)
        asked = frame(problem, 15)
        asked.loc[0, "colour"] = "never seen"
        return written(model, [asked, asked.iloc[2:3]], problem.rng)

    return make


def texts(kind, vectorizer):
    def make(problem):
        words = np.array("good bad fine awful plot film very not the a".split())
        lines = [" ".join(problem.rng.choice(words, 6)) for _ in range(120)]
        y = np.array([line.count("good") + line.count("fine") > line.count("bad") for line in lines]).astype(int)
        model = Pipeline([("words", vectorizer()), ("model", boosted(problem.rng, kind))]).fit(lines, y)
        return written(model, [lines[:15] + ["unseen words", ""]], problem.rng)

    return make


def onehot(kind):
    """Sparse rows: what they do not have is missing to XGBoost and zero to LightGBM."""
    def make(problem):
        x = problem.rng.integers(0, 5, size=(150, 4)).astype(float)
        y = (x[:, 0] * 2 + x[:, 1] + problem.rng.normal(size=150) > 6).astype(int)
        steps = [("onehot", OneHotEncoder(handle_unknown="ignore")), ("scale", MaxAbsScaler()), ("model", boosted(problem.rng, kind))]
        asked = problem.rng.integers(0, 6, size=(20, 4)).astype(float)
        return written(Pipeline(steps).fit(x, y), [asked], problem.rng)

    return make


def categories(kind):
    """A data frame with categories, which LightGBM keeps."""
    def make(problem):
        table = frame(problem)
        y = target(table)
        y = np.where(y > 0, "yes", "no") if kind.endswith("Classifier") else y
        kinds = {name: pandas.CategoricalDtype(sorted(table[name].unique())) for name in ("colour", "shape")}
        model = boosted(problem.rng, kind, cat_smooth=1.0, min_data_per_group=2).fit(table.astype(kinds), y)
        asked = frame(problem, 15)
        asked.loc[0, "colour"] = "never seen"
        writing, file, loaded, inputs = written(model, [asked, asked.iloc[2:3]], problem.rng)

        class Frames:
            def predict(self, x):
                return loaded.predict(x.astype(kinds))

        if kind.endswith("Classifier"):
            Frames.predict_proba = lambda _, x: loaded.predict_proba(x.astype(kinds))
        return writing, file, Frames(), inputs

    return make


def named(kind):
    """Columns with names."""
    def make(problem):
        table = pandas.DataFrame(np.round(problem.x, 2), columns=[f"column {index}".replace(" ", "_" if kind.startswith("LGBM") else " ") for index in range(problem.columns)])
        model = boosted(problem.rng, kind).fit(table, problem.sum)
        return written(model, [table.iloc[:15], table.iloc[3:4]], problem.rng)

    return make


def around(make_model, classes=3, label="number", outputs=1):
    def make(problem):
        rng = problem.rng
        problem.x = np.round(np.nan_to_num(problem.x), 2)
        y = labels(problem, classes, label) if classes else problem.sum
        if outputs > 1:
            y = np.stack([problem.sum, problem.sum * 2 + rng.normal(size=len(problem.sum))], 1)
        new = np.nan_to_num(np.round(problem.sample(15), 2))
        return written(make_model(rng).fit(problem.x, y), [new, new[:5].astype(np.float32)], rng)

    return make


def booster(problem):
    model = lightgbm.train({"verbose": -1, "num_threads": 1, "num_leaves": 5}, lightgbm.Dataset(problem.x, problem.sum), 4)
    return written(model, rows(problem), problem.rng)


CASES = []
for name in ("XGBClassifier", "XGBRFClassifier"):
    CASES += [(f"{name} 2", classifier(name)), (f"{name} 3", classifier(name, classes=3)), (f"{name} 4", classifier(name, classes=4))]
CASES += [
    ("XGBClassifier softmax", classifier("XGBClassifier", classes=3, objective="multi:softmax")),
    ("XGBClassifier logitraw", classifier("XGBClassifier", objective="binary:logitraw")),
    ("XGBClassifier hinge", classifier("XGBClassifier", objective="binary:hinge")),
    ("XGBClassifier dart", classifier("XGBClassifier", classes=3, booster="dart", rate_drop=0.5)),
    ("XGBClassifier gblinear", classifier("XGBClassifier", classes=3, booster="gblinear")),
    ("XGBClassifier missing", classifier("XGBClassifier", missing=-999.0)),
    ("XGBClassifier missing zero", classifier("XGBClassifier", missing=0, classes=3)),
    ("XGBClassifier base", classifier("XGBClassifier", base_score=0.3, scale_pos_weight=2.0)),
    ("XGBClassifier parallel", classifier("XGBClassifier", classes=3, num_parallel_tree=2)),
    ("XGBClassifier early stopping", stopped("XGBClassifier")),
    ("XGBRegressor early stopping", stopped("XGBRegressor")),
    ("XGBRegressor gblinear", regressor("XGBRegressor", booster="gblinear")),
    ("XGBRegressor dart", regressor("XGBRegressor", booster="dart", rate_drop=0.5)),
    ("XGBRegressor missing", regressor("XGBRegressor", missing=0.0)),
    ("XGBRegressor names", named("XGBRegressor")),
    ("XGBRanker", ranker("XGBRanker")),
    ("XGBRFRegressor", regressor("XGBRFRegressor")),
    ("LGBMClassifier ova", classifier("LGBMClassifier", classes=3, objective="multiclassova")),
    ("LGBMClassifier dart", classifier("LGBMClassifier", classes=3, boosting_type="dart")),
    ("LGBMClassifier rf", classifier("LGBMClassifier", boosting_type="rf", subsample=0.7, subsample_freq=1)),
    ("LGBMClassifier weights", classifier("LGBMClassifier", label="text", class_weight={"a": 1.0, "bb": 2.5})),
    ("LGBMClassifier early stopping", stopped("LGBMClassifier")),
    ("LGBMClassifier categories", categories("LGBMClassifier")),
    ("LGBMRegressor early stopping", stopped("LGBMRegressor")),
    ("LGBMRegressor categories", categories("LGBMRegressor")),
    ("LGBMRegressor linear", regressor("LGBMRegressor", linear_tree=True)),
    ("LGBMRegressor names", named("LGBMRegressor")),
    ("LGBMRanker", ranker("LGBMRanker")),
    ("Booster of LightGBM", booster),
]
for label in ("text", "truth", "float", "number"):
    CASES.append((f"LGBMClassifier 2 {label}", classifier("LGBMClassifier", label=label)))
    if label != "truth":
        CASES.append((f"LGBMClassifier 4 {label}", classifier("LGBMClassifier", classes=4, label=label)))
if OLDEST:
    CASES.append(("XGBClassifier encoded 2", classifier("XGBClassifier", label="text")))
    CASES.append(("XGBClassifier encoded 3", classifier("XGBClassifier", classes=3, label="text")))
else:
    CASES.append(("XGBRegressor outputs", regressor("XGBRegressor", outputs=3)))
    CASES.append(("XGBRegressor reg:absoluteerror", regressor("XGBRegressor", positive=True, objective="reg:absoluteerror")))
for objective in ("reg:squarederror", "count:poisson", "reg:gamma"):
    CASES.append((f"XGBRegressor {objective}", regressor("XGBRegressor", positive=True, objective=objective)))
for objective in ("regression", "regression_l1", "poisson", "quantile", "tweedie"):
    CASES.append((f"LGBMRegressor {objective}", regressor("LGBMRegressor", positive=True, objective=objective)))
if not OLD:
    CASES.append(("XGBRegressor vector leaves", regressor("XGBRegressor", outputs=2, multi_strategy="multi_output_tree")))
    CASES.append(("XGBRegressor quantiles", regressor("XGBRegressor", objective="reg:quantileerror", quantile_alpha=np.array([0.1, 0.9]))))
for name in ("XGBClassifier", "XGBRegressor", "LGBMClassifier", "LGBMRegressor"):
    CASES.append((f"Pipeline {name} columns", columns(name)))
    CASES.append((f"Pipeline {name} columns dense", columns(name, dense=True)))
for name in ("XGBClassifier", "LGBMClassifier"):
    CASES += [(f"Pipeline {name} tfidf", texts(name, TfidfVectorizer)), (f"Pipeline {name} onehot", onehot(name))]
CASES.append(("Pipeline XGBClassifier counts", texts("XGBClassifier", lambda: CountVectorizer(dtype=np.float64))))


def members(rng):
    return [("x", boosted(rng, "XGBClassifier")), ("l", boosted(rng, "LGBMClassifier")), ("r", LogisticRegression(max_iter=200))]


def regressors(rng):
    return [("x", boosted(rng, "XGBRegressor")), ("l", boosted(rng, "LGBMRegressor")), ("r", Ridge())]


CASES += [
    ("VotingClassifier soft", around(lambda rng: VotingClassifier(members(rng), voting="soft"))),
    ("VotingClassifier hard", around(lambda rng: VotingClassifier(members(rng), voting="hard"))),
    ("VotingRegressor", around(lambda rng: VotingRegressor(regressors(rng)), classes=0)),
    ("StackingClassifier", around(lambda rng: StackingClassifier(members(rng), boosted(rng, "LGBMClassifier"), cv=3))),
    ("StackingClassifier XGBoost", around(lambda rng: StackingClassifier(members(rng), boosted(rng, "XGBClassifier"), cv=3), classes=2)),
    ("StackingRegressor", around(lambda rng: StackingRegressor(regressors(rng), boosted(rng, "XGBRegressor"), cv=3), classes=0)),
    ("GridSearchCV", around(lambda rng: GridSearchCV(boosted(rng, "XGBClassifier"), {"max_depth": [1, 2]}, cv=3))),
    ("GridSearchCV pipeline", around(lambda rng: GridSearchCV(Pipeline([("s", StandardScaler()), ("m", boosted(rng, "LGBMRegressor"))]), {"m__num_leaves": [3, 5]}, cv=3), classes=0)),
    ("CalibratedClassifierCV", around(lambda rng: CalibratedClassifierCV(boosted(rng, "LGBMClassifier"), cv=3), label="text")),
    ("CalibratedClassifierCV isotonic", around(lambda rng: CalibratedClassifierCV(boosted(rng, "XGBClassifier"), cv=3, method="isotonic"), classes=2)),
    ("BaggingClassifier", around(lambda rng: BaggingClassifier(boosted(rng, "LGBMClassifier"), n_estimators=3, max_features=0.7), label="text")),
    ("OneVsRestClassifier", around(lambda rng: OneVsRestClassifier(boosted(rng, "XGBClassifier")), label="text")),
    ("MultiOutputRegressor", around(lambda rng: MultiOutputRegressor(boosted(rng, "LGBMRegressor")), classes=0, outputs=2)),
    ("TransformedTargetRegressor", around(lambda rng: TransformedTargetRegressor(boosted(rng, "XGBRegressor"), transformer=StandardScaler()), classes=0)),
]
