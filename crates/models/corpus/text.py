"""Pipelines of text."""

import numpy as np
from sklearn import linear_model as lm
from sklearn import svm
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.svm import LinearSVC

import pandas as pd

WORDS = ("a an the good bad film Movie great awful plot of in it was not very boring brilliant cast acting don't I'd 10 2nd café "
         "Straße naïve ÉTÉ well-made e_mail x λόγος 電影 😀 ok. (really) \"quoted\" İstanbul").split()


def sentence(p, words=WORDS, least=1):
    glue = [" ", "  ", ", ", "\n", "\t", " - "]
    count = p.whole(least, 14)
    return "".join(str(p.rng.choice(words)) + str(p.rng.choice(glue)) for _ in range(count))


def texts(p, model, classes=2):
    X = [sentence(p) for _ in range(40)]
    y = np.array(["bad", "good", "so-so"], dtype=object)[[min(classes - 1, len(x) % classes) for x in X]]
    model.fit(X, y)
    asked = [sentence(p, WORDS + ["unseen", "words"]) for _ in range(8)] + ["", "THE GOOD the good"]
    return model, [asked, asked[1:2]]


def near(p, model, classes=3):
    """Texts long enough that none is as far from a text as another; without classes, a value for each."""
    X = [sentence(p, WORDS, 7) for _ in range(40)]
    y = np.array(["bad", "good", "so-so"])[[len(x) % classes for x in X]] if classes else np.array([len(x) / 7 for x in X])
    model.fit(X, y)
    asked = [sentence(p, WORDS + ["unseen"], 7) for _ in range(8)]
    return model, [asked, asked[1:2]]


def columns(p):
    X = pd.DataFrame({"title": [sentence(p) for _ in range(40)], "body": [sentence(p) for _ in range(40)], "n": p.rng.normal(size=40)})
    model = make_pipeline(
        ColumnTransformer([("t", TfidfVectorizer(), "title"), ("b", CountVectorizer(binary=True), "body")], remainder="passthrough"),
        lm.LogisticRegression(),
    )
    model.fit(X, np.arange(40) % 3)
    return model, [X[3:9], X[:1]]


CASES = [
    ("CountVectorizer", lambda p: texts(p, CountVectorizer())),
    ("CountVectorizer grams", lambda p: texts(p, CountVectorizer(ngram_range=(1, 3), min_df=2))),
    ("CountVectorizer characters", lambda p: texts(p, CountVectorizer(analyzer="char", ngram_range=(2, 3), max_features=60))),
    ("CountVectorizer borders", lambda p: texts(p, CountVectorizer(analyzer="char_wb", ngram_range=(1, 4), max_features=80))),
    ("CountVectorizer accents", lambda p: texts(p, CountVectorizer(strip_accents=p.one("unicode", "ascii"), stop_words="english"))),
    ("CountVectorizer pattern", lambda p: texts(p, CountVectorizer(token_pattern=r"(?u)\b\w+\b", lowercase=False, stop_words=["the", "a"]))),
    ("CountVectorizer LogisticRegression", lambda p: texts(p, make_pipeline(CountVectorizer(), lm.LogisticRegression()))),
    ("CountVectorizer MultinomialNB", lambda p: texts(p, make_pipeline(CountVectorizer(), MultinomialNB()), 3)),
    ("CountVectorizer TfidfTransformer LinearSVC", lambda p: texts(p, make_pipeline(
        CountVectorizer(), TfidfTransformer(sublinear_tf=True), LinearSVC(random_state=1)), 3)),
    ("TfidfVectorizer", lambda p: texts(p, TfidfVectorizer())),
    ("TfidfVectorizer sublinear", lambda p: texts(p, TfidfVectorizer(sublinear_tf=True, norm=p.one("l1", None), smooth_idf=False))),
    ("TfidfVectorizer counts", lambda p: texts(p, TfidfVectorizer(use_idf=False, ngram_range=(1, 2)))),
    ("TfidfVectorizer LogisticRegression", lambda p: texts(p, make_pipeline(TfidfVectorizer(), lm.LogisticRegression()), 3)),
    ("TfidfVectorizer SGDClassifier", lambda p: texts(p, make_pipeline(TfidfVectorizer(), lm.SGDClassifier(random_state=1)), 3)),
    ("TfidfVectorizer SVC", lambda p: texts(p, make_pipeline(TfidfVectorizer(), svm.SVC(kernel=p.one("linear", "rbf"))), 3)),
    ("TfidfVectorizer SVC probability", lambda p: texts(p, make_pipeline(TfidfVectorizer(), svm.SVC(probability=True, random_state=1)), 2)),
    ("TfidfVectorizer NuSVC", lambda p: texts(p, make_pipeline(TfidfVectorizer(), svm.NuSVC(nu=0.2, kernel=p.one("poly", "sigmoid"))), 2)),
    ("TfidfVectorizer OneClassSVM", lambda p: texts(p, make_pipeline(TfidfVectorizer(), svm.OneClassSVM(nu=0.4)))),
    ("HashingVectorizer SVR", lambda p: near(p, make_pipeline(HashingVectorizer(n_features=1 << 14), svm.SVR()), None)),
    ("TfidfVectorizer KNeighborsClassifier", lambda p: near(p, make_pipeline(
        TfidfVectorizer(), KNeighborsClassifier(3, weights=p.one("uniform", "distance"))))),
    ("TfidfVectorizer KNeighborsClassifier cosine", lambda p: near(p, make_pipeline(
        TfidfVectorizer(), KNeighborsClassifier(3, metric="cosine", weights="distance")))),
    ("TfidfVectorizer KNeighborsRegressor", lambda p: near(p, make_pipeline(
        TfidfVectorizer(), KNeighborsRegressor(3, weights="distance")), None)),
    ("TfidfVectorizer NearestCentroid", lambda p: texts(p, make_pipeline(TfidfVectorizer(), NearestCentroid()), 3)),
    ("TfidfVectorizer ComplementNB", lambda p: texts(p, make_pipeline(TfidfVectorizer(), ComplementNB()), 3)),
    ("TfidfVectorizer RandomForestClassifier", lambda p: texts(p, make_pipeline(
        TfidfVectorizer(max_features=30), RandomForestClassifier(n_estimators=4, max_depth=5, random_state=1)), 3)),
    ("TfidfVectorizer TruncatedSVD Ridge", lambda p: texts(p, make_pipeline(
        TfidfVectorizer(), TruncatedSVD(3, random_state=1), lm.RidgeClassifier()), 2)),
    ("HashingVectorizer", lambda p: texts(p, HashingVectorizer(n_features=64))),
    ("HashingVectorizer SGDClassifier", lambda p: texts(p, make_pipeline(
        HashingVectorizer(n_features=256, norm=None, alternate_sign=False), lm.SGDClassifier(random_state=1)), 2)),
    ("FeatureUnion text", lambda p: texts(p, make_pipeline(
        FeatureUnion([("w", TfidfVectorizer()), ("c", CountVectorizer(analyzer="char"))]), lm.LogisticRegression()), 2)),
    ("ColumnTransformer text", columns),
]
