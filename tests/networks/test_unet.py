import pytest
import torch

from lungfield.networks import UNet


def test_has_the_parameters_of_the_papers_table():
    assert sum(parameter.numel() for parameter in UNet().parameters()) == 7_759_521


def test_first_layers_match_the_papers_table():
    convolutions = [module for module in UNet().encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    counts = [sum(parameter.numel() for parameter in one.parameters()) for one in convolutions]
    assert counts[:6] == [320, 9248, 18496, 36928, 73856, 147584]


def test_padding_leaves_the_inside_alone():
    """A size that does not divide is padded at the bottom and right only."""
    network = UNet(features=(4, 8), norm=None).eval()
    image = torch.rand(1, 1, 33, 35)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(image, [0, 1, 0, 1], mode="replicate")
        torch.testing.assert_close(network(image), network(padded)[..., :33, :35])


def test_refuses_what_it_cannot_build():
    with pytest.raises(ValueError, match="two levels"):
        UNet(features=(32,))
    with pytest.raises(ValueError, match="norm must be"):
        UNet(norm="layer")


@pytest.mark.filterwarnings("ignore")
def test_onnx_takes_any_size(export_to_onnx):
    """Padding and cropping stay in the exported graph."""
    torch.manual_seed(0)
    network = UNet(features=(4, 8)).eval().requires_grad_(False)
    run = export_to_onnx(network, torch.rand(2, 1, 32, 48), any_size=True)
    for size in [(32, 32), (33, 51)]:
        image = torch.rand(3, 1, *size)
        torch.testing.assert_close(run(image), network(image), rtol=1e-3, atol=1e-4)
