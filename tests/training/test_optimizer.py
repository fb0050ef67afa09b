from copy import deepcopy

import pytest
import torch

from lungfield.errors import BundleError
from lungfield.networks import AmalgamatedUNet, EfficientNetLite0UNet, UNet
from lungfield.training import parameter_groups, train_parts


def test_encoders_with_weights_learn_more_slowly():
    network = EfficientNetLite0UNet(pretrained=False)
    new, learnt = parameter_groups(network, 0.01, 0.4)
    assert (new["lr"], learnt["lr"]) == (0.01, 0.004)
    assert {id(one) for one in learnt["params"]} == {id(one) for one in network.encoder.parameters()}
    assert len(new["params"]) + len(learnt["params"]) == len(list(network.parameters()))
    torch.optim.AdamW([new, learnt])


def test_both_encoders_of_the_amalgamated_network_do():
    with torch.device("meta"):
        network = AmalgamatedUNet(pretrained=False)
    _, learnt = parameter_groups(network, 0.01, 0.4)
    encoders = [*network.mobilenetv2.parameters(), *network.inceptionresnetv2.parameters()]
    assert len(learnt["params"]) == len(encoders)


def test_a_network_from_scratch_has_one_group():
    network = UNet(features=(4, 8))
    (group,) = parameter_groups(network, 0.01, 0.4)
    assert [id(one) for one in group["params"]] == [id(one) for one in network.parameters()]


def test_parts_can_be_trained_alone():
    network = EfficientNetLite0UNet(pretrained=False, further_channels=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copied = deepcopy(train_parts(network, ["further"]))  # as for the moving average
    groups = parameter_groups(network, 0.01, 0.4)
    assert sum(len(group["params"]) for group in groups) == len(list(network.further.parameters()))
    optimizer = torch.optim.AdamW(groups)
    copied.train()(torch.rand(2, 1, 64, 64)).sum().backward()
    for _ in range(2):  # what starts at zero passes no gradient in the first step
        network.train()(torch.rand(2, 1, 64, 64)).sum().backward()
        optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("further.")}
    changed = {name for name, value in copied.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith("further.") for name in changed)


def test_parts_that_are_not_there():
    network = UNet(features=(4, 8))
    assert train_parts(network, None) is network
    with pytest.raises(BundleError, match="no part 'further' to train: choose"):
        train_parts(network, ["further"])
