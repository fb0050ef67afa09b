import pytest
import torch

from lungfield.bundles.weights import load_weights
from lungfield.errors import BundleError


def test_weights_must_fit(tmp_path):
    network = torch.nn.Linear(3, 2)
    load_weights(network, None)
    torch.save({"network": {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}}, tmp_path / "whole.pt")
    load_weights(network, tmp_path / "whole.pt")
    assert torch.equal(network.weight, torch.ones(2, 3))
    (tmp_path / "models").mkdir()
    torch.save({"weight": torch.full((2, 3), 2.0), "bias": torch.zeros(2)}, tmp_path / "models" / "model.pt")
    load_weights(network, "shipped", bundle_root=tmp_path)
    assert torch.equal(network.weight, torch.full((2, 3), 2.0))
    torch.save({"weight": torch.ones(5, 3), "bias": torch.zeros(5)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("not weights")
    for name, message in [("other.pt", "Linear"), ("text.pt", "text.pt"), ("none.pt", "missing")]:
        with pytest.raises(BundleError, match=message):
            load_weights(network, tmp_path / name)


def test_weights_never_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BundleError):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "evil.pt")
    assert not (tmp_path / "written").exists()
