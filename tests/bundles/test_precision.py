import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer

from lungfield.bundles.precision import PrecisionInferer, best_precision


class Spy(torch.nn.Module):
    def forward(self, image):
        self.seen = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3), padding=1)


@pytest.mark.parametrize("inferer", [SimpleInferer(), SlidingWindowInferer(roi_size=(16, 16))])
def test_bfloat16_within_and_float32_out(inferer):
    spy, image = Spy(), torch.rand(1, 1, 16, 16)
    logits = PrecisionInferer(inferer, "bfloat16")(image, spy)
    assert spy.seen == (True, torch.bfloat16)
    assert logits.dtype == torch.float32
    exact = PrecisionInferer(inferer, "float32")(image, spy)
    assert spy.seen[0] is False
    torch.testing.assert_close(logits, exact, rtol=0.02, atol=0.02)


def test_auto_asks_the_device():
    assert best_precision(torch.device("cpu")) in ("bfloat16", "float32")
    assert best_precision(torch.device("meta")) == "float32"


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="int8"):
        PrecisionInferer(SimpleInferer(), "int8")
