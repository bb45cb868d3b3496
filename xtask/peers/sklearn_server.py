"""The peer of the benchmark: a scikit-learn model behind KServe's own server.

KServe does not publish its sklearnserver as a package. This is the same code
path: kserve.ModelServer with a kserve.Model that loads with joblib and predicts
on the instances of the request.
"""

import argparse
from typing import Dict, Optional, Union

import joblib
from sklearn import datasets, svm

from kserve import InferRequest, InferResponse, Model, ModelServer, model_server
from kserve.errors import InferenceError
from kserve.utils.utils import get_predict_input, get_predict_response


class SKLearnModel(Model):
    """A model file that joblib can read."""

    def __init__(self, name: str, path: str):
        super().__init__(name)
        self.path = path
        self.ready = False

    def load(self) -> bool:
        self._model = joblib.load(self.path)
        self.ready = True
        return self.ready

    def predict(
        self,
        payload: Union[Dict, InferRequest],
        headers: Optional[Dict[str, str]] = None,
        response_headers: Optional[Dict[str, str]] = None,
    ) -> Union[Dict, InferResponse]:
        try:
            instances = get_predict_input(payload)
            return get_predict_response(payload, self._model.predict(instances), self.name)
        except Exception as error:
            raise InferenceError(str(error))


def train(path: str) -> None:
    """Writes the model of KServe's first example: an SVC of the iris data."""
    features, classes = datasets.load_iris(return_X_y=True)
    joblib.dump(svm.SVC(gamma="scale").fit(features, classes), path)


parser = argparse.ArgumentParser(parents=[model_server.parser])
parser.add_argument("--model_file", required=True, help="a file that joblib can read")
parser.add_argument("--train", action="store_true", help="write the file and end")

if __name__ == "__main__":
    args, _ = parser.parse_known_args()
    if args.train:
        train(args.model_file)
    else:
        model = SKLearnModel(args.model_name, args.model_file)
        model.load()
        ModelServer().start([model])
