"""The page on MONAI Label with a PACS: its commands, in their order, on free ports."""

from __future__ import annotations

import json

import highdicom
import pytest

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

from orthanc import MISSING
from pacs_pages import ROOT, on_free_ports, pacs_commands, run_with_orthanc

PAGE = ROOT / "docs" / "monai-label-pacs.md"
TIMEOUT_S = 550

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.mark.slow
def test_page_works_as_it_is_written(tmp_path):
    text = on_free_ports(PAGE.read_text(encoding="utf-8"), "8042", "4242", "8000")
    commands = pacs_commands(text)
    assert len(commands) == 5
    printed = run_with_orthanc(text, commands, tmp_path, timeout_s=TIMEOUT_S, logs=["label.log"])

    mask = highdicom.seg.segread(tmp_path / "lungs.dcm")
    assert [segment.segment_label for segment in mask.SegmentSequence] == ["Right lung", "Left lung"]
    assert '"completed":1' in printed  # the correction counts, the network's mask does not
    # Three objects in the study at the end: of the server, of the annotator, of `lungfield segment`.
    listed = json.loads((tmp_path / "segmentations.json").read_text())
    assert len({series["0020000E"]["Value"][0] for series in listed}) == 3
