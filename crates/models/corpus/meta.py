"""Estimators that are made of others."""

import numpy as np
from sklearn import ensemble as e
from sklearn import linear_model as lm
from sklearn import model_selection, multiclass, multioutput
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from data import make

# Renamed in 1.2.
CALIBRATED = "estimator" if "estimator" in CalibratedClassifierCV().get_params() else "base_estimator"


def classifiers():
    return [("lr", lm.LogisticRegression()), ("nb", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=1))]


def regressors():
    return [("ridge", lm.Ridge()), ("tree", DecisionTreeRegressor(max_depth=3, random_state=1))]


CASES = [
    ("VotingClassifier", lambda p: p.classifier(e.VotingClassifier(classifiers(), weights=p.one(None, [2, 1, 1])), 3)),
    ("VotingClassifier soft", lambda p: p.classifier(e.VotingClassifier(classifiers(), voting="soft", weights=p.one(None, [2, 1, 1])), 3)),
    ("VotingRegressor", lambda p: p.regressor(e.VotingRegressor(regressors(), weights=p.one(None, [2, 1])))),
    ("StackingClassifier", lambda p: p.classifier(e.StackingClassifier(classifiers(), cv=2), 2)),
    ("StackingClassifier many", lambda p: p.classifier(e.StackingClassifier(
        classifiers() + [("svc", LinearSVC(random_state=1))], cv=2, passthrough=True), 3)),
    ("StackingRegressor", lambda p: p.regressor(e.StackingRegressor(regressors(), cv=2, passthrough=p.one(True, False)))),
    ("CalibratedClassifierCV", lambda p: p.classifier(CalibratedClassifierCV(LinearSVC(random_state=1), cv=2), 2)),
    ("CalibratedClassifierCV many", lambda p: p.classifier(make(
        CalibratedClassifierCV, **{CALIBRATED: lm.LogisticRegression()}, cv=2, ensemble=p.one(True, False)), 3)),
    ("CalibratedClassifierCV isotonic", lambda p: p.classifier(CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3), p.one(2, 3))),
    ("GridSearchCV", lambda p: p.classifier(GridSearchCV(SVC(), {"C": [0.5, 2]}, cv=2), 3)),
    ("GridSearchCV Pipeline", lambda p: p.regressor(GridSearchCV(
        make_pipeline(StandardScaler(), lm.Ridge()), {"ridge__alpha": [0.1, 1]}, cv=2))),
    ("RandomizedSearchCV", lambda p: p.classifier(RandomizedSearchCV(
        DecisionTreeClassifier(random_state=1), {"max_depth": [2, 3, 4]}, n_iter=2, cv=2, random_state=1), 3)),
    ("TransformedTargetRegressor", lambda p: p.regressor(TransformedTargetRegressor(lm.Ridge(), transformer=p.one(StandardScaler(), MinMaxScaler())))),
    ("TransformedTargetRegressor exp", lambda p: p.regressor(TransformedTargetRegressor(
        lm.LinearRegression(), func=np.log1p, inverse_func=np.expm1), y=lambda y: np.abs(y))),
    ("FixedThresholdClassifier", lambda p: p.classifier(
        model_selection.FixedThresholdClassifier(lm.LogisticRegression(), threshold=p.between(0.2, 0.8)), 2)
     if hasattr(model_selection, "FixedThresholdClassifier") else None),
    ("TunedThresholdClassifierCV", lambda p: p.classifier(model_selection.TunedThresholdClassifierCV(
        p.one(lm.LogisticRegression(), LinearSVC(random_state=1)), cv=3, random_state=1), 2)
     if hasattr(model_selection, "TunedThresholdClassifierCV") else None),
    ("OneVsRestClassifier", lambda p: p.classifier(multiclass.OneVsRestClassifier(lm.LogisticRegression()), p.one(2, 4))),
    ("OneVsRestClassifier SVC", lambda p: p.classifier(multiclass.OneVsRestClassifier(LinearSVC(random_state=1)), 3)),
    ("OneVsOneClassifier", lambda p: p.classifier(multiclass.OneVsOneClassifier(LinearSVC(random_state=1)), 4)),
    ("MultiOutputRegressor", lambda p: p.regressor(multioutput.MultiOutputRegressor(SVR()), 3)),
    ("MultiOutputClassifier", lambda p: p.outputs(multioutput.MultiOutputClassifier(p.one(lm.LogisticRegression(), DecisionTreeClassifier(max_depth=3), GaussianNB())))),
    ("OneVsRestClassifier outputs", lambda p: p.outputs(multiclass.OneVsRestClassifier(
        p.one(lm.LogisticRegression(), LinearSVC(random_state=1))), kind=np.array([0, 1, 1]))),
    ("RegressorChain", lambda p: p.regressor(multioutput.RegressorChain(lm.Ridge(), order=[1, 0, 2]), 3)),
    ("BaggingClassifier LogisticRegression", lambda p: p.classifier(e.BaggingClassifier(lm.LogisticRegression(), n_estimators=3, random_state=1), 3)),
    ("BaggingRegressor KNeighborsRegressor", lambda p: p.regressor(e.BaggingRegressor(KNeighborsRegressor(3), n_estimators=3, random_state=1))),
    ("AdaBoostClassifier SVC", lambda p: p.classifier(e.AdaBoostClassifier(
        **{("estimator" if "estimator" in e.AdaBoostClassifier().get_params() else "base_estimator"): DecisionTreeClassifier(max_depth=2)},
        n_estimators=3, algorithm="SAMME") if "algorithm" in e.AdaBoostClassifier().get_params() else e.AdaBoostClassifier(
            DecisionTreeClassifier(max_depth=2), n_estimators=3), 3)),
]
