"""A MONAI Label server with the bundles: segment radiographs, correct the masks, train on the corrections.

`lungfield.label.main` is the app that MONAI Label loads. Importing this package needs no MONAI Label; it only
prepares what MONAI Label needs beside pydicom 3.
"""

from lungfield.label.compatibility import let_pydicom_seg_import

# Here, because MONAI Label imports pydicom-seg, and whatever starts the server imports this package first.
let_pydicom_seg_import()
