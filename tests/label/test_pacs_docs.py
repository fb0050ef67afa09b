"""The page on MONAI Label with a PACS: its commands, in their order, on free ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import highdicom
import pytest

pytest.importorskip("monailabel", reason="needs MONAI Label: docs/monai-label.md")

from orthanc import MISSING, ORTHANC, free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "monai-label-pacs.md"
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
TIMEOUT_S = 550

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(bool(MISSING), reason=MISSING)]


@pytest.mark.slow
def test_page_works_as_it_is_written(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    for port in ("8042", "4242", "8000"):
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    found = list(BLOCK.finditer(text))
    (configuration,) = [one["text"] for one in found if one["language"] == "json"]
    commands = [one["text"] for one in found if one["why"] == "needs a PACS"]
    assert len(commands) == 5
    (tmp_path / "orthanc.json").write_text(configuration, encoding="utf-8")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    folders = (str(Path(sys.executable).parent), str(Path(ORTHANC).parent), os.environ["PATH"])
    with (tmp_path / "printed.txt").open("w") as output, (tmp_path / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env=os.environ
            | {"PATH": os.pathsep.join(folders), "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            process.wait(TIMEOUT_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
    said = "".join(
        file.read_text()[-2000:]
        for file in (tmp_path / "errors.txt", tmp_path / "label.log")
        if file.exists()
    )
    assert process.returncode == 0, said
    printed = (tmp_path / "printed.txt").read_text()

    mask = highdicom.seg.segread(tmp_path / "lungs.dcm")
    assert [segment.segment_label for segment in mask.SegmentSequence] == ["Right lung", "Left lung"]
    assert '"completed":1' in printed  # the correction counts, the network's mask does not
    # Three objects in the study at the end: of the server, of the annotator, of `lungfield segment`.
    listed = json.loads((tmp_path / "segmentations.json").read_text())
    assert len({series["0020000E"]["Value"][0] for series in listed}) == 3
