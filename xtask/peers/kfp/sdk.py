"""What notebooks and programs do with the SDK of Kubeflow Pipelines: sdk.py HOW HOST SECRET FOLDER."""

import pathlib
import sys
import warnings

warnings.simplefilter("ignore")

import kfp
import kfp_server_api
from kfp import compiler, dsl
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

how, host, secret, folder = sys.argv[1:]
given = {
    # A browser's session, as its user copies it.
    "cookie": lambda: {"cookies": secret},
    "token": lambda: {"existing_token": secret},
    # The token that the kubelet projects into a notebook's pod.
    "volume": lambda: {"credentials": ServiceAccountTokenVolumeCredentials(path=secret)},
}
client = kfp.Client(host=host, namespace="team-a", **given[how]())


@dsl.component(base_image="python:3.11")
def add(a: int, b: int) -> int:
    return a + b


@dsl.pipeline(name="sum")
def total(a: int = 1):
    add(a=a, b=2)


try:
    experiments = client.list_experiments(namespace="team-a")
except kfp_server_api.ApiException as refused:
    print(f"refused with {refused.status}: {refused.body}")
    sys.exit(0)
assert [e.display_name for e in experiments.experiments] == ["Default"], experiments
assert client.get_kfp_healthz(sleep_duration=0).multi_user is True
pipelines = client.list_pipelines(namespace="team-a")
assert pipelines.total_size == 1 and pipelines.pipelines[0].display_name == "iris", pipelines
made = client.create_experiment("new", namespace="team-a")
assert made.experiment_id == "made", made
package = pathlib.Path(folder) / "sum.yaml"
compiler.Compiler().compile(total, str(package))
sent = client.upload_pipeline(str(package), pipeline_name="sum", namespace="team-a")
assert sent.pipeline_id == "sent", sent
run = client.run_pipeline("made", "first", pipeline_package_path=str(package))
assert run.run_id == "begun", run
print("works")
