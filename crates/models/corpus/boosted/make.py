"""Makes models of a real gradient boosting library with what its boosters answer.

    python make.py ../../tests/boosted

`cargo xtask record --models` runs this once for each requirements-LIBRARY-VERSION.txt; the library is the one that is installed.
"""

import importlib.util
import os
import sys
import warnings
import zlib

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from archive import Archive  # noqa: E402

warnings.simplefilter("ignore")


class Problem:
    """Random rows with missing values, and categories in the first columns."""

    def __init__(self, rng):
        self.rng = rng
        self.rows = int(rng.integers(150, 300))
        self.columns = int(rng.integers(3, 9))
        self.categories = int(rng.integers(0, 3)) if rng.random() < 0.5 else 0
        self.kinds = rng.integers(3, 50, size=self.columns)
        self.gaps = rng.random() < 0.5
        self.x = self.sample(self.rows)
        filled = np.nan_to_num(self.x)
        self.sum = filled @ rng.normal(size=self.columns) + filled[:, 0] % 3 + np.sin(filled[:, -1])
        self.sum = (self.sum - self.sum.mean()) / (self.sum.std() + 1e-9)

    def sample(self, rows):
        x = self.rng.normal(size=(rows, self.columns)) * self.rng.choice([0.1, 1.0, 100.0])
        x[:, -1] = self.rng.integers(-2, 3, size=rows)
        for column in range(self.categories):
            x[:, column] = self.rng.integers(0, self.kinds[column], size=rows)
        if self.gaps:
            x[self.rng.random(x.shape) < 0.1] = np.nan
        return x

    def inputs(self):
        """Rows seen and not seen, in both precisions, one row alone; categories that are none."""
        new = self.sample(20)
        for column in range(self.categories):
            new[:4, column] = [-1.0, 1000.0, 0.5, 2.5]
        new[5] = 0.0
        new[6] = np.nan
        return [np.vstack([self.x[:8], new]), new.astype(np.float32), new[7:8]]


def library():
    """The module here that makes models of the library."""
    installed = [name for name in ("xgboost", "lightgbm", "catboost") if importlib.util.find_spec(name)]
    return importlib.import_module("wrapped" if len(installed) > 1 else f"{installed[0]}s")


def main(folder):
    made_by = library()
    archive = Archive(made_by.VERSION)
    failed = []
    for name, make in made_by.CASES:
        seed = zlib.crc32(f"{made_by.VERSION} {name}".encode())
        try:
            made = make(Problem(np.random.default_rng(seed)))
            if made is not None:
                archive.keep(name, *made)
        except Exception as error:
            failed.append(f"{name}: {error!r}")
    path = os.path.join(folder, f"{made_by.VERSION}.xz")
    archive.save(path)
    print(f"{archive.count} models, {os.path.getsize(path)} bytes: {path}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main(sys.argv[1])
