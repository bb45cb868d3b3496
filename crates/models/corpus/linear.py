"""Linear models and support vector machines."""

from sklearn import linear_model as lm
from sklearn import svm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import numpy as np
from data import make


def svc(p, kernel, cls=svm.SVC, **more):
    return make(
        cls,
        kernel=kernel,
        C=p.between(0.2, 5),
        gamma=p.one(0.3, "scale", "auto"),
        degree=p.whole(2, 5),
        coef0=p.between(0, 1),
        random_state=1,
        **more,
    )


def single(p, model, classes=None):
    """Fitted on single precision."""
    X = p.numbers().astype(np.float32)
    y = p.labels(X, classes) if classes else p.values(X).astype(np.float32)
    return model.fit(X, y), p.ask(X)


def compressed(p, model, classes=None):
    """Fitted on sparse rows, asked about dense ones."""
    X = p.sparse()
    dense = X.toarray()
    model.fit(X, p.labels(dense, classes) if classes else p.values(dense))
    return model, p.ask(dense)


def sparsified(p, model, classes):
    """What is zero left out of the coefficients."""
    model, asked = p.classifier(model, classes)
    return model.sparsify(), asked


CASES = [
    ("LinearRegression", lambda p: p.regressor(lm.LinearRegression())),
    ("LinearRegression plain", lambda p: p.regressor(lm.LinearRegression(fit_intercept=False))),
    ("LinearRegression outputs", lambda p: p.regressor(lm.LinearRegression(), 3)),
    ("LinearRegression single", lambda p: single(p, lm.LinearRegression())),
    ("Ridge", lambda p: p.regressor(lm.Ridge(alpha=p.between(0.1, 3)))),
    ("Ridge outputs", lambda p: p.regressor(lm.Ridge(solver="svd"), 2)),
    ("Ridge single", lambda p: single(p, lm.Ridge(solver="sag", random_state=1))),
    ("RidgeCV", lambda p: p.regressor(lm.RidgeCV())),
    ("Lasso", lambda p: p.regressor(lm.Lasso(alpha=p.between(0.01, 0.3)))),
    ("LassoCV", lambda p: p.regressor(lm.LassoCV(cv=3))),
    ("LassoLars", lambda p: p.regressor(lm.LassoLars(alpha=0.01))),
    ("Lars", lambda p: p.regressor(lm.Lars())),
    ("ElasticNet", lambda p: p.regressor(lm.ElasticNet(alpha=p.between(0.01, 0.3), l1_ratio=p.between(0, 1)))),
    ("ElasticNetCV", lambda p: p.regressor(lm.ElasticNetCV(cv=3))),
    ("MultiTaskLasso", lambda p: p.regressor(lm.MultiTaskLasso(alpha=0.1), 2)),
    ("BayesianRidge", lambda p: p.regressor(lm.BayesianRidge())),
    ("ARDRegression", lambda p: p.regressor(lm.ARDRegression())),
    ("HuberRegressor", lambda p: p.regressor(lm.HuberRegressor())),
    ("TheilSenRegressor", lambda p: p.regressor(lm.TheilSenRegressor(random_state=1, max_subpopulation=50))),
    ("OrthogonalMatchingPursuit", lambda p: p.regressor(lm.OrthogonalMatchingPursuit())),
    ("QuantileRegressor", lambda p: p.regressor(lm.QuantileRegressor(alpha=0.01, solver="highs")) if hasattr(lm, "QuantileRegressor") else None),
    ("RANSACRegressor", lambda p: p.regressor(lm.RANSACRegressor(random_state=1))),
    ("SGDRegressor", lambda p: p.regressor(make_pipeline(StandardScaler(), lm.SGDRegressor(random_state=1)))),
    ("PassiveAggressiveRegressor", lambda p: p.regressor(lm.PassiveAggressiveRegressor(random_state=1))),
    ("PoissonRegressor", lambda p: p.regressor(lm.PoissonRegressor(), y=lambda y: np.exp(y / 5))),
    ("GammaRegressor", lambda p: p.regressor(lm.GammaRegressor(), y=lambda y: np.exp(y / 5))),
    ("TweedieRegressor", lambda p: p.regressor(lm.TweedieRegressor(power=p.one(0, 1.5)), y=lambda y: np.exp(y / 5))),
    ("LogisticRegression", lambda p: p.classifier(lm.LogisticRegression(C=p.between(0.1, 5)), 2)),
    ("LogisticRegression many", lambda p: p.classifier(lm.LogisticRegression(C=p.between(0.1, 5)), 4)),
    ("LogisticRegression single", lambda p: single(p, lm.LogisticRegression(), 3)),
    ("LogisticRegression liblinear", lambda p: p.classifier(lm.LogisticRegression(solver="liblinear"), 2)),
    ("LogisticRegression plain", lambda p: p.classifier(lm.LogisticRegression(fit_intercept=False), 3)),
    ("LogisticRegressionCV", lambda p: p.classifier(lm.LogisticRegressionCV(Cs=3, cv=2), 3)),
    ("RidgeClassifier", lambda p: p.classifier(lm.RidgeClassifier(), 2)),
    ("RidgeClassifier many", lambda p: p.classifier(lm.RidgeClassifier(), 4)),
    ("RidgeClassifierCV", lambda p: p.classifier(lm.RidgeClassifierCV(), 3)),
    ("SGDClassifier", lambda p: p.classifier(lm.SGDClassifier(random_state=1))),
    ("SGDClassifier log", lambda p: p.classifier(lm.SGDClassifier(loss="log_loss", random_state=1), 2) if has_log_loss() else None),
    ("SGDClassifier log many", lambda p: p.classifier(lm.SGDClassifier(loss="log_loss", random_state=1), 3) if has_log_loss() else None),
    ("SGDClassifier huber", lambda p: p.classifier(lm.SGDClassifier(loss="modified_huber", random_state=1), 2)),
    ("SGDClassifier huber many", lambda p: p.classifier(lm.SGDClassifier(loss="modified_huber", random_state=1), 4)),
    ("Perceptron", lambda p: p.classifier(lm.Perceptron(random_state=1))),
    ("PassiveAggressiveClassifier", lambda p: p.classifier(lm.PassiveAggressiveClassifier(random_state=1))),
    ("LinearSVC", lambda p: p.classifier(svm.LinearSVC(random_state=1), 2)),
    ("LinearSVC many", lambda p: p.classifier(svm.LinearSVC(random_state=1), 4)),
    ("LinearSVR", lambda p: p.regressor(svm.LinearSVR(random_state=1))),
    ("LinearDiscriminantAnalysis", lambda p: p.classifier(LinearDiscriminantAnalysis(), 2)),
    ("LinearDiscriminantAnalysis many", lambda p: p.classifier(LinearDiscriminantAnalysis(), 4)),
    ("QuadraticDiscriminantAnalysis", lambda p: p.classifier(QuadraticDiscriminantAnalysis(), 2)),
    ("QuadraticDiscriminantAnalysis many", lambda p: p.classifier(QuadraticDiscriminantAnalysis(reg_param=0.1), 3)),
    ("SVC linear", lambda p: p.classifier(svc(p, "linear"))),
    ("SVC poly", lambda p: p.classifier(svc(p, "poly"), 3)),
    ("SVC rbf", lambda p: p.classifier(svc(p, "rbf"))),
    ("SVC sigmoid", lambda p: p.classifier(svc(p, "sigmoid", decision_function_shape="ovo"), 4)),
    ("SVC probability", lambda p: p.classifier(svc(p, "rbf", probability=True))),
    ("SVC ties", lambda p: p.classifier(svc(p, "poly", break_ties=True), 4)),
    ("NuSVC", lambda p: p.classifier(make(svm.NuSVC, nu=0.2, kernel=p.one("rbf", "linear")), 2)),
    ("NuSVC many", lambda p: p.classifier(make(svm.NuSVC, nu=0.1, random_state=1), 3)),
    ("SVR linear", lambda p: p.regressor(svc(p, "linear", svm.SVR))),
    ("SVR rbf", lambda p: p.regressor(svc(p, "rbf", svm.SVR))),
    ("SVR poly", lambda p: p.regressor(svc(p, "poly", svm.SVR))),
    ("SVR sigmoid", lambda p: p.regressor(svc(p, "sigmoid", svm.SVR))),
    ("SVC sparse", lambda p: compressed(p, svc(p, p.one("linear", "poly", "sigmoid")), 2)),
    ("SVC sparse probability", lambda p: compressed(p, svc(p, "rbf", probability=True), 4)),
    ("NuSVC sparse", lambda p: compressed(p, make(svm.NuSVC, nu=0.1, random_state=1), 3)),
    ("SVR sparse", lambda p: compressed(p, svc(p, p.one("rbf", "poly", "linear"), svm.SVR))),
    ("NuSVR sparse", lambda p: compressed(p, make(svm.NuSVR, nu=0.4))),
    ("OneClassSVM sparse", lambda p: compressed(p, make(svm.OneClassSVM, nu=0.3))),
    ("LogisticRegression sparse", lambda p: sparsified(p, lm.LogisticRegression(penalty="l1", C=0.3, solver="liblinear"), 2)),
    ("SGDClassifier sparse", lambda p: sparsified(p, lm.SGDClassifier(penalty="l1", random_state=1), 3)),
    ("NuSVR", lambda p: p.regressor(make(svm.NuSVR, nu=0.4, kernel=p.one("rbf", "sigmoid")))),
    ("OneClassSVM", lambda p: p.regressor(make(svm.OneClassSVM, nu=0.3))),
    ("SGDOneClassSVM", lambda p: p.regressor(lm.SGDOneClassSVM(random_state=1)) if hasattr(lm, "SGDOneClassSVM") else None),
]


def has_log_loss():
    return "log" not in lm.SGDClassifier.loss_functions if hasattr(lm.SGDClassifier, "loss_functions") else True
