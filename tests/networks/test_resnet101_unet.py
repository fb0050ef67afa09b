import torch
from torch.nn import functional

from lungfield.networks import ResNet101UNet


def test_three_up_convolutions_end_at_a_quarter_of_the_size():
    torch.manual_seed(0)
    network = ResNet101UNet(pretrained=False, widths=(32, 16, 8, 4)).eval().requires_grad_(False)
    assert [layer.out_channels for layer in network.decoder.upsampling] == [16, 8, 4]
    made = []
    network.head.register_forward_hook(lambda _, __, logits: made.append(logits))
    logits = network(torch.rand(1, 1, 64, 96))
    assert made[0].shape == (1, 1, 16, 24)
    torch.testing.assert_close(logits, functional.interpolate(made[0], scale_factor=4, mode="bilinear"))
