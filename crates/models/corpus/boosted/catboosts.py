"""CatBoost: every loss and way of growing trees, from its binary files and the export to JSON. The truth is its estimators, read from
the binary file."""

import os
import tempfile
import zlib

import catboost
import numpy as np
import pandas

VERSION = f"catboost-{catboost.__version__}"

CLASSES = ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
COLOURS = ["red", "green", "light blue", "\u00fcber", "a category whose name is longer than sixteen bytes",
           "and one that is longer than thirty-two, and then some more"] + [f"{'x' * 70}{index}" for index in range(2)]


class Asked:
    """A model as it is read from a file."""

    def __init__(self, path, classifies):
        self.model = (catboost.CatBoostClassifier if classifies else catboost.CatBoostRegressor)().load_model(path)
        if classifies:
            self.predict_proba = self.model.predict_proba

    def predict(self, x):
        answer = np.asarray(self.model.predict(x))
        # Classes of more than two come as a column.
        return answer[:, 0] if answer.ndim == 2 and answer.shape[1] == 1 else answer


def target(problem, loss, labels):
    rng, sums = problem.rng, problem.sum
    name = loss.split(":")[0]
    if name == "CrossEntropy":
        return 1 / (1 + np.exp(-sums))
    if name in CLASSES:
        count = 2 if name == "Logloss" else int(rng.integers(3, 6))
        y = np.clip(((sums + 2) / 4 * count).astype(int), 0, count - 1)
        y[:count] = np.arange(count)
        return {"numbers": y, "text": np.array(["a", "bb", "c", "d", "e"])[y], "truth": y == 1, "floats": y * 1.5 - 1, "gaps": y * 3 - 2}[labels]
    if name in ("Poisson", "Tweedie"):
        return np.round(np.exp(sums), 2)
    if name.startswith("MultiRMSE"):
        return np.stack([sums, sums * 2 + rng.normal(size=len(sums))], 1)
    return sums * 3 + 1


def rows(problem, columns):
    new = np.round(problem.sample(30), 2)
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e39, -1e39, 3.4e38, -3.4028234663852886e38]
    for row in range(3, 20):
        new[row, problem.rng.integers(columns)] = odd[int(problem.rng.integers(len(odd)))]
    new[21], new[22] = 0.0, np.nan
    return new


def kept(problem, model, loss, inputs):
    """The file, in one format or the other, and the model as it is read from the binary file."""
    with tempfile.TemporaryDirectory() as folder:
        binary = os.path.join(folder, "m.cbm")
        model.save_model(binary)
        writing = "cbm" if problem.rng.random() < 0.6 else "json"
        path = os.path.join(folder, "m")
        model.save_model(path, format=writing)
        with open(path, "rb") as file:
            return writing, file.read(), Asked(binary, loss.split(":")[0] in CLASSES), inputs


def settings(problem, loss, more):
    rng = problem.rng
    values = {"iterations": int(rng.integers(1, 8)), "depth": int(rng.integers(1, 5)), "learning_rate": float(rng.choice([0.1, 0.5, 1.0])),
              "loss_function": loss, "random_seed": 5, "thread_count": 1, "verbose": 0, "allow_writing_files": False,
              "border_count": int(rng.choice([8, 32, 254])), "nan_mode": str(rng.choice(["Min", "Max"]))}
    values.update(more)
    return values


def model(loss, labels="numbers", **more):
    def make(problem):
        problem.x = np.round(problem.x, 2)
        y = target(problem, loss, labels)
        maker = catboost.CatBoostClassifier if loss.split(":")[0] in CLASSES else catboost.CatBoostRegressor
        trained = maker(**settings(problem, loss, more)).fit(problem.x, y)
        new = rows(problem, problem.columns)
        return kept(problem, trained, loss, [new, new[:9].astype(np.float32), new[4:5]])

    return make


def ranking(loss):
    """Rows in groups, of which those with larger values come first."""
    def make(problem):
        x = np.round(problem.x, 2)
        y = np.digitize(problem.sum, [-0.7, 0.0, 0.8])
        groups = np.sort(problem.rng.integers(0, 12, len(x)))
        trained = catboost.CatBoost(settings(problem, loss, {})).fit(catboost.Pool(x, y, group_id=groups))
        new = rows(problem, problem.columns)
        return kept(problem, trained, loss, [new, new[:9].astype(np.float32), new[4:5]])

    return make


