"""`--tracking mlflow` with MLflow itself; CI installs it after all other tests."""

import pytest

from lungfield.bundles import find_bundle

SMALL = {"image_size": "[64,64]", "num_workers": 0, "max_epochs": 2, "tracking": "mlflow"}


@pytest.mark.slow
@pytest.mark.parametrize("own_place", [False, True])
def test_a_training_is_tracked(own_place, tiny_dataset, run_bundle, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install '.[mlflow]'")
    database = tmp_path / ("all.db" if own_place else "out/mlruns.db")
    settings = {"tracking_uri": f"sqlite:///{database}", "experiment_name": "lungs"} if own_place else {}
    done = run_bundle(
        "training",
        cwd=tmp_path,
        config_file=find_bundle("unet").root / "configs" / "train.yaml",
        dataset_dir=tiny_dataset,
        output_dir="out",
        run_name="first",
        **settings,
        **SMALL,
    )
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("lungs" if own_place else "monai_experiment")
    (run,) = client.search_runs(experiment.experiment_id)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert {"train_loss", "train_mean_dice", "val_mean_dice", "val_mean_iou"} <= run.data.metrics.keys()
    assert len(client.get_metric_history(run.info.run_id, "val_mean_dice")) == 2
    (config,) = client.list_artifacts(run.info.run_id)
    assert config.path.startswith("config_")
    assert (tmp_path / "out" / config.path).is_file()
