"""XGBoost: every objective and booster, in each of its formats. The truth is `Booster.predict` of a `DMatrix`."""

import os
import tempfile

import numpy as np
import xgboost

VERSION = f"xgboost-{xgboost.__version__}"
MAJOR = tuple(int(part) for part in xgboost.__version__.split(".")[:2])


class Asked:
    """A booster as KServe's server asks it."""

    def __init__(self, booster):
        self.booster = booster

    def predict(self, x):
        return self.booster.predict(xgboost.DMatrix(x, nthread=1))


def target(problem, objective):
    rng, sums = problem.rng, problem.sum
    if objective in ("binary:logistic", "binary:logitraw", "binary:hinge", "rank:map"):
        return (sums > 0).astype(float), {}
    if objective == "reg:logistic":
        return 1 / (1 + np.exp(-sums)), {}
    if objective.startswith("multi:"):
        classes = int(rng.integers(3, 6))
        y = np.clip(((sums + 2) / 4 * classes).astype(int), 0, classes - 1)
        return y, {"num_class": classes}
    if objective.startswith(("rank:", "count:")):
        return np.clip(np.round(sums + 2), 0, 4), {}
    if objective in ("reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"):
        return np.exp(sums), {}
    if objective == "reg:squaredlogerror":
        return np.abs(sums), {}
    return sums * 3 + 1, {}


def model(objective, booster="gbtree", **more):
    def make(problem):
        rng = problem.rng
        y, extra = target(problem, objective)
        # Until 1.6 categories could not be split by.
        if booster == "gblinear" or "multi_strategy" in more.get("settings", {}) or MAJOR < (1, 7):
            problem.categories = 0
        kinds = ["c" if column < problem.categories else "q" for column in range(problem.columns)]
        matrix = xgboost.DMatrix(problem.x, feature_types=kinds, enable_categorical=True) if problem.categories else xgboost.DMatrix(problem.x)
        if objective == "survival:aft":
            matrix.set_float_info("label_lower_bound", y)
            matrix.set_float_info("label_upper_bound", y * 1.5)
        elif more.get("outputs"):
            matrix.set_label(np.stack([y + rng.normal(size=len(y)) * index for index in range(more["outputs"])], 1))
        else:
            matrix.set_label(y)
        if objective.startswith("rank:"):
            matrix.set_group([len(y) // 2, len(y) - len(y) // 2])
        settings = {"objective": objective, "booster": booster, "seed": 7, "nthread": 1, "verbosity": 0, **extra}
        if booster != "gblinear":
            settings.update(tree_method="hist", max_depth=int(rng.integers(1, 6)), eta=float(rng.choice([0.1, 0.3, 1.0])),
                            subsample=float(rng.choice([0.7, 1.0])), max_cat_to_onehot=int(rng.choice([1, 10])))
            if rng.random() < 0.2:
                settings["num_parallel_tree"] = 3
        if booster == "dart":
            settings["rate_drop"] = 0.3
        if booster != "gblinear" and rng.random() < 0.3 and not objective.startswith(("multi:", "survival:", "reg:quantile")):
            settings["base_score"] = 0.25
        settings.update(more.get("settings", {}))
        trained = xgboost.train(settings, matrix, int(rng.integers(2, 9)))
        trained.feature_names = None
        trained.feature_types = None
        formats = ["json", "ubj"] if MAJOR >= (1, 6) else ["json"]
        if MAJOR < (3, 1) and not problem.categories and not more.get("plain"):
            formats.append("deprecated")
        format = formats[int(rng.integers(len(formats)))]
        inputs = problem.inputs()
        if rng.random() < 0.3 and MAJOR >= (1, 6):
            # The library fills up what is missing at the end.
            inputs.append(inputs[0][:, :-1])
        return format, written(trained, format), Asked(trained), inputs

    return make


def written(trained, format):
    if MAJOR >= (1, 6):
        return bytes(trained.save_raw(format))
    if format == "deprecated":
        return bytes(trained.save_raw())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.json")
        trained.save_model(path)
        with open(path, "rb") as file:
            return file.read()


OBJECTIVES = ["reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:logistic",
              "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "reg:gamma", "reg:tweedie",
              "survival:cox", "survival:aft", "rank:pairwise", "rank:ndcg", "rank:map", "multi:softprob", "multi:softmax"]

OBJECTIVES.append("reg:linear")
if MAJOR < (1, 7):
    OBJECTIVES.remove("reg:absoluteerror")
if MAJOR < (1, 2):
    # Of 1.1 and 1.2; and one whose base score 1.0 takes for a probability, and no version since, of its files either.
    OBJECTIVES = [objective for objective in OBJECTIVES if objective not in ("reg:pseudohubererror", "survival:aft", "binary:logitraw")]

CASES = []
for objective in OBJECTIVES:
    for variant in range(4 if objective in ("reg:squarederror", "binary:logistic", "multi:softprob") else 2):
        CASES.append((f"{objective} {variant}", model(objective)))
    CASES.append((f"{objective} dart", model(objective, "dart")))
for objective in ("reg:squarederror", "binary:logistic", "count:poisson", "multi:softprob"):
    CASES.append((f"{objective} gblinear", model(objective, "gblinear")))
for outputs in (2, 3) if MAJOR >= (1, 6) else ():
    CASES.append((f"several-outputs {outputs}", model("reg:squarederror", outputs=outputs)))
    if MAJOR >= (2, 0):
        CASES.append((f"several-outputs {outputs} vector leaves",
                      model("reg:squarederror", outputs=outputs, plain=True,
                            settings={"multi_strategy": "multi_output_tree", "num_parallel_tree": 1})))
if MAJOR >= (2, 0):
    CASES.append(("reg:quantileerror", model("reg:quantileerror", plain=True,
                                             settings={"quantile_alpha": [0.2, 0.5, 0.9]})))