def forbidden(problem):
    """Training without missing values: what is missing is below all borders."""
    x = np.nan_to_num(problem.x)
    trained = catboost.CatBoostRegressor(**settings(problem, "RMSE", {"nan_mode": "Forbidden"})).fit(x, problem.sum)
    return kept(problem, trained, "RMSE", [rows(problem, problem.columns)])


def scaled(problem):
    trained = catboost.CatBoostRegressor(**settings(problem, "RMSE", {})).fit(problem.x, problem.sum)
    trained.set_scale_and_bias(2.5, -0.75)
    return kept(problem, trained, "RMSE", [rows(problem, problem.columns)])


def categories(loss, **more):
    """Categories of text and whole numbers, asked one by one."""
    def make(problem):
        rng = problem.rng

        def sample(count):
            table = pandas.DataFrame({"first": np.round(rng.normal(size=count), 2), "colour": rng.choice(COLOURS, count),
                                      "second": np.where(rng.random(count) < 0.1, np.nan, np.round(rng.normal(size=count), 2)),
                                      "count": rng.integers(-3, 3, count)})
            return table

        table = sample(250)
        sums = table["first"] + 2 * (table["colour"] == COLOURS[5]) + (table["colour"] == COLOURS[6]) - (table["count"] == -2)
        y = {"RMSE": sums, "Logloss": sums > 0.5, "MultiClass": np.digitize(sums, [-0.5, 1.0])}[loss]
        values = settings(problem, loss, {"one_hot_max_size": 100, "cat_features": ["colour", "count"], "iterations": 12, "depth": 3, **more})
        maker = catboost.CatBoostClassifier if loss in CLASSES else catboost.CatBoostRegressor
        trained = maker(**values).fit(table, y)
        asked = sample(20)
        asked.loc[0, "colour"] = "never seen"
        asked.loc[1, "colour"] = ""
        return kept(problem, trained, loss, [asked, asked.iloc[3:4]])

    return make


def statistics(loss, labels="numbers", **more):
    """Categories, alone and combined with each other and with numbers, as statistics of the target."""
    def make(problem):
        rng = problem.rng
        few, many, digits = COLOURS[:3], [f"{word} {index}" for index in range(8) for word in ("a", "town \u00e9")], [-7, 0, 3, 1 << 40, 12]

        def sample(count):
            return pandas.DataFrame({"first": np.round(rng.normal(size=count), 1), "colour": rng.choice(few, count), "town": rng.choice(many, count),
                                     "second": np.where(rng.random(count) < 0.1, np.nan, np.round(rng.normal(size=count), 1)),
                                     "digits": rng.choice(digits, count)})

        table = sample(140)
        noise = rng.normal(size=1000)

        def effect(*names):
            """Of each combination of the columns another one."""
            return np.array([noise[zlib.crc32(repr(row).encode()) % 1000] for row in zip(*(table[name] for name in names))])

        alone = effect("colour") + effect("town") + effect("digits")
        sums = alone + 2 * effect("colour", "digits") + 2 * effect("colour", "town") * (table["first"] > 0) + np.nan_to_num(table["second"])
        sums = sums.to_numpy()
        count = {"Logloss": 2, "MultiClass": 3}.get(loss, 0)
        y = np.digitize(sums, np.quantile(sums, np.arange(1, count) / count)) if count else np.exp(sums / 4) if loss == "Poisson" else sums
        y = np.array(["no", "yes", "so"])[y] if labels == "text" else y
        values = settings(problem, loss, {"one_hot_max_size": 2, "cat_features": ["colour", "town", "digits"], "iterations": 8, "depth": 3,
                                          "border_count": 16, "random_strength": 0, "max_ctr_complexity": 4, "model_size_reg": 0, **more})
        maker = catboost.CatBoostClassifier if loss in CLASSES else catboost.CatBoostRegressor
        trained = maker(**values).fit(table, y)
        asked = pandas.concat([table.iloc[:14], sample(10)], ignore_index=True)
        asked.loc[15, ["colour", "town", "digits"]] = ["never seen", "", 99]
        return kept(problem, trained, loss, [asked, asked.iloc[3:4]])

    return make


def refused(loss="Logloss", **more):
    """What is not read here: text, a loss and a threshold of one's own."""
    def make(problem):
        rng = problem.rng
        table = pandas.DataFrame({"a": np.round(rng.normal(size=200), 2), "b": rng.choice([f"category {index}" for index in range(20)], 200)})
        y = ((table["b"] < "category 3") ^ (rng.random(200) < 0.1)).astype(int)
        trained = catboost.CatBoostClassifier(**settings(problem, loss, {"iterations": 3, "depth": 3, **more})).fit(table if len(more) else table[["a"]], y)
        if not more:
            trained.set_probability_threshold(0.3)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m")
            trained.save_model(path, format="cbm")
            with open(path, "rb") as file:
                return "refused", file.read(), object(), []

    return make


