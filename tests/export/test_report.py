import base64
import hashlib
import io
import json
import math
import re
import time
from html.parser import HTMLParser

import pytest
from PIL import Image

from lungfield.errors import OutputError, Reason
from lungfield.export.report import DISCLAIMER, FLAGS, REASONS, write_report
from lungfield.export.report.columns import describe
from lungfield.export.report.histograms import histogram
from lungfield.export.report.page import _asset, _duration, _moment, _rate
from lungfield.mask import Agreement, summarise
from lungfield.mask.quality import Flag
from lungfield.names import shown

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(1)</script>.dcm",
    "<!--<script>.dcm",
    "\"'&amp;{{ 7 * 7 }}.dcm",
    "line\u2028and\u2029paragraph.dcm",
    "Müller_胸.dcm",
)
VOID = {"meta", "link", "input", "br", "img"}
SUMMARY = {"bundle": "unet", "bundle_version": "0.1.0", "seconds": 10.0}


class Page(HTMLParser):
    """A parsed page: its elements with their attributes and their text, and what is wrong with its tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.errors = [], [], []
        self.feed(text)
        self.close()
        self.errors += [f"<{element['tag']}> is never closed" for element in self.open]

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "within": [one["tag"] for one in self.open]}
        if len(attrs) != len(element["attrs"]):
            self.errors.append(f"<{tag}> has an attribute twice")
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1]["tag"] != tag:
            self.errors.append(f"</{tag}> closes nothing at line {self.getpos()[0]}")
        else:
            self.open.pop()
            self.handle_data(" " * (tag in {"td", "th"}))  # cells are words of their own

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def by_id(self, name):
        (found,) = [element for element in self.elements if element["attrs"].get("id") == name]
        return found

    @property
    def data(self):
        return json.loads(self.by_id("data")["text"])

    @property
    def thumbnails(self):
        return [
            one for part in ("thumbnails", "more-thumbnails") for one in json.loads(self.by_id(part)["text"])
        ]

    def column(self, name):
        place = [column["name"] for column in self.data["columns"]].index(name)
        return [row[place] for row in self.data["rows"]]


@pytest.fixture
def report(tmp_path):
    """A function that writes a report and gives back its text."""

    def write(rows, summary=SUMMARY, **options):
        path = tmp_path / "report.html"
        write_report(path, **{"summary": summary, "rows": rows, "overlay_root": tmp_path} | options)
        return path.read_text("utf-8")

    return write


def done(file, **values):
    return {"file": file, "status": "done", "flags": [], **values}


def save_overlay(folder, name, colour=(90, 90, 90), size=(400, 300)):
    path = folder / "overlays" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, format="JPEG")
    return f"overlays/{name}"


def mixed_rows():
    compared = Agreement(0.9, 0.82, 0.9, 0.95, 0.91, 0.89, 4.0, 1.0, "mm")
    return [
        done("a.dcm", confidence=0.9, right_lung_area_px=10, right_lung_area_mm2=2.5, **vars(compared)),
        done("b.dcm", confidence=0.3, flags=["one-lung", "area-small"], warnings="no pixel spacing"),
        done("c.dcm", confidence=0.8, flags=["one-lung"]),
        {"file": "d.dcm", "status": "skipped", "reason_code": "other-view", "reason": "a lateral view"},
        {"file": "e.dcm", "status": "failed", "reason_code": "damaged", "reason": "ends after 7 bytes"},
        {"file": "f.dcm", "status": "failed", "reason_code": "damaged", "reason": "ends after 8 bytes"},
    ]


def test_page_is_well_formed_and_labelled(report):
    page = Page(report(mixed_rows()))
    assert page.errors == []
    assert page.all("html")[0]["attrs"]["lang"] == "en"
    ids = [element["attrs"]["id"] for element in page.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        for name in ("aria-labelledby", "for"):
            assert element["attrs"].get(name, ids[0]) in ids
        if element["tag"] == "a":
            # What follows the name of a section is the choice of files that a link stands for.
            assert element["attrs"]["href"].removeprefix("#").partition("?")[0] in ids
    assert len(page.all("h1")) == 1
    assert all(svg["attrs"].get("aria-label") or "aria-hidden" in svg["attrs"] for svg in page.all("svg"))
    # The header row of every table says what its columns are.
    assert all(cell["attrs"]["scope"] in {"col", "row"} for cell in page.all("th"))


@pytest.mark.parametrize(
    ("given", "legend"),
    [
        ({}, ["Right lung", "Left lung"]),
        (
            {"bundle_structures": ["lungs", "heart", "clavicles"]},
            ["Right lung", "Left lung", "Heart", "Right clavicle", "Left clavicle"],
        ),
    ],
)
def test_the_legend_names_every_contour(report, given, legend):
    found = re.search(r'<p class="legend">(.*?)</p>', report(mixed_rows(), summary=SUMMARY | given))
    assert [name.strip() for name in re.findall(r"</span>([^<]+)", found[1])] == legend


def test_nothing_is_loaded_from_anywhere(report):
    page = Page(report(mixed_rows()))
    addresses = [
        value
        for element in page.elements
        for name, value in element["attrs"].items()
        if name in {"src", "href"}
    ]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    styles, scripts = page.all("style"), page.all("script")
    assert not re.search(r"url\((?!#)|@import|//", styles[0]["text"])
    for script in scripts:
        assert not re.search(r"https?:|fetch\(|XMLHttpRequest|innerHTML|eval\(", script["text"])


def test_only_the_page_s_own_script_and_style_may_run(report):
    page = Page(report(mixed_rows()))
    (policy,) = [m["attrs"]["content"] for m in page.all("meta") if "http-equiv" in m["attrs"]]
    assert "default-src 'none'" in policy
    for tag in ("style", "script"):
        inline = [one for one in page.all(tag) if one["attrs"].get("type") != "application/json"]
        assert len(inline) == {"style": 1, "script": 2}[tag]
        digests = [hashlib.sha256(one["text"].encode()).digest() for one in inline]
        allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
        assert f"{tag}-src {allowed};" in policy


def test_names_of_files_stay_text(report):
    rows = [done(name, reason_code=name, flags=[name], warnings=name) for name in HOSTILE]
    text = report(rows, summary=SUMMARY | {"bundle": HOSTILE[0], "settings": {HOSTILE[1]: HOSTILE[0]}})
    page = Page(text)
    assert page.errors == []
    assert page.column("file") == list(map(shown, HOSTILE))
    assert page.column("flags") == [[shown(name)] for name in HOSTILE]
    assert len(page.all("script")) == 5
    assert page.all("img") == []
    assert not any(attribute.startswith("on") for one in page.elements for attribute in one["attrs"])
    assert "<img" not in page.by_id("data")["text"]
    assert "\u2028" not in page.by_id("data")["text"]
    assert any(HOSTILE[0] in cell["text"] for cell in page.all("dd"))


def test_bytes_of_a_name_that_are_no_text_are_escaped(tmp_path, report):
    name = b"caf\xe9 #1?.jpg".decode("utf-8", "surrogateescape")
    page = Page(report([done(name, overlay=save_overlay(tmp_path, name))]))
    assert page.column("file") == ["caf\\xe9 #1?.jpg"]
    assert page.column("overlay") == ["overlays/caf%E9%20%231%3F.jpg"]


def test_an_output_s_path_never_becomes_a_scheme(report):
    page = Page(report([done("a.dcm", mask="javascript:alert(1)")]))
    assert page.column("mask") == ["javascript%3Aalert%281%29"]


def test_worst_files_come_first(report):
    rows = [
        done("good", confidence=0.99),
        {"file": "skipped", "status": "skipped"},
        done("dice before confidence", confidence=0.01, dice=0.95),
        done("unsure", confidence=0.4),
        done("neither", confidence=math.nan),
        done("flagged, with neither", flags=["odd-shape"]),
        {"file": "failed", "status": "failed"},
        done("off", dice=0.2),
    ]
    page = Page(report(rows))
    assert page.column("file") == [
        "failed",
        "flagged, with neither",
        "off",
        "unsure",
        "dice before confidence",
        "good",
        "neither",
        "skipped",
    ]
    assert page.column("input") == [7, 6, 8, 4, 3, 1, 5, 2]


def test_thumbnails_follow_their_rows(tmp_path, report):
    colours = {"worst": (200, 0, 0), "middle": (0, 200, 0), "best": (0, 0, 200)}
    rows = [
        done(
            name,
            confidence=confidence,
            overlay=save_overlay(tmp_path, f"a/{name}.jpg", colours[name], (900, 1200)),
        )
        for name, confidence in (("best", 0.9), ("worst", 0.1), ("middle", 0.5))
    ]
    page = Page(report(rows))
    assert page.column("file") == ["worst", "middle", "best"]
    assert page.column("overlay") == ["overlays/a/worst.jpg", "overlays/a/middle.jpg", "overlays/a/best.jpg"]
    for name, thumbnail in zip(page.column("file"), page.thumbnails, strict=True):
        with Image.open(io.BytesIO(base64.b64decode(thumbnail))) as picture:
            assert (picture.format, picture.size) == ("WEBP", (180, 240))
            shown = picture.convert("RGB").getpixel((90, 120))
            assert all(abs(a - b) < 12 for a, b in zip(shown, colours[name], strict=True))


def test_a_missing_or_damaged_overlay_is_no_obstacle(tmp_path, report):
    whole = save_overlay(tmp_path, "whole.jpg")
    (tmp_path / "overlays" / "cut.jpg").write_bytes((tmp_path / whole).read_bytes()[:300])
    (tmp_path / "overlays" / "folder.jpg").mkdir()
    names = ("whole.jpg", "cut.jpg", "folder.jpg", "absent.jpg")
    page = Page(
        report([done(name, overlay=f"overlays/{name}") for name in names] + [done("none", overlay="")])
    )
    assert [bool(one) for one in page.thumbnails] == [True, False, False, False, False]
    assert page.column("overlay") == [whole, "overlays/cut.jpg", None, None, None]


def test_the_page_keeps_to_its_budget(tmp_path, report):
    noise = Image.effect_noise((240, 240), 60).convert("RGB")
    rows = []
    for index in range(150):
        path = tmp_path / "overlays" / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        noise.save(path)
        rows.append(done(f"{index}.dcm", confidence=index / 150, overlay=f"overlays/{index}.jpg"))
    everything = report(rows)
    assert len(Page(everything).thumbnails) == 150
    first = json.loads(Page(everything).by_id("thumbnails")["text"])
    assert len(first) == 60  # of the first page; the others follow the script, which does not wait for them
    assert everything.index('id="thumbnails"') < everything.index("const PAGE_SIZE = 60;")
    assert everything.index("const PAGE_SIZE = 60;") < everything.index('id="more-thumbnails"')
    bare = report(rows, budget_bytes=0)
    assert Page(bare).thumbnails == []
    budget = (len(bare) + len(everything)) // 2
    page = Page(text := report(rows, budget_bytes=budget))
    each = len(page.thumbnails[0])
    assert budget - each - 200 < len(text.encode()) <= budget
    assert 40 < len(page.thumbnails) < 110
    assert all(page.thumbnails)
    assert page.column("overlay")[-1] == "overlays/149.jpg"


def test_pictures_are_found_from_where_the_page_lies(tmp_path, report):
    root = tmp_path / "results of today"
    row = done("a.dcm", overlay=save_overlay(root, "a.jpg"))
    assert Page(report([row], overlay_root=root)).data["base"] == "results%20of%20today/"
    write_report(root / "b" / "report.html", summary=SUMMARY, rows=[row], overlay_root=root)
    assert Page((root / "b" / "report.html").read_text()).data["base"] == "../"


def test_counts(report):
    page = Page(report(mixed_rows(), summary=SUMMARY | {"seconds": 125.0, "resumed": 1}))
    cards = [
        " ".join(one["text"].split())
        for one in page.elements
        if one["within"][-1:] == ["dl"] and "section" in one["within"] and one["tag"] == "div"
    ]
    assert cards[:6] == [
        "Done 3 of 6",
        "Skipped 1 not frontal chest",
        "Failed 2 could not be done",
        "Flagged 2 to look at",
        "Median confidence 0.80 from 0 to 1",
        "Time 2 min 5 s 2.4 files per minute",
    ]
    rows = [" ".join(one["text"].split()) for one in page.all("tr")]
    assert f"damaged failed 2 {REASONS[Reason.DAMAGED]}" in rows
    assert f"other-view skipped 1 {REASONS[Reason.OTHER_VIEW]}" in rows
    assert f"one-lung 2 {FLAGS[Flag.ONE_LUNG]}" in rows
    assert f"area-small 1 {FLAGS[Flag.AREA_SMALL]}" in rows


def test_agreement_is_told_by_unit(report):
    agreements = [
        Agreement(0.9 + place / 100, 0.8, 0.9, 0.95, 0.9, 0.9, 1.0 + place, 0.5, "px" if place > 4 else "mm")
        for place in range(7)
    ]
    rows = [done(f"{place}.dcm", **vars(one)) for place, one in enumerate(agreements)]
    page = Page(report(rows, summary=SUMMARY | {"agreement": summarise(agreements)}))
    cells = [" ".join(one["text"].split()) for one in page.all("tr")]
    assert any(
        re.fullmatch(r"Dice 7 0\.9300 0\.91\d+ to 0\.94\d+ 0\.0216 0\.9300 0\.9000 0\.9600", one)
        for one in cells
    )
    assert any(re.fullmatch(r"HD95 \(mm\) 5 3\.00 .* 1\.58 3\.00 1\.00 5\.00", one) for one in cells)
    assert any(re.fullmatch(r"HD95 \(px\) 2 6\.50 .* 0\.71 6\.50 6\.00 7\.00", one) for one in cells)
    assert page.column("hd95_mm") == [1, 2, 3, 4, 5, None, None]
    assert page.column("hd95_px") == [None, None, None, None, None, 6, 7]
    drawn = [one["attrs"]["data-column"] for one in page.all("figure")]
    assert "dice" in drawn
    assert "hd95_mm" in drawn
    assert "hd95_px" not in drawn  # two values are no distribution


def test_one_comparison_has_no_interval(report):
    one = Agreement(0.9, 0.8, 0.9, 0.95, 0.9, 0.9, math.nan, math.nan, "mm")
    page = Page(report([done("a", **vars(one))], summary=SUMMARY | {"agreement": summarise([one])}))
    cells = [" ".join(one["text"].split()) for one in page.all("tr")]
    assert "Dice 1 0.9000 – – 0.9000 0.9000 0.9000" in cells
    assert "HD95 (mm) 0 – – – – – –" in cells


@pytest.mark.parametrize(("spacing", "expected"), [(True, "mm2"), (False, "px")])
def test_areas_are_drawn_in_mm2_where_that_is_known(report, spacing, expected):
    rows = [
        done(f"{n}.dcm", total_area_px=100 * n, total_area_mm2=float(n) if spacing and n != 3 else None)
        for n in range(7)
    ]
    page = Page(report(rows))
    (figure,) = page.all("figure")
    assert figure["attrs"]["data-column"] == f"total_area_{expected}"
    assert f"n = {6 if spacing else 7}" in figure["text"]
    assert f"total_area_{expected}" in page.data["main"]


def test_values_are_what_json_can_hold(report):
    rows = [
        done("a", hd95=math.inf, distance_unit="mm", seconds=1 / 3, view=None),
        done("b", hd95=1.5, distance_unit="mm"),
    ]
    page = Page(report(rows))
    assert page.column("hd95_mm") == [None, 1.5]
    assert page.column("seconds") == [0.333333, None]
    assert "view" not in [column["name"] for column in page.data["columns"]]


def test_nothing_but_the_rows_is_told(tmp_path, report):
    rows = [done("a.dcm", overlay=save_overlay(tmp_path, "a.jpg"), mask="masks/a.png")]
    text = report(rows, summary=SUMMARY | {"output": str(tmp_path), "inputs": ["/home/jane doe"]})
    assert str(tmp_path) not in text
    assert tmp_path.name not in text
    assert "jane" not in text


def test_a_run_without_files_and_the_least_summary(report):
    page = Page(report([], summary={}))
    assert page.errors == []
    assert page.data["rows"] == []
    assert "0 files" in page.all("header")[0]["text"]


def test_the_disclaimer_stands_first(report):
    page = Page(report([]))
    assert page.all("main")[0]["text"].strip().startswith(DISCLAIMER)
    for word in ("Research software", "Not a medical device", "not for diagnosis or treatment"):
        assert word in DISCLAIMER
    assert "Ours." in Page(report([], disclaimer="Ours.")).all("main")[0]["text"]


def test_every_code_has_a_meaning():
    assert set(REASONS) == set(Reason)
    assert set(Flag) <= set(FLAGS)
    for meaning in (*REASONS.values(), *FLAGS.values()):
        assert re.fullmatch(r"[A-Z].{10,}\.", meaning)


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", summary=SUMMARY, rows=[], overlay_root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_ten_thousand_rows_take_seconds(report):
    names = [
        f"{part}_lung_{what}" for part in ("right", "left") for what in ("area_px", "height_px", "area_mm2")
    ]
    rows = (
        done(
            f"study/{n:05d}.dcm",
            confidence=n / 10_000,
            **dict.fromkeys(names, n / 3),
            warnings="",
            mask=f"masks/{n}.png",
        )
        for n in range(10_000)
    )
    start = time.process_time()
    text = report(rows)
    # About a second on one core; the limit leaves room for a slow one.
    assert time.process_time() - start < 15
    assert len(text) < 2_500_000
    assert text.count("study/") == 10_000


def test_histogram_counts_by_hand():
    # Nine values: five bins, as twice the cube root of nine is 4.2.
    chart = histogram(describe("dice"), [0.0, 0.1, 0.25, 0.5, 0.5, 0.55, 0.7, 0.9, 1.0, None])
    assert chart.counts == (2, 1, 3, 1, 2)
    assert chart.edges == pytest.approx((0, 0.2, 0.4, 0.6, 0.8, 1))
    assert (chart.count, chart.median, chart.median_x) == (9, 0.5, 0.5)
    assert (chart.first_label, chart.last_label) == ("0.0000", "1.0000")
    bars = list(chart.bars())
    assert [bar.height for bar in bars] == pytest.approx([2 / 3, 1 / 3, 1, 1 / 3, 2 / 3])
    assert bars[2].text == "0.4000 to 0.6000: 3"
    assert not any(bar.collects for bar in bars)


def test_outliers_are_collected_at_the_ends():
    # Quartiles 1.25 and 1.75: the far fences are at -0.25 and 3.25.
    values = [1.0, 1.25, 1.5, 1.75, 2.0] * 20
    chart = histogram(describe("hd95_mm"), [*values, 40.0, 90.0])
    assert (chart.edges[0], chart.edges[-1]) == (1.0, 3.25)
    bars = list(chart.bars())
    assert [bar.collects for bar in bars] == [False] * (len(bars) - 1) + [True]
    assert chart.counts[-1] == 2
    assert bars[-1].text.endswith("to 90.00: 2")
    assert (chart.first_label, chart.last_label) == ("1.00", "90.00")
    assert chart.count == 102


def test_equal_values_still_have_an_axis():
    chart = histogram(describe("right_lung_area_px"), [7] * 5)
    assert chart.edges[0] == 6.5
    assert chart.edges[-1] == 7.5
    assert sum(chart.counts) == 5
    assert histogram(describe("right_lung_area_px"), [7] * 4) is None


@pytest.mark.parametrize(
    ("name", "heading", "value", "shown"),
    [
        ("right_lung_area_mm2", "Right lung area (mm²)", 21833.4, "21,833"),
        ("hd95_mm", "HD95 (mm)", 1.591, "1.59"),
        ("mean_iou", "Mean IoU", 0.98134, "0.9813"),
        ("row_spacing_mm", "Row spacing (mm)", 0.7119, "0.7119"),
        ("seconds", "Time (s)", 0.5, "0.50"),
        ("total_mean_density", "Total mean density", 0.43219, "0.432"),
        ("something_new", "Something new", 12345, "12,345"),
        ("dice", "Dice", math.nan, "–"),
        ("dice", "Dice", None, "–"),
    ],
)
def test_columns_are_described_by_their_names(name, heading, value, shown):
    column = describe(name)
    assert (column.heading, column.show(value)) == (heading, shown)


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.71, "3.7 s"), (59.4, "59 s"), (150, "2 min 30 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert _duration(seconds) == text


def test_rates_and_moments():
    assert _rate(1200, 600) == "2.0 files per second"
    assert _rate(3, 60) == "3.0 files per minute"
    assert _rate(0, 60) == _rate(5, None) == ""
    assert _moment("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04 UTC"
    assert _moment("2026-01-02T03:04:05") == "2026-01-02 03:04"
    assert _moment("this morning") == "this morning"


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    """The contrast ratio of two colours (WCAG 2.2, 'contrast ratio')."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough_to_read(theme):
    found = re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", _asset("style.css"))
    colours = {name: both[theme] for name, *both in found}
    for ground in ("page", "panel"):
        for text in ("ink", "quiet", "accent", "good", "doubt", "bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        # What is not text, such as the frame of a control, needs less.
        assert contrast(colours["edge"], colours[ground]) >= 3
    assert contrast(colours["doubt"], colours["doubt-tint"]) >= 4.5
    assert contrast(colours["ink"], colours["doubt-tint"]) >= 4.5
    assert contrast(colours["bar"], colours["panel"]) >= 3


def test_what_is_hidden_in_any_text_is_shown(report):
    hidden = "a\u202eb\x1b[31m\x9b.dcm"
    rows = [done("a.png", warnings=hidden), {"file": "b.png", "status": "failed", "reason": hidden}]
    text = report(rows, summary=SUMMARY | {"bundle": hidden, "settings": {"references": hidden}})
    page = Page(text)
    assert shown(hidden) in page.column("warnings")
    assert shown(hidden) in page.column("reason")
    for character in "\u202e\x1b\x9b":
        assert character not in text
    assert text.count(shown(hidden)) >= 2
