"""The site is built without a complaint, and opens from a folder, without a network, wide and narrow."""

import subprocess
import sys

import pytest
from pages import ROOT

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site):
    from lungfield.bundles import BUNDLES

    for name in (
        "index",
        "commands",
        "CHANGELOG",
        "results/all-seven",
        "notebooks/segment",
        "notebooks/fine_tuning",
        *(f"bundles/{b}/docs/index" for b in BUNDLES),
    ):
        assert (site / f"{name}.html").is_file(), name
    assert (site / "bundles/unet/docs/training/metrics.csv").is_file()


def test_commands_are_those_of_the_command_line(site):
    import typer

    from lungfield.cli.main import app

    text = (site / "commands.html").read_text(encoding="utf-8")
    command = typer.main.get_command(app)
    for name, one in command.commands.items():
        assert f"lungfield {name}" in text
        for option in (
            option for parameter in one.params for option in parameter.opts if option.startswith("--")
        ):
            assert option in text, f"{name} {option}"


def test_remarks_for_tests_are_left_out(site):
    assert "not run:" not in (site / "training.html").read_text(encoding="utf-8")


@pytest.fixture
def opened(chromium):
    """A function that opens a page; what it complains of, or asks of a network, fails the test."""
    complaints, contexts = [], []

    def open_page(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(  # the next address aborts what still loads
            "requestfailed",
            lambda request: request.failure == "net::ERR_ABORTED" or complaints.append(request.url),
        )
        page.on("request", lambda one: one.url.startswith(("file:", "data:")) or complaints.append(one.url))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def test_every_page_fits_on_a_phone_and_shows_its_pictures(site, opened):
    page = opened(viewport=PHONE)
    for file in sorted(site.rglob("*.html")):
        if file.name == "404.html":
            continue
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], file
        assert page.evaluate("[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)") == [], (
            file
        )
        assert page.locator("h1").count() == 1, file


def test_colours_follow_the_system_and_the_switch(site, opened):
    def brightness(page):
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.strip("rgb()").split(",")[:3]) / 765

    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    for page in (light, dark):
        page.goto((site / "index.html").as_uri())
    assert brightness(light) > 0.9
    assert brightness(dark) < 0.2
    light.locator("label[title=Dark]").click()
    light.wait_for_function("document.body.dataset.mdColorScheme === 'slate'")


def test_search_works_from_a_folder(site, opened):
    page = opened(viewport=WIDE)
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.locator(".md-search__input").press_sequentially("checkpoint")
    result = page.locator(".md-search-result__link").first
    result.wait_for()
    assert result.get_attribute("href").startswith(site.as_uri())
