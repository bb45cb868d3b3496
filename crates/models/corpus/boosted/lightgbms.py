"""LightGBM: every objective and booster, from its text files. The truth is `Booster.predict` of a booster read from the text."""

import lightgbm
import numpy as np
import pandas

VERSION = f"lightgbm-{lightgbm.__version__}"

COLOURS = ["red", "green", "light blue", "\u00fcber", "\U0001f600", "quote\"", ""]


class Asked:
    """A booster as KServe's server reads and asks it."""

    def __init__(self, text):
        self.booster = lightgbm.Booster(model_str=text)

    def predict(self, x):
        return self.booster.predict(x)


def target(problem, objective):
    rng, sums = problem.rng, problem.sum
    if objective == "binary":
        return (sums > 0).astype(float), {"sigmoid": float(rng.choice([1.0, 0.7, 1.35, 2.05]))}
    if objective.startswith("multiclass"):
        classes = int(rng.integers(2, 5))
        y = np.clip(((sums + 2) / 4 * classes).astype(int), 0, classes - 1)
        return y, {"num_class": classes, "sigmoid": float(rng.choice([1.0, 1.3]))}
    if objective.startswith("cross_entropy"):
        return 1 / (1 + np.exp(-sums)), {}
    if objective in ("lambdarank", "rank_xendcg"):
        return np.clip(np.round(sums + 2), 0, 4), {}
    if objective in ("poisson", "gamma", "tweedie"):
        return np.exp(sums), {}
    return sums * 3 + 1, {}


def inputs(problem):
    """Rows seen and not seen, with numbers that are almost zero, infinite, or no category."""
    rng = problem.rng
    new = np.round(problem.sample(30), 2)
    odd = [0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 1.1e-35, np.inf, -np.inf, np.nan, -1.0, 0.5, 2.5, -0.5, 31.0, 32.0, 1e9, 3e9, 1e300]
    for row in range(2, 22):
        for column in rng.integers(problem.columns, size=2):
            new[row, column] = odd[int(rng.integers(len(odd)))]
    new[22], new[23] = 0.0, np.nan
    return [new, new[:12].astype(np.float32), new[3:4]]


def settings(problem, objective, more):
    rng = problem.rng
    boosting = more.get("boosting") or str(rng.choice(["gbdt", "gbdt", "gbdt", "goss"]))
    values = {"objective": objective, "boosting": boosting, "num_leaves": int(rng.integers(2, 14)), "learning_rate": float(rng.choice([0.1, 0.4, 1.0])),
              "min_data_in_leaf": int(rng.choice([1, 5, 20])), "verbosity": -1, "num_threads": 1, "seed": 7, "deterministic": True,
              "zero_as_missing": bool(rng.random() < 0.3), "use_missing": bool(rng.random() < 0.8),
              "max_cat_to_onehot": int(rng.choice([1, 4, 60])), "min_data_per_group": 2, "cat_smooth": 1.0, "max_bin": 63}
    if boosting == "rf":
        values.update(bagging_freq=1, bagging_fraction=0.7)
    if boosting == "dart":
        values.update(drop_rate=0.5, skip_drop=0.0)
    values.update(more.get("settings", {}))
    return values


def text_of(booster, rng):
    return booster.model_to_string(num_iteration=int(rng.integers(1, 4)) if rng.random() < 0.15 else -1)


