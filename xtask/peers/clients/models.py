"""Trains the models that clients ask about: a folder for each below the one that is named."""

import json
import os
import sys

import joblib
import numpy as np
import pandas as pd
from sklearn import datasets, svm
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def write(name, model, **more):
    folder = os.path.join(sys.argv[1], name)
    os.makedirs(folder, exist_ok=True)
    joblib.dump(model, os.path.join(folder, "model.joblib"))
    parameters = {"uri": "./model.joblib", **more}
    settings = {"name": name, "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
    with open(os.path.join(folder, "model-settings.json"), "w") as file:
        json.dump(settings, file)


X, y = datasets.load_iris(return_X_y=True)
write("iris", svm.SVC(gamma="scale").fit(X, y), version="v1")
# Coefficients that are exact, so that a last digit says something about the input.
price = LinearRegression()
price.coef_, price.intercept_, price.n_features_in_ = np.array([1.0, 2.0, 0.5, -1.0]), 0.25, 4
write("price", price)
texts = ["a good film", "good plot", "a bad film", "very bad"]
write("words", make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["+", "+", "-", "-"]))
frame = pd.DataFrame({"colour": ["red", "blue", "green"] * 8, "size": [1.0, 2.0, None, 4.0, 5.0, 6.0] * 4})
columns = ColumnTransformer([
    ("text", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
    ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["size"]),
])
warm = ["warm" if colour == "red" else "cold" for colour in frame["colour"]]
write("mixed", make_pipeline(columns, LogisticRegression()).fit(frame, warm))
