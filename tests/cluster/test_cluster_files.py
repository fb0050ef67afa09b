"""The files in deploy/ are what Ray and Kubernetes take, and their commands exist."""

import json
import shlex
from pathlib import Path

import jsonschema
import pytest
import typer
import yaml

from lungfield.cli.main import app

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_cluster_is_as_ray_wants_it():
    ray = pytest.importorskip("ray")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert any("127.0.0.1" in command for command in cluster["head_start_ray_commands"])


def test_the_job_calls_what_there_is():
    job = yaml.safe_load((DEPLOY / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    _, name, *words = shlex.split(job["spec"]["entrypoint"])
    context = typer.main.get_command(app).commands[name].make_context(name, words)
    assert context.params["engine"] == "ray"
    for group in [
        job["spec"]["rayClusterSpec"]["headGroupSpec"],
        *job["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"].startswith("registry.example.org/lungfield:")
