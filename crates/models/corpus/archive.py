"""Writes models, what they were asked and what scikit-learn answered into one compressed file.

The file is xz around cases, one after the other. A case is three parts, each preceded by its length as 32 bits,
little-endian: a JSON header, the model file, and the numbers that the header refers to by offset.
"""

import io
import json
import lzma
import pickle
import struct

import joblib
import numpy as np

METHODS = ("predict", "predict_proba", "decision_function", "transform")

WRITERS = [("joblib", lambda m, f: joblib.dump(m, f))] * 3
WRITERS += [(f"joblib {name}", lambda m, f, name=name: joblib.dump(m, f, compress=(name, 3)))
            for name in ("zlib", "gzip", "bz2", "xz", "lzma", "lz4")]
WRITERS += [(f"pickle {n}", lambda m, f, n=n: f.write(pickle.dumps(m, protocol=n))) for n in range(min(5, pickle.HIGHEST_PROTOCOL) + 1)]


class Archive:
    def __init__(self, version):
        self.version = version
        self.out = bytearray()
        self.count = 0

    def add(self, name, model, inputs, rng):
        """Asks the model about each input, and keeps the answers."""
        writing, write = WRITERS[rng.integers(len(WRITERS))]
        file = io.BytesIO()
        write(model, file)
        self.keep(name, writing, file.getvalue(), model, inputs)

    def keep(self, name, writing, file, model, inputs):
        """Asks the model that is written in the file."""
        numbers = bytearray()
        asked = []
        for given in inputs:
            answers = {}
            for method in METHODS:
                if method == "transform" and answers:
                    continue
                if not hasattr(model, method):
                    continue
                said = getattr(model, method)(given)
                # The probabilities of several outputs are a table for each, for which no server has an answer.
                if not isinstance(said, list):
                    answers[method] = answer(said, numbers, method)
            asked.append({"input": describe(given, numbers), "answers": answers})
        header = {"name": name, "writing": writing, "asked": asked}
        for part in (json.dumps(header, separators=(",", ":")).encode(), file, bytes(numbers)):
            self.out += struct.pack("<I", len(part)) + part
        self.count += 1

    def save(self, path):
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
        with open(path, "wb") as out:
            out.write(lzma.compress(bytes(self.out), format=lzma.FORMAT_XZ, filters=filters))


def blob(values, numbers):
    values = np.asarray(values)
    single = values.dtype == np.float32
    values = np.ascontiguousarray(values, dtype="<f4" if single else "<f8")
    at = len(numbers)
    numbers += values.tobytes()
    return {"at": at, "shape": list(values.shape), "single": bool(single)}


def answer(values, numbers, method):
    if hasattr(values, "toarray"):
        values = values.toarray()
    values = np.asarray(values)
    if method == "transform" and values.dtype.kind in "bi":
        values = values.astype(float)
    if method == "transform" and values.ndim == 1:
        values = values.reshape(-1, 1)
    if values.dtype.kind == "f":
        return {"numbers": blob(values, numbers)}
    return {"labels": [cell(value) for value in values.ravel()], "dtype": str(values.dtype), "shape": list(values.shape)}


def cell(value):
    """JSON of one value; NaN, which JSON has not, is an empty list."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value != value:
        return []
    return value


def describe(given, numbers):
    if isinstance(given, list):
        return {"texts": given}
    if isinstance(given, np.ndarray) and given.dtype.kind in "biuf":
        return {"matrix": blob(given, numbers)}
    if isinstance(given, np.ndarray):
        columns = [(None, given[:, index]) for index in range(given.shape[1])]
    else:
        columns = [(str(name), given[name].to_numpy()) for name in given.columns]
    return {"table": [column(name, values, numbers) for name, values in columns]}


def column(name, values, numbers):
    if values.dtype.kind in "biuf":
        return {"name": name, "numbers": blob(values, numbers)}
    return {"name": name, "cells": [cell(value) for value in values]}
