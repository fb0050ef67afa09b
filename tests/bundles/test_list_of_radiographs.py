import numpy as np
import pytest
from PIL import Image

from lungfield.bundles.radiographs import list_radiographs, name_to_save
from lungfield.errors import DataError


def test_list_of_radiographs_leaves_out_what_cannot_be_used(tmp_path, make_dicom, picture, caplog):
    make_dicom(tmp_path / "good.dcm", picture)
    make_dicom(tmp_path / "lateral.dcm", picture, ViewPosition="LL")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "out").mkdir()
    Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80)).save(tmp_path / "out" / "earlier.png")
    found = list_radiographs(tmp_path, tmp_path / "out")
    assert found == [{"image": str(tmp_path / "good.dcm")}]
    assert {text.split()[0] for text in caplog.messages} == {"skipped:", "failed:"}
    assert "lateral.dcm" in caplog.text
    (tmp_path / "good.dcm").unlink()
    (tmp_path / "out" / "earlier.png").unlink()
    with pytest.raises(DataError, match="1 skipped, 1 failed"):
        list_radiographs(tmp_path, tmp_path / "out")


def test_masks_that_would_have_one_name_are_refused(tmp_path, make_dicom, picture):
    for name in ("1.2.840.1", "1.2.840.2", "a.dcm"):
        make_dicom(tmp_path / name, picture)
    assert len(list_radiographs(tmp_path, tmp_path / "out")) == 3
    saved = {name_to_save({"filename_or_obj": f"/x/{name}"}, None)["subject"] for name in ("1.2", "1.3")}
    assert saved == {"/x/1.2.png", "/x/1.3.png"}
    make_dicom(tmp_path / "a.dicom", picture)
    with pytest.raises(DataError, match="the same name"):
        list_radiographs(tmp_path, tmp_path / "out")