LOSSES = ["RMSE", "MAE", "Quantile:alpha=0.3", "MultiQuantile:alpha=0.2,0.5,0.8", "Expectile:alpha=0.4", "LogLinQuantile", "MAPE", "Lq:q=3", "Huber:delta=1",
          "Poisson", "Tweedie:variance_power=1.5", "RMSEWithUncertainty", "MultiRMSE", "Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll"]

RANKING = ["YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "QueryRMSE", "QuerySoftMax", "StochasticRank:metric=NDCG"]

CASES = [(loss.split(":")[0], ranking(loss)) for loss in RANKING]
for loss in LOSSES:
    name = loss.split(":")[0]
    for variant in range(3 if loss in ("RMSE", "Logloss", "MultiClass") else 2):
        CASES.append((f"{name} {variant}", model(loss)))
for loss in ("RMSE", "Logloss", "MultiClass", "RMSEWithUncertainty"):
    for policy in ("Depthwise", "Lossguide"):
        CASES.append((f"{loss} {policy}", model(loss, grow_policy=policy)))
        CASES.append((f"{loss} {policy} deep", model(loss, grow_policy=policy, depth=7, iterations=3)))
    CASES.append((f"{loss} deep", model(loss, depth=9, iterations=2)))
for labels in ("text", "truth", "floats", "gaps"):
    CASES.append((f"Logloss {labels}", model("Logloss", labels)))
    if labels != "truth":
        CASES.append((f"MultiClass {labels}", model("MultiClass", labels)))
        CASES.append((f"MultiClassOneVsAll {labels}", model("MultiClassOneVsAll", labels)))
for loss in ("RMSE", "Logloss", "MultiClass"):
    CASES.append((f"{loss} categories", categories(loss)))
    CASES.append((f"{loss} categories Depthwise", categories(loss, grow_policy="Depthwise")))
CASES += [("RMSE forbidden", forbidden), ("RMSE scaled", scaled), ("RMSE many borders", model("RMSE", border_count=1000, iterations=20))]
for loss in ("RMSE", "Logloss", "MultiClass"):
    for kind in ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter"):
        CASES.append((f"{loss} {kind}", statistics(loss, simple_ctr=[f"{kind}:Prior=0.5:Prior=0.1/1"], max_ctr_complexity=1)))
        CASES.append((f"{loss} {kind} combined", statistics(loss, simple_ctr=[kind], combinations_ctr=[f"{kind}:Prior=0.3/1"], max_ctr_complexity=3)))
    for variant in range(3):
        CASES.append((f"{loss} default statistics {variant}", statistics(loss)))
    CASES.append((f"{loss} statistics beside one by one", statistics(loss, one_hot_max_size=4, depth=5)))
CASES += [
    ("RMSE Borders of several", statistics("RMSE", simple_ctr=["Borders:TargetBorderCount=4:CtrBorderCount=7"], combinations_ctr=["Borders:TargetBorderCount=3"])),
    ("RMSE Buckets of several", statistics("RMSE", simple_ctr=["Buckets:TargetBorderCount=4"], combinations_ctr=["Buckets:TargetBorderCount=2"])),
    ("RMSE BinarizedTargetMeanValue of several", statistics("RMSE", simple_ctr=["BinarizedTargetMeanValue:TargetBorderCount=5"])),
    ("RMSE Counter full", statistics("RMSE", simple_ctr=["Counter"], counter_calc_method="Full")),
    ("Poisson statistics", statistics("Poisson")),
    ("Logloss statistics text", statistics("Logloss", "text")),
    ("MultiClass statistics text", statistics("MultiClass", "text")),
    ("Logloss statistics by feature", statistics("Logloss", per_feature_ctr=["1:Borders:Prior=0.1", "2:Counter:Prior=0.7"])),
]
for policy in ("Depthwise", "Lossguide"):
    CASES.append((f"RMSE statistics {policy}", statistics("RMSE", grow_policy=policy)))
    CASES.append((f"MultiClass statistics {policy}", statistics("MultiClass", grow_policy=policy)))
CASES += [("text", refused(text_features=["b"])), ("threshold", refused())]
