"""Convolutions in 8-bit integers: what is rounded, what it costs, and which weights the ranges belong to."""

import json

import pytest
import torch
from torch import nn

from lungfield.bundles import find_bundle
from lungfield.bundles.quantization import (
    int8_file,
    measure_ranges,
    quantised,
    read_ranges,
    write_ranges,
)
from lungfield.errors import BundleError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 32, 3, padding=1)).eval()


def test_ranges_are_those_of_the_inputs_of_large_convolutions(network):
    images = [torch.tensor([-1.0, 3.0]).repeat(32, 16)[None, None], torch.zeros(1, 1, 32, 32)]
    found = measure_ranges(network, images, least_share=0.05)
    assert list(found) == ["2"]  # the first has 36 of 1,188 multiplications a pixel
    assert found["2"][0] == 0.0
    everything = measure_ranges(network, images, least_share=0.0)
    assert everything["0"] == (-0.5, 1.5)
    assert everything["2"] == found["2"]
    assert not network[0]._forward_hooks


def test_few_values_are_left_and_they_are_near(network):
    image = torch.rand(1, 1, 64, 64)
    ranges = measure_ranges(network, [image], least_share=0.0)
    rounded = quantised(network, ranges)
    with torch.inference_mode():
        exact, found = network(image), rounded(image)
    error = (exact - found).abs().max() / exact.abs().max()
    assert 0 < error < 0.03
    assert network[2].weight is not rounded[2].convolution.weight  # a copy
    # 64 equal steps on either side at most, which AVX2 can add without an overflow.
    steps = rounded[2].convolution.weight.detach() / rounded[2].steps[:, None, None, None]
    assert float(steps.abs().max()) == pytest.approx(63, abs=0.01)


def test_zero_is_exact_for_inputs_of_either_sign(network):
    for low, high in ((-3.0, 5.0), (1.0, 5.0), (-4.0, -2.0), (0.0, 0.0)):
        rounded = quantised(network, {"0": (low, high)})
        nothing = torch.zeros(1, 1, 4, 4)
        with torch.inference_mode():
            torch.testing.assert_close(rounded[0](nothing), network[0](nothing))


def test_ranges_belong_to_their_weights(bundle_without_ranges):
    assert read_ranges(bundle_without_ranges) == {}
    write_ranges(bundle_without_ranges, {"decoder.3.0.0": (-1.0, 2.5)})
    assert read_ranges(bundle_without_ranges) == {"decoder.3.0.0": (-1.0, 2.5)}
    with bundle_without_ranges.weights.open("ab") as file:
        file.write(b"\0")
    assert read_ranges(find_bundle(bundle_without_ranges.root)) == {}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weights_sha256": "SHA", "inputs": {"a": 1}}'])
def test_a_damaged_file_is_named(bundle_without_ranges, content):
    int8_file(bundle_without_ranges).write_text(content.replace("SHA", bundle_without_ranges.weights_sha256))
    with pytest.raises(BundleError, match=r"int8\.json cannot be used .*calibrate_int8"):
        read_ranges(bundle_without_ranges)


def test_a_convolution_that_is_not_there(network):
    with pytest.raises(BundleError, match=r"no convolution 'decoder\.9'"):
        quantised(network, {"decoder.9": (0.0, 1.0)})
    with pytest.raises(BundleError, match="no convolution '1'"):
        quantised(network, {"1": (0.0, 1.0)})


def test_the_shipped_ranges_belong_to_the_shipped_weights():
    bundle = find_bundle("efficientnet_lite0_unet")
    assert json.loads(int8_file(bundle).read_text())["weights_sha256"] == bundle.weights_sha256
    assert len(read_ranges(bundle)) == 9
