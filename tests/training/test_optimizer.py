import torch

from lungfield.networks import AmalgamatedUNet, EfficientNetLite0UNet, UNet
from lungfield.training import parameter_groups


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
