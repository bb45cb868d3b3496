"""Makes models in files of skops with what they answer when skops has loaded them again.

    python make.py ../../tests/skops

`cargo xtask record --models` runs this once for each requirements-SKOPS+SKLEARN.txt. The estimators are those of the pickles;
some of them are enough in each version, since what differs between versions of scikit-learn is compared there.
"""

import importlib.util
import inspect
import os
import sys
import warnings
import zipfile
import zlib

import numpy as np
import sklearn
import skops
import skops.io

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "boosted")]
import linear  # noqa: E402
import meta  # noqa: E402
import neighbours  # noqa: E402
import preprocessing  # noqa: E402
import tables  # noqa: E402
import text  # noqa: E402
import trees  # noqa: E402
from archive import Archive  # noqa: E402
from data import Problem  # noqa: E402

warnings.simplefilter("ignore")

VERSION = f"{skops.__version__}+{sklearn.__version__}"
# Every second case, or every third.
STEP = 2 if VERSION.startswith("0.16") else 3
COMPRESSIONS = {"stored": zipfile.ZIP_STORED, "deflate": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
CHOOSES = "compression" in inspect.signature(skops.io.dumps).parameters


def cases():
    for family in (linear, trees, neighbours, preprocessing, tables, text, meta):
        for name, make in family.CASES:
            if zlib.crc32(f"{VERSION} {name}".encode()) % STEP == 0:
                yield name, lambda rng, make=make: make(Problem(rng))
    if importlib.util.find_spec("xgboost"):
        import wrapped

        spec = importlib.util.spec_from_file_location("boosted", os.path.join(HERE, "..", "boosted", "make.py"))
        boosted = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(boosted)
        for name, make in wrapped.CASES[::2]:
            yield name, lambda rng, make=make: unwritten(make(boosted.Problem(rng)))


def unwritten(made):
    """Model and rows of a case that was written as a pickle."""
    return None if made is None else made[2:]


def dumped(model, rng):
    if not CHOOSES:
        return "stored", skops.io.dumps(model)
    name = str(rng.choice(["stored"] * 6 + ["deflate", "deflate", "bzip2", "lzma"]))
    return name, skops.io.dumps(model, compression=COMPRESSIONS[name])


def loaded(data):
    trusted = skops.io.get_untrusted_types(data=data)
    return skops.io.loads(data, trusted=trusted)


def fitted(name, make, attempt=0):
    """A case and its generator. Random data may have too few rows of a class for a cross-validation: then there is other data."""
    seed = zlib.crc32(f"{VERSION} {name}{' again' * attempt}".encode())
    rng = np.random.default_rng(seed)
    np.random.seed(seed % 2**32)
    try:
        return make(rng), rng
    except ValueError:
        if attempt == 2:
            raise
        return fitted(name, make, attempt + 1)


def main(folder):
    archive = Archive(VERSION)
    failed, refused = [], []
    for name, make in cases():
        try:
            made, rng = fitted(name, make)
        except Exception as error:
            failed.append(f"{name}: {error!r}")
            continue
        if made is None:
            continue
        model, inputs = made
        try:
            writing, data = dumped(model, rng)
            again = loaded(data)
            archive.keep(name, writing, data, again, inputs)
        except Exception as error:
            # What skops itself does not write, or not read again.
            refused.append(f"{name}: {type(error).__name__} {str(error)[:100]}")
    path = os.path.join(folder, f"{VERSION}.xz")
    archive.save(path)
    print(f"{archive.count} models, {os.path.getsize(path)} bytes: {path}")
    print(f"skops does not keep {len(refused)}:", *refused, sep="\n  ")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main(sys.argv[1])
