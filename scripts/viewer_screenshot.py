"""Take a screenshot of a mask in OHIF, the viewer of a MONAI Label server at /ohif.

The server must serve a DICOMweb archive in which the study has a DICOM SEG; see docs/monai-label-pacs.md.
Needs Playwright (`pip install playwright`) and Chromium.

    python scripts/viewer_screenshot.py http://127.0.0.1:8000 STUDY_INSTANCE_UID picture.png
"""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import typer
from PIL import Image
from playwright.sync_api import Page, sync_playwright

# Software rendering of OHIF's WebGL, without a GPU; the other options keep Chromium off the network.
CHROMIUM = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
LOADING_MS = 180_000
DRAWING_MS = 5_000
COLOURS = 255


def open_mask(page: Page, server: str, study: str) -> None:
    """Open a study and lay its newest segmentation on its radiograph."""
    page.goto(f"{server}/ohif/viewer?StudyInstanceUIDs={study}")
    page.click("[data-cy=confirm-and-hide-button]")
    # Wait for the first image, as an earlier double click would be lost.
    page.wait_for_function("document.querySelector('.cornerstone-canvas')?.width > 300")
    page.dblclick("[data-cy=study-browser-thumbnail-no-image] >> nth=0")
    page.get_by_role("button", name="Yes").click()
    page.click("[data-cy=panelSegmentation-btn]")
    page.get_by_text("Left lung").first.wait_for()
    page.wait_for_timeout(DRAWING_MS)


def main(
    server: str = typer.Argument(help="Such as http://127.0.0.1:8000."),
    study: str = typer.Argument(help="StudyInstanceUID."),
    picture: Path = typer.Argument(help="PNG file to write."),
    chromium: str = typer.Option(shutil.which("chromium"), help="Its program."),
) -> None:
    """Take the picture."""
    host = urlsplit(server).netloc
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(LOADING_MS)
        # OHIF waits for a font from the internet, which cannot be reached.
        page.route("**/*", lambda route: route.continue_() if host in route.request.url else route.abort())
        open_mask(page, server.rstrip("/"), study)
        page.screenshot(path=picture)
        browser.close()
    # A palette is enough for a grey picture with two colours on it, and a quarter of the size.
    Image.open(picture).quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    typer.run(main)
