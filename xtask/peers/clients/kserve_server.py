"""KServe's server over a folder of models: what its sklearnserver does in repository mode."""

import os

import joblib
from kserve import Model, ModelServer, model_server
from kserve.errors import InferenceError
from kserve.model_repository import ModelRepository
from kserve.utils.utils import get_predict_input, get_predict_response


class Sklearn(Model):
    """A model file that joblib can read."""

    def __init__(self, name, folder):
        super().__init__(name)
        self.folder = folder

    def load(self):
        self._model = joblib.load(os.path.join(self.folder, "model.joblib"))
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        try:
            return get_predict_response(payload, self._model.predict(get_predict_input(payload)), self.name)
        except Exception as error:
            raise InferenceError(str(error))


class Folder(ModelRepository):
    """A model for each folder."""

    def __init__(self, models_dir):
        super().__init__(models_dir)
        self.load_models()

    async def load(self, name):
        return self.load_model(name)

    def load_model(self, name):
        model = Sklearn(name, os.path.join(self.models_dir, name))
        if model.load():
            self.update(model)
        return model.ready


if __name__ == "__main__":
    parser = model_server.argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--model_dir", required=True)
    arguments, _ = parser.parse_known_args()
    ModelServer(registered_models=Folder(arguments.model_dir)).start([])
