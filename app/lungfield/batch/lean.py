"""Import MONAI without the large optional packages that segmentation does not use.

MONAI imports ITK, Matplotlib, ignite, pandas, torchvision and others if they are installed, which takes
several times as long as MONAI itself. The fork server imports this module first, but only for shipped
bundles: other bundles may need these packages. They can still be imported later, as timm does with
torchvision. OpenVINO is imported last, if it is installed.
"""

from __future__ import annotations

import gc
import importlib.util
import sys

gc.disable()  # until `lungfield.batch.preloaded` has imported the rest

_UNUSED = (
    "bs4",
    "huggingface_hub",
    "ignite",
    "itk",
    "jsonschema",
    "matplotlib",
    "nibabel",
    "pandas",
    "requests",
    "scipy.optimize",
    "scipy.signal",
    "scipy.sparse",
    "scipy.spatial",
    "skimage",
    "tensorboard",
    "torchvision",
)

_hidden = [name for name in _UNUSED if name not in sys.modules]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]  # makes the import raise ImportError
try:
    import monai.bundle  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]

if importlib.util.find_spec("openvino"):
    from lungfield.bundles.backends import openvino

    openvino()
