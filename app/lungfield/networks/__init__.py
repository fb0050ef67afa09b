"""The papers' networks, one architecture a file: (N, 1, H, W) radiographs in, logits of the same size out."""

from lungfield.networks.unet import UNet

__all__ = ["UNet"]
