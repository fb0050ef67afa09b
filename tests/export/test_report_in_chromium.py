"""The report as a browser shows it: opened from the file system, in a headless Chromium."""

import pytest
from PIL import Image

from lungfield.export.report import write_report
from lungfield.mask import Agreement, summarise

DONE = 130
HOSTILE = "<img src=x onerror=alert(1)>.png"
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def make_rows(folder):
    """130 files that are done, each with an overlay of 300 x 200 pixels, two that failed, one skipped."""
    (folder / "overlays").mkdir()
    rows, agreements = [], []
    for n in range(DONE):
        overlay = f"overlays/{n:03d} #1.jpg"
        Image.new("RGB", (300, 200), (n, 100, 200)).save(folder / overlay)
        agreements.append(Agreement(1 - n / 1000, 0.8, 0.9, 0.9, 0.9, 0.9, 1.0, 1.0, "mm"))
        rows.append(
            {
                "file": f"study/{n:03d}.dcm",
                "status": "done",
                "flags": ["one-lung"] * (n % 10 == 0) + ["touches-border"] * (n % 20 == 0),
                "confidence": n / DONE,
                "right_lung_area_px": 1000 + n,
                "total_area_px": (n * 37) % 101 if n else None,
                "overlay": overlay,
                **(vars(agreements[-1]) if n >= 100 else {}),
            }
        )
    rows += [
        {"file": HOSTILE, "status": "failed", "reason_code": "damaged", "reason": HOSTILE},
        {"file": "x.dcm", "status": "failed", "reason_code": "over-limit", "reason": "too large"},
        {"file": "y.dcm", "status": "skipped", "reason_code": "other-view", "reason": "a lateral view"},
    ]
    summary = {"bundle": "unet", "seconds": 9.0, "agreement": summarise(agreements[100:])}
    return rows, summary


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The path of a report with 133 files, a third of whose thumbnails are not embedded."""
    folder = tmp_path_factory.mktemp("report")
    rows, summary = make_rows(folder)
    path = folder / "report.html"
    write_report(path, summary=summary, rows=rows, overlay_root=folder, budget_bytes=0)
    bare = path.stat().st_size
    write_report(path, summary=summary, rows=rows, overlay_root=folder)
    budget = bare + (path.stat().st_size - bare) * 2 // 3
    write_report(path, summary=summary, rows=rows, overlay_root=folder, budget_bytes=budget)
    return path


@pytest.fixture
def opened(chromium, report):
    """A function that opens the report; whatever the page then complains of or asks for fails the test."""
    complaints = []
    contexts = []

    def open_page(path=report, **options):
        context = chromium.new_context(**{"viewport": WIDE} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url),
        )
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def names(page):
    return [text.strip() for text in page.locator("#results .name").all_inner_texts()]


def study(*numbers):
    return [f"study/{n:03d}.dcm" for n in numbers]


def found(page):
    return page.locator("#found").inner_text()


def test_it_opens_with_the_worst_first(opened):
    page = opened()
    assert page.title() == "Lung fields: report of 133 files"
    assert page.evaluate("document.compatMode") == "CSS1Compat"
    assert found(page) == "130 of 133 files"
    # Their confidence rises from 0 to 0.46; the lowest Dice, of the last of all files, is 0.871.
    assert names(page) == study(*range(60))
    assert page.locator("svg[role=img]").count() == len(page.locator("figure").all()) > 3


def test_embedded_and_neighbouring_pictures_both_show(opened):
    page = opened()
    loaded = "() => [...document.querySelectorAll('img.thumbnail')].every((image) => image.naturalWidth > 0)"
    page.wait_for_function(loaded)
    assert page.locator("img.thumbnail").first.get_attribute("src").startswith("data:image/webp;base64,")
    page.click("[data-page=last]")
    last = page.locator("img.thumbnail").last
    assert last.get_attribute("src").startswith("overlays/")
    assert last.get_attribute("loading") == "lazy"
    last.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('img.thumbnail')].at(-1).naturalWidth === 300"
    )
    assert all(image.get_attribute("alt") for image in page.locator("img").all())


def test_sorting(opened):
    page = opened()
    page.select_option("#sort", "right_lung_area_px")
    assert names(page)[:3] == study(0, 1, 2)
    page.click("#direction")
    assert page.get_attribute("#direction", "aria-pressed") == "true"
    assert names(page)[:3] == study(129, 128, 127)
    page.select_option("#sort", "total_area_px")
    order = sorted(range(1, DONE), key=lambda n: -((n * 37) % 101))
    assert names(page)[:60] == study(*order[:60])
    # A file without the figure stands at the end, upwards and downwards.
    page.click("[data-page=last]")
    assert names(page)[-1] == "study/000.dcm"
    page.click("#direction")
    page.click("[data-page=last]")
    assert names(page)[-1] == "study/000.dcm"


def test_filters(opened):
    page = opened()
    page.get_by_label("Failed 2").check(force=True)
    assert names(page) == [HOSTILE, "x.dcm"]
    page.select_option("#reason", "over-limit")
    assert names(page) == ["x.dcm"]
    page.get_by_label("Skipped 1").check(force=True)
    assert page.get_by_text("No file matches.").is_visible()
    page.click("text=Show all files")
    assert found(page) == "133 files"
    page.select_option("#flag", "touches-border")
    assert names(page) == study(0, 20, 40, 60, 80, 120, 100)
    page.fill("#search", "STUDY/1")
    assert names(page) == study(120, 100)
    page.select_option("#flag", "-")
    assert found(page) == "27 of 133 files"


def test_codes_in_the_summary_lead_to_their_files(opened):
    page = opened()
    page.click("a[data-flag='one-lung']")
    assert found(page) == "13 of 133 files"
    assert page.input_value("#flag") == "one-lung"
    page.click("a[data-reason='other-view']")
    assert names(page) == ["y.dcm"]


def test_pages(opened):
    page = opened()
    assert page.locator("#page").inner_text() == "Page 1 of 3"
    assert page.is_disabled("[data-page=previous]")
    page.click("[data-page=next]")
    assert names(page)[0] == "study/060.dcm"
    page.click("[data-page=last]")
    assert page.locator("#page").inner_text() == "Page 3 of 3"
    assert len(names(page)) == 10
    assert page.is_disabled("[data-page=next]")
    page.fill("#search", "study/00")
    assert not page.is_visible("#pages")
    assert len(names(page)) == 10


def test_the_viewer_and_its_keys(opened):
    page = opened()
    page.locator(".card").nth(1).click()
    name, place = page.locator("#viewer-name"), page.locator("#viewer-place")
    assert (name.inner_text(), place.inner_text()) == ("study/001.dcm", "2 of 130")
    # The overlay itself takes the place of the thumbnail.
    page.wait_for_function("() => document.querySelector('img.large').naturalWidth === 300")
    page.keyboard.press("ArrowRight")
    assert name.inner_text() == "study/002.dcm"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert (name.inner_text(), place.inner_text()) == ("study/000.dcm", "1 of 130")
    assert page.is_disabled("#viewer-previous")
    assert "one-lung" in page.locator("#viewer-body").inner_text()
    assert "1,000" in page.locator("#viewer-body table").inner_text()
    page.keyboard.press("End")
    assert place.inner_text() == "130 of 130"
    page.click("#viewer-previous")
    last = name.inner_text()
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")
    # The list has moved on to the file that was seen last, and the keyboard is there, as soon as the page
    # hears from the browser that the dialog has ended.
    page.wait_for_function("() => document.querySelector('#page').innerText !== 'Page 1 of 3'")
    assert page.locator("#page").inner_text() == "Page 3 of 3"
    assert page.evaluate("document.activeElement.querySelector('.name').title") == last


def test_the_keyboard_alone_is_enough(opened):
    page = opened()
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    assert page.is_visible("#viewer")
    assert page.evaluate("document.getElementById('viewer').contains(document.activeElement)")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    # As a function: the page forbids the evaluation of strings, which a second look would need.
    page.wait_for_function("() => document.activeElement.querySelector('.name')?.title === 'study/001.dcm'")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_names_do_no_harm(opened):
    page = opened()
    page.get_by_label("Failed 2").check(force=True)
    page.locator(".card").first.click()
    assert page.locator("#viewer-name").inner_text() == HOSTILE
    assert HOSTILE in page.locator("#viewer-body").inner_text()
    assert page.locator("img[src=x]").count() == 0
    page.keyboard.press("Escape")
    page.get_by_label("Table").check(force=True)
    assert names(page)[0] == HOSTILE


def test_table(opened):
    page = opened()
    page.get_by_label("Table").check(force=True)
    heads = [text.strip() for text in page.locator("#results thead th").all_inner_texts()]
    assert heads[:4] == ["File", "Status", "Flags", "Confidence"]
    assert "Reason code" not in heads  # none of the files that are shown has one
    assert "Recall" not in heads
    page.check("#all-columns")
    assert "Recall" in page.locator("#results thead").inner_text()
    page.click("[data-sort=confidence]")
    page.click("[data-sort=confidence]")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Confidence")
    assert names(page)[:2] == study(129, 128)
    assert page.input_value("#sort") == "confidence"
    page.locator("#results .name").nth(1).click()
    assert page.locator("#viewer-name").inner_text() == "study/128.dcm"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_light_and_dark(opened):
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    assert background(light) == "rgb(246, 247, 248)"
    assert background(dark) == "rgb(20, 23, 26)"
    dark.click("#theme")
    assert background(dark) == background(light)
    assert dark.inner_text("#theme") == "Dark"
    dark.reload()
    assert background(dark) == background(light)
    dark.click("#theme")
    assert background(dark) == "rgb(20, 23, 26)"
    dark.emulate_media(media="print")
    assert dark.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert not dark.is_visible("#controls")


@pytest.mark.parametrize("show", ["Gallery", "Table"])
def test_a_phone_shows_all_of_its_width(opened, show):
    page = opened(viewport=PHONE)
    page.get_by_label(show).check(force=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.locator("#results button.name, .card").first.click()
    assert page.evaluate("document.getElementById('viewer').scrollWidth") == PHONE["width"]


def test_pictures_that_have_gone_are_named_so(chromium, tmp_path):
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    row = {"file": "a.dcm", "status": "done", "overlay": "a.jpg"}
    path = tmp_path / "report.html"
    write_report(path, summary={}, rows=[row], overlay_root=tmp_path, budget_bytes=0)
    (tmp_path / "a.jpg").unlink()
    page = chromium.new_page()
    page.goto(path.as_uri())
    page.locator(".thumbnail.missing", has_text="No picture").wait_for()
    page.close()


def test_ten_thousand_files(opened, tmp_path):
    rows = (
        {"file": f"{n:05d}.dcm", "status": "done", "confidence": (n * 7919 % 10_000) / 10_000}
        for n in range(10_000)
    )
    write_report(tmp_path / "report.html", summary={}, rows=rows, overlay_root=tmp_path)
    page = opened(tmp_path / "report.html")
    assert page.locator("#page").inner_text() == "Page 1 of 167"
    assert page.locator(".card").count() == 60
    page.select_option("#sort", "file")
    page.click("#direction")
    assert names(page)[0] == "09999.dcm"
    page.fill("#search", "01234")
    assert names(page) == ["01234.dcm"]


def test_without_javascript_the_summary_is_there(opened):
    page = opened(java_script_enabled=False)
    assert "results.csv" in page.locator("noscript").inner_text()
    assert page.locator("table").first.is_visible()
    assert not page.is_visible("#controls")
