"""The report as a browser shows it: opened from the file system, in a headless Chromium."""

import csv

import numpy as np
import pytest
from PIL import Image

from lungfield.export import save_overlay, save_preview
from lungfield.export.report import write_report
from lungfield.mask import Agreement, Regions, summarise
from lungfield.records import Radiograph

DONE = 130
HOSTILE = "<img src=x onerror=alert(1)>.png"
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
# As `make_rows` has them: flagged or not, then by Dice (falling) or confidence (rising).
WORST = sorted(range(DONE), key=lambda n: (n % 10 > 0, 1 - n / 1000 if n >= 100 else n / DONE))


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


@pytest.fixture(scope="module")
def complaints():
    """What pages complain of or ask for; each test empties it."""
    return []


@pytest.fixture(scope="module")
def new_page(chromium, complaints):
    """A function that makes a page in a new context, in which nothing is stored."""

    def new(**options):
        page = chromium.new_context(viewport=WIDE, **options).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url),
        )
        # Going to another address aborts pictures that still load.
        page.on(
            "requestfailed",
            lambda request: request.failure == "net::ERR_ABORTED" or complaints.append(request.url),
        )
        return page

    return new


@pytest.fixture(scope="module")
def shared_page(new_page):
    """Another context takes Chromium a second of CPU."""
    return new_page()


@pytest.fixture
def opened(report, new_page, shared_page, complaints):
    """A function that opens the report; whatever the page then complains of or asks for fails the test.

    With options of a context it opens it in a new one, else in the page that the tests share.
    """
    others = []

    def open_page(path=report, address="", viewport=WIDE, **options):
        page = new_page(**options) if options else shared_page
        if options:
            others.append(page)
        page.set_viewport_size(viewport)
        page.goto("about:blank")  # else another address of the same file would not load it again
        page.goto(path.as_uri() + address)
        return page

    yield open_page
    for page in others:
        page.context.close()
    if "file:" in shared_page.url and shared_page.evaluate("localStorage.length"):
        shared_page.evaluate("localStorage.clear()")
        shared_page.wait_for_timeout(500)  # Chromium passes that on to other processes a little later
    found = complaints[:]
    complaints.clear()
    assert found == []


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
    # Those with flags come before all others.
    flagged = range(0, DONE, 10)
    assert names(page) == study(*WORST[:60])
    assert names(page)[: len(flagged)] == study(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 120, 110, 100)
    assert page.locator("svg[role=img]").count() == len(page.locator("figure").all()) > 3


def test_embedded_and_neighbouring_pictures_both_show(opened):
    page = opened()
    loaded = "() => [...document.querySelectorAll('img.thumbnail')].every((image) => image.naturalWidth > 0)"
    page.wait_for_function(loaded)
    assert page.locator("img.thumbnail").first.get_attribute("src").startswith("data:image/webp;base64,")
    sources = "() => [...document.querySelectorAll('img.thumbnail')].map((image) => image.src.slice(0, 5))"
    page.click("[data-page=next]")
    assert page.evaluate(sources)[:20] == ["data:"] * 20  # they follow the script in the page
    page = opened(address="#files?page=2")
    assert page.evaluate(sources)[:20] == ["data:"] * 20
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
    areas = sorted(((n * 37) % 101 for n in range(1, DONE)), reverse=True)
    assert [int(name[6:9]) * 37 % 101 for name in names(page)[:60]] == areas[:60]
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
    page.click("a[href*='flag=one-lung']")
    assert found(page) == "13 of 133 files"
    assert page.input_value("#flag") == "one-lung"
    page.click("a[href*='reason=other-view']")
    assert names(page) == ["y.dcm"]


def test_pages(opened):
    page = opened()
    assert page.locator("#page").inner_text() == "Page 1 of 3"
    assert page.is_disabled("[data-page=previous]")
    page.click("[data-page=next]")
    assert names(page) == study(*WORST[60:120])
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
    assert (name.inner_text(), place.inner_text()) == ("study/010.dcm", "2 of 130")
    # The overlay itself takes the place of the thumbnail.
    page.wait_for_function("() => document.querySelector('img.large').naturalWidth === 300")
    page.keyboard.press("ArrowRight")
    assert name.inner_text() == "study/020.dcm"
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
    page.wait_for_function("() => document.activeElement.querySelector('.name')?.title === 'study/010.dcm'")
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
    light, dark = background(opened()), opened(color_scheme="dark")
    assert light == "rgb(246, 247, 248)"
    assert background(dark) == "rgb(20, 23, 26)"
    dark.click("#theme")
    assert background(dark) == light
    assert dark.inner_text("#theme") == "Dark"
    dark.wait_for_timeout(500)  # Chromium passes what a page stores on to other processes a little later
    dark.reload()
    assert background(dark) == light
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


