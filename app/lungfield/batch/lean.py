"""Imports MONAI without the large packages that it looks for at import and segmenting does not use.

MONAI imports ITK, Matplotlib, ignite, torchvision and others wherever they are installed, which takes
several times as long as MONAI itself. The fork server imports this module before all others, for shipped
bundles alone: those of others may name what needs these packages. They can be imported afterwards, as timm
does with torchvision. OpenVINO is imported after them, where it is installed.
"""

from __future__ import annotations

import importlib.util
import sys

_UNUSED = ("ignite", "itk", "matplotlib", "scipy.signal", "tensorboard", "torchvision")

_hidden = [name for name in _UNUSED if name not in sys.modules]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]  # which says that it cannot be imported
try:
    import monai.bundle  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]

if importlib.util.find_spec("openvino"):
    from lungfield.bundles.backends import openvino

    openvino()
