"""OHIF, a real viewer, on what the node has sent to Orthanc: it lists all, and shows the lungs."""

import io

import numpy as np
import pydicom
import pytest
import requests
from ohif import UnavailableError, download_ohif, served_ohif
from peers import radiograph, running_node
from PIL import Image

from orthanc import MISSING, free_port, running_orthanc
from soaking.outcome import wait_until_ended

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]
LIMIT_MS = 120_000
BOTH_LUNGS = """services.segmentationService.getSegmentations()
  .flatMap(one => Object.values(one.segments)).map(one => one.label).join() == 'Right lung,Left lung'"""


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """The folder of the built viewer."""
    try:
        return download_ohif(tmp_path_factory.mktemp("ohif"))
    except UnavailableError as error:
        pytest.skip(str(error))


def test_ohif_lists_the_results_and_lays_both_lungs_on_the_radiograph(tmp_path, viewer, chromium_with_webgl):
    path = radiograph(tmp_path, sample="01_dx_explicit.dcm")
    study = pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID
    port = free_port()
    with running_orthanc(tmp_path, modalities={"node": ["LUNGFIELD", "127.0.0.1", port]}) as archive:
        with running_node(tmp_path / "node", archive=archive, port=port, viewer_geometry=True) as node:
            kept = requests.post(f"{archive.url}/instances", data=path.read_bytes(), timeout=60).json()
            requests.post(f"{archive.url}/modalities/node/store", data=kept["ID"], timeout=60)
            assert wait_until_ended(node.state, 100)
        with served_ohif(viewer, archive.url) as url:
            page = chromium_with_webgl.new_page(viewport={"width": 1200, "height": 800})
            errors = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
            page.goto(f"{url}/viewer?StudyInstanceUIDs={study}", timeout=LIMIT_MS)
            _click(page.get_by_text("Skip all"))  # the tour
            modalities = page.locator("[data-cy=series-modality-label]")
            page.wait_for_function(
                "document.querySelectorAll('[data-cy=series-modality-label]').length == 4", timeout=LIMIT_MS
            )
            assert sorted(modalities.all_inner_texts()) == ["DX", "OT", "SEG", "SR"]
            before = _shown(page)
            assert before.std() > 20  # the radiograph

            seg = page.locator("[data-cy=study-browser-thumbnail-no-image]", has_text="SEG")
            seg.dblclick(timeout=LIMIT_MS)
            _click(page.get_by_text("Yes", exact=True))  # to take the segmentation up
            page.wait_for_function(BOTH_LUNGS, timeout=LIMIT_MS)
            page.wait_for_function("!document.body.innerText.includes('Loading SEG')", timeout=LIMIT_MS)
            page.wait_for_timeout(1000)
            page.screenshot(path=tmp_path / "ohif.png")
            shown = _shown(page)
            blue, orange = (_where(shown, colour) for colour in ((0, 2), (2, 0)))
            # The right lung, in blue, is on the left of the picture.
            assert min(blue.mean(), orange.mean()) > 0.05
            assert np.nonzero(blue)[1].mean() < np.nonzero(orange)[1].mean()
            assert errors == []


def _click(button):
    button.first.wait_for(timeout=LIMIT_MS)
    button.first.click()


def _shown(page):
    """(H, W, 3) of the viewport."""
    picture = page.locator("[data-cy=viewport-pane]").first.screenshot()
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def _where(picture, colour):
    more, less = colour
    return picture[..., less] - picture[..., more] > 60