def test_figures_at_the_top_lead_to_their_files_by_mouse_and_keyboard(opened):
    page = opened()
    page.locator(".cards .failed").click()
    assert names(page) == [HOSTILE, "x.dcm"]
    page.locator(".cards .flagged a").focus()
    page.keyboard.press("Enter")
    assert found(page) == "13 of 133 files"
    page.go_back()
    page.wait_for_function("() => document.querySelector('#found').innerText === '2 of 133 files'")
    assert page.locator(".cards a").count() == page.locator(".cards > div").count() == 7


def test_the_address_keeps_the_choice(opened):
    page = opened()
    page.select_option("#flag", "one-lung")
    page.select_option("#sort", "confidence")
    page.click("#direction")
    page.fill("#search", "study")
    page.get_by_label("Table").check(force=True)
    page.wait_for_function("() => location.hash.includes('view=table')")
    address = page.evaluate("location.hash")
    assert names(page) == study(*range(120, -1, -10))
    again = opened(address=address)
    assert names(again) == study(*range(120, -1, -10))
    assert [again.input_value(f"#{name}") for name in ("flag", "sort", "search")] == [
        "one-lung",
        "confidence",
        "study",
    ]
    again.locator("#results .name").nth(3).click()
    again.wait_for_function("() => location.hash.includes('file=')")
    third = opened(address=again.evaluate("location.hash"))
    assert third.locator("#viewer-name").inner_text() == "study/090.dcm"
    assert found(opened(address="#files?status=all&flag=nonsense&sort=x&page=-3&view=y")) == "0 of 133 files"
    assert found(opened(address="#summary")) == "130 of 133 files"


def test_a_click_anywhere_in_a_row_of_the_table(opened):
    page = opened()
    page.get_by_label("Table").check(force=True)
    page.locator("#results tbody tr").nth(1).locator("td").last.click()
    assert page.locator("#viewer-name").inner_text() == "study/010.dcm"