def model(objective, **more):
    def make(problem):
        rng = problem.rng
        problem.x = np.round(problem.x, 2)
        if rng.random() < 0.6:
            problem.x[rng.random(problem.x.shape) < 0.2] = 0.0
        y, extra = target(problem, objective)
        values = {**settings(problem, objective, more), **extra}
        if values.get("linear_tree"):
            problem.categories = min(problem.categories, 1)
        data = lightgbm.Dataset(problem.x, y, categorical_feature=list(range(problem.categories)), free_raw_data=False)
        if objective in ("lambdarank", "rank_xendcg"):
            data.set_group([len(y) // 2, len(y) - len(y) // 2])
        trained = lightgbm.train(values, data, int(rng.integers(2, 7)) if not more.get("rounds") else more["rounds"])
        text = text_of(trained, rng)
        return "text", text.encode(), Asked(text), inputs(problem)

    return make


def frame(objective):
    """A data frame with categories of text, which the file keeps behind its trees."""
    def make(problem):
        rng = problem.rng
        y, extra = target(problem, objective)
        table = pandas.DataFrame({f"n{column}": np.round(problem.x[:, column], 2) for column in range(3)})
        table.insert(1, "colour", rng.choice(COLOURS[:-1], len(table)))
        table["size"] = rng.choice(["S", "M", "L", None], len(table))
        y = y + (table["colour"] == "green") * 2 + (table["size"] == "S") if objective == "regression" else y
        kinds = {name: pandas.CategoricalDtype(sorted(value for value in table[name].unique() if value is not None)) for name in ("colour", "size")}
        values = {**settings(problem, objective, {}), **extra, "min_data_in_leaf": 5}
        trained = lightgbm.train(values, lightgbm.Dataset(table.astype(kinds), y), 5)
        text = text_of(trained, rng)
        asked = table.iloc[:25].copy()
        asked.loc[:4, "colour"] = COLOURS[2:]
        asked.loc[5, "size"] = "XL"
        booster = Asked(text)

        class Frames:
            def predict(self, x):
                return booster.predict(x.astype(kinds))

        return "text", text.encode(), Frames(), [asked, asked.iloc[3:4]]

    return make


def own(problem):
    """An objective of one's own, which the file does not name: sums are the answer."""
    y = problem.sum

    def loss(sums, data):
        return sums - y, np.ones_like(sums)

    values = {"verbosity": -1, "num_threads": 1, "num_leaves": 5}
    data = lightgbm.Dataset(problem.x, y)
    if lightgbm.__version__.startswith("3"):
        trained = lightgbm.train(values, data, 4, fobj=loss)
    else:
        trained = lightgbm.train({**values, "objective": loss}, data, 4)
    text = trained.model_to_string()
    return "text", text.encode(), Asked(text), inputs(problem)


def stopped(problem):
    """Training that stopped early; what is saved ends with the best round."""
    y = problem.sum + problem.rng.normal(size=len(problem.sum)) * 3
    half = len(y) // 2
    first = lightgbm.Dataset(problem.x[:half], y[:half])
    second = lightgbm.Dataset(problem.x[half:], y[half:], reference=first)
    trained = lightgbm.train({"verbosity": -1, "num_threads": 1, "num_leaves": 15, "learning_rate": 0.7}, first, 40, valid_sets=[second],
                             callbacks=[lightgbm.early_stopping(2, verbose=False)])
    text = trained.model_to_string()
    return "text", text.encode(), Asked(text), inputs(problem)


OBJECTIVES = ["regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "binary", "multiclass",
              "multiclassova", "cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg"]

CASES = []
for objective in OBJECTIVES:
    for variant in range(4 if objective in ("regression", "binary", "multiclass") else 2):
        CASES.append((f"{objective} {variant}", model(objective)))
    CASES.append((f"{objective} dart", model(objective, boosting="dart")))
    if objective not in ("lambdarank", "rank_xendcg"):
        CASES.append((f"{objective} rf", model(objective, boosting="rf")))
for objective in ("regression", "binary", "multiclass"):
    for variant in range(3):
        CASES.append((f"{objective} linear {variant}", model(objective, boosting="gbdt", settings={"linear_tree": True, "zero_as_missing": False})))
    CASES.append((f"{objective} frame", frame(objective)))
    CASES.append((f"{objective} one leaf", model(objective, settings={"min_data_in_leaf": 10_000})))
for objective in ("regression", "regression_l1", "fair", "quantile", "mape", "huber"):
    CASES.append((f"{objective} sqrt", model(objective, settings={"reg_sqrt": True})))
CASES.append(("regression linear, one leaf", model("regression", boosting="gbdt", settings={"linear_tree": True, "min_data_in_leaf": 10_000})))
CASES.append(("regression stumps", model("regression", settings={"num_leaves": 2}, rounds=12)))
CASES.append(("regression early stopping", stopped))
CASES.append(("custom", own))
