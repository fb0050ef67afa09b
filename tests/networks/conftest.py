import onnxruntime
import pytest
import torch


@pytest.fixture
def export_to_onnx(tmp_path):
    """Return `export(module, example, *, any_size)`, which gives a function that runs the module in ONNX.

    With `any_size` the batch, height and width are dynamic. That takes the exporter several times as long,
    so whole networks are tested at one size, and what they are made of at any.
    """

    def export(module, example, *, any_size=False):
        torch.onnx.export(
            module,
            (example,),
            tmp_path / "module.onnx",
            dynamo=True,
            optimize=False,
            dynamic_shapes=(dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),) if any_size else None,
            input_names=["image"],
            verbose=False,
        )
        session = onnxruntime.InferenceSession(tmp_path / "module.onnx", providers=["CPUExecutionProvider"])
        return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])

    return export