def downloaded(page, button, path):
    with page.expect_download() as download:
        page.click(button)
    download.value.save_as(path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        return download.value.suggested_filename, list(csv.DictReader(file))


def test_the_list_that_is_shown_is_saved(opened, tmp_path):
    page = opened()
    page.get_by_label("All 133").check(force=True)
    page.select_option("#flag", "touches-border")
    name, rows = downloaded(page, "#save-list", tmp_path / "list.csv")
    assert name == "list.csv"
    assert [row["file"] for row in rows] == names(page) == study(0, 20, 40, 60, 80, 120, 100)
    assert rows[0]["flags"] == "one-lung touches-border"
    assert float(rows[0]["right_lung_area_px"]) == 1000
    page.select_option("#flag", "")
    page.get_by_label("Failed 2").check(force=True)
    _, rows = downloaded(page, "#save-list", tmp_path / "list.csv")
    assert [row["file"] for row in rows] == [HOSTILE, "x.dcm"]


def test_a_review_is_kept_saved_and_loaded(opened, tmp_path):
    page = opened()
    assert page.is_disabled("#save-review")
    page.locator(".card").first.click()
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    page.click("#rejected")
    assert page.get_attribute("#rejected", "aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")
    page.keyboard.press("r")  # taken back
    page.keyboard.press("Escape")
    page.locator(".card .verdict.rejected").wait_for()
    page.wait_for_function("() => !location.hash.includes('file=')")  # else the reloaded page shows the file
    page.reload()
    assert page.locator(".verdict").all_inner_texts() == ["✓ accepted", "✗ rejected"]
    page.select_option("#review", "rejected")
    assert names(page) == study(10)
    page.select_option("#review", "none")
    assert found(page) == "128 of 133 files"
    name, rows = downloaded(page, "#save-review", tmp_path / "review.csv")
    assert name == "review.csv"
    assert [(row["file"], row["verdict"]) for row in rows] == [
        ("study/000.dcm", "accepted"),
        ("study/010.dcm", "rejected"),
    ]
    other = opened(color_scheme="dark")  # another browser
    assert other.is_disabled("#save-review")
    other.set_input_files("#review-file", tmp_path / "review.csv")
    other.wait_for_function("() => document.querySelector('#review-status').innerText.includes('2 files')")
    assert other.locator(".verdict").all_inner_texts() == ["✓ accepted", "✗ rejected"]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    other.set_input_files("#review-file", tmp_path / "other.csv")
    other.wait_for_function(
        "() => document.querySelector('#review-status').innerText.includes('no saved review')"
    )


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """The path of a report of one grey radiograph, 300 x 200, whose left half is lung, the reference less."""
    folder = tmp_path_factory.mktemp("layered")
    label_map = np.zeros((200, 300), np.uint8)
    label_map[50:150, 50:150] = 1
    reference = np.zeros_like(label_map)
    reference[50:150, 50:120] = 1
    radiograph = Radiograph(folder / "a.png", np.full((200, 300), 0.5, np.float32))
    save_overlay(radiograph, Regions(label_map), folder / "a.jpg")
    save_preview(radiograph, Regions(label_map), folder / "a.svg", reference=reference)
    row = {"file": "a.png", "status": "done", "dice": 0.8, "overlay": "a.jpg", "preview": "a.svg"}
    write_report(folder / "report.html", summary={}, rows=[row], overlay_root=folder)
    return folder / "report.html"


@pytest.fixture
def enlarged(opened, layered):
    page = opened(layered)
    page.locator(".card").click()
    page.wait_for_function(
        "() => document.querySelectorAll('.layer').length === 2"
        " && [...document.querySelectorAll('.sheet img')].every((image) => image.naturalWidth === 300)"
    )
    return page


def seen(page, tmp_path):
    """The picture as the screen shows it, at a place of the radiograph in its pixels."""
    page.wait_for_timeout(100)
    page.locator(".sheet").screenshot(path=tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    scale = pixels.shape[1] / 300

    def strongest(x, y):
        """The colour within two pixels that is farthest from grey, or from the grey of the picture."""
        row, column = round(y * scale), round(x * scale)
        near = pixels[row - 12 : row + 13, column - 3 : column + 4].reshape(-1, 3)
        return near[np.abs(near - pixels[5, 5]).sum(axis=1).argmax()].tolist()

    return strongest


def test_layers_lie_on_the_picture_and_can_be_switched(enlarged, tmp_path):
    colour = seen(enlarged, tmp_path)
    assert colour(50, 100)[2] > 200 > 100 > colour(50, 100)[0]  # blue, the right lung
    assert min(colour(120, 100)) > 230  # white dashes, the reference
    assert max(abs(level - 128) for level in colour(90, 100)) < 5  # no fill
    enlarged.keyboard.press("c")
    colour = seen(enlarged, tmp_path)
    assert max(abs(level - 128) for level in colour(150, 100)) < 5
    assert min(colour(120, 100)) > 230
    enlarged.click("#show-reference")
    assert max(abs(level - 128) for level in seen(enlarged, tmp_path)(120, 100)) < 5
    enlarged.click("#show-contours")
    enlarged.locator("#opacity").fill("0.5")
    assert 40 < seen(enlarged, tmp_path)(150, 100)[0] < 110


def test_window_and_level(enlarged, tmp_path):
    enlarged.locator("#level").fill("0.6")
    enlarged.locator("#window").fill("0.5")
    # (0.5 - 0.6) / 0.5 + 0.5 = 0.3
    assert abs(seen(enlarged, tmp_path)(20, 20)[0] - 0.3 * 255) < 4
    enlarged.locator("#level").focus()
    enlarged.keyboard.press("ArrowLeft")  # of the control, not of the files
    assert enlarged.input_value("#level") == "0.59"
    enlarged.click("#looks-reset")
    assert abs(seen(enlarged, tmp_path)(20, 20)[0] - 128) < 4


def test_zoom_by_keys_wheel_and_drag(enlarged):
    width = "document.querySelector('.sheet').offsetWidth"
    place = "(() => { const s = document.querySelector('.stage'); return [s.scrollLeft, s.scrollTop]; })()"
    fits = enlarged.evaluate(width)
    assert fits <= enlarged.evaluate("document.querySelector('.stage').clientWidth")
    enlarged.keyboard.press("+")
    enlarged.keyboard.press("+")
    assert abs(enlarged.evaluate(width) / fits - 2.25) < 0.01
    assert enlarged.inner_text("#zoom") == "225 %"
    box = enlarged.locator(".stage").bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    under = (
        "([x, y]) => { const b = document.querySelector('.sheet').getBoundingClientRect();"
        " return [(x - b.left) / b.width, (y - b.top) / b.height]; }"
    )
    before = enlarged.evaluate(under, [x, y])
    enlarged.mouse.move(x, y)
    enlarged.mouse.wheel(0, -300)
    enlarged.wait_for_function("() => document.querySelector('#zoom').innerText !== '225 %'")
    assert enlarged.evaluate(under, [x, y]) == pytest.approx(before, abs=0.01)
    start = enlarged.evaluate(place)
    enlarged.mouse.down()
    enlarged.mouse.move(x - 40, y - 30, steps=4)
    enlarged.mouse.up()
    moved = enlarged.evaluate(place)
    assert [b - a for a, b in zip(start, moved, strict=True)] == pytest.approx([40, 30], abs=2)
    enlarged.keyboard.press("0")
    assert enlarged.evaluate(width) == fits


def test_a_preview_that_has_gone_leaves_the_overlay(opened, tmp_path, chromium):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.jpg")
    row = {"file": "a.dcm", "status": "done", "overlay": "a.jpg", "preview": "gone.svg"}
    write_report(tmp_path / "report.html", summary={}, rows=[row], overlay_root=tmp_path)
    page = chromium.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.locator(".card").click()
    page.wait_for_function("() => document.querySelector('img.large')?.naturalWidth === 300")
    assert not page.is_visible("#layers")
    page.close()
