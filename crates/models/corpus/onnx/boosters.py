"""LightGBM's and XGBoost's models, converted by onnxmltools, and random trees of every kind of node."""

import lightgbm
import numpy as np
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from estimators import COLUMNS, asked, classes, gaps, rows


def boosted(build, convert, count=None, missing=False, **more):
    def make(rng):
        x = rows(rng, 200).astype(np.float32)
        y = classes(rng, x, count) if count else x @ np.arange(1, COLUMNS + 1) + np.sin(x[:, 0])
        model = build().fit(gaps(x) if missing else x, np.abs(y) if more.pop("positive", False) else y)
        initial = [("X", FloatTensorType([None, COLUMNS]))]
        transform = gaps if missing else lambda x: x
        return convert(model, initial_types=initial, **more), asked(rng, np.float32, transform)

    return make


def cases():
    out = []
    lgbm = dict(n_estimators=8, num_leaves=7, verbose=-1, min_child_samples=5, n_jobs=1, random_state=0)
    xgb = dict(n_estimators=8, max_depth=4, n_jobs=1, random_state=0)

    def add(kind, label, make):
        out.append((f"{kind} {label}", kind, make))

    for count in (2, 3):
        for zipmap in (True, False):
            for opset in (12, 15):
                for missing in (False, True):
                    add("LGBMClassifier", f"{count} {zipmap} {opset} {missing}", boosted(
                        lambda: lightgbm.LGBMClassifier(**lgbm), convert_lightgbm, count, missing, zipmap=zipmap, target_opset=opset))
        for boosting in ("dart", "rf"):
            extra = {"bagging_freq": 1, "subsample": 0.7} if boosting == "rf" else {}
            add("LGBMClassifier", f"{count} {boosting}", boosted(
                lambda boosting=boosting, extra=extra: lightgbm.LGBMClassifier(**lgbm, boosting_type=boosting, **extra),
                convert_lightgbm, count, zipmap=False, target_opset=15))
        for missing in (False, True):
            add("XGBClassifier", f"{count} {missing}", boosted(
                lambda: xgboost.XGBClassifier(**xgb), convert_xgboost, count, missing, target_opset=15))
        for split in (4,):
            add("LGBMClassifier", f"{count} split {split}", boosted(
                lambda: lightgbm.LGBMClassifier(**lgbm), convert_lightgbm, count, zipmap=False, target_opset=15, split=split))
    for objective in ("regression", "regression_l1", "huber", "poisson", "gamma", "tweedie", "quantile", "mape", "fair"):
        add("LGBMRegressor", objective, boosted(
            lambda objective=objective: lightgbm.LGBMRegressor(**lgbm, objective=objective), convert_lightgbm, positive=True, target_opset=15))
    for missing in (False, True):
        add("LGBMRegressor", f"missing {missing}", boosted(
            lambda: lightgbm.LGBMRegressor(**lgbm), convert_lightgbm, missing=missing, target_opset=15))
        add("XGBRegressor", f"missing {missing}", boosted(
            lambda: xgboost.XGBRegressor(**xgb), convert_xgboost, missing=missing, target_opset=15))
    add("LGBMRegressor", "split", boosted(lambda: lightgbm.LGBMRegressor(**lgbm), convert_lightgbm, target_opset=15, split=3))
    for objective in ("reg:squarederror", "count:poisson", "reg:gamma", "reg:tweedie", "reg:absoluteerror"):
        add("XGBRegressor", objective, boosted(
            lambda objective=objective: xgboost.XGBRegressor(**xgb, objective=objective), convert_xgboost, positive=True, target_opset=15))
    add("XGBRFRegressor", "plain", boosted(lambda: xgboost.XGBRFRegressor(**xgb), convert_xgboost, target_opset=15))
    add("XGBClassifier", "base score", boosted(lambda: xgboost.XGBClassifier(**xgb, base_score=0.3), convert_xgboost, 2, target_opset=15))
    return out
