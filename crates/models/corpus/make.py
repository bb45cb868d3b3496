"""Makes the models that the tests compare with: real scikit-learn, random settings and data.

    python make.py ../tests/corpus

`cargo xtask record --models` runs this once for each requirements-VERSION.txt, each in a virtual environment of its own.
"""

import os
import sys
import warnings
import zlib

import numpy as np
import sklearn

try:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: F401
except ImportError:
    # Until 0.24 it has to be asked for, and 0.20 has none.
    if sklearn.__version__ >= "0.21":
        from sklearn.experimental import enable_hist_gradient_boosting  # noqa: F401

import linear
import meta
import neighbours
import preprocessing
import tables
import text
import trees
from archive import Archive
from data import Problem

warnings.simplefilter("ignore")

# What versions before 0.23 say of estimators, losses and settings that they do not have.
NEWER = ("has no attribute", "is not supported", "Wrong input for parameter `drop`", "is not compatible with the `drop` parameter",
         "Input contains NaN", "is not available when", "unexpected keyword argument", "All intermediate steps should be transformers")

FAMILIES = (linear, trees, neighbours, preprocessing, tables, text, meta)


# Versions between those of which all cases are made: some of each estimator, for files that stay small.
BETWEEN = ("1.0.", "1.2.", "1.4.", "1.6.", "1.8.")


def is_made(version, name, kinds):
    """Whether a version has the case; `kinds` are the estimators that it has so far."""
    kind = name.split()[0]
    first = kind not in kinds
    kinds.add(kind)
    some = first or "missing" in name or zlib.crc32(name.encode()) % 3 == 0
    return some or not version.startswith(BETWEEN)


def is_newer(version, error):
    """Whether the version has not yet what a case needs."""
    return version < "0.23" and any(word in str(error) for word in NEWER)


def main(folder):
    version = sklearn.__version__
    archive = Archive(version)
    wanted = sys.argv[2:]
    failed = []
    kinds = set()
    for family in FAMILIES:
        for name, make in family.CASES:
            if wanted and not any(word in name for word in wanted):
                continue
            if not is_made(version, name, kinds):
                continue
            # A seed of its own for each case, so that a new one leaves the others as they are.
            seed = zlib.crc32(f"{version} {name}".encode())
            rng = np.random.default_rng(seed)
            np.random.seed(seed % 2**32)
            try:
                made = make(Problem(rng))
                if made is not None:
                    archive.add(name, *made, rng)
            except Exception as error:
                if not is_newer(version, error):
                    failed.append(f"{name}: {error!r}")
    path = os.path.join(folder, f"{version}.xz")
    archive.save(path)
    print(f"{archive.count} models, {os.path.getsize(path)} bytes: {path}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main(sys.argv[1])
