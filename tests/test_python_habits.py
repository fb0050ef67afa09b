"""What a Python user expects of the package: names, inputs of all kinds, short texts, lists, ensembles."""

import inspect
import json
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom import dcmread

import lungfield
from lungfield.bundles import shipped
from lungfield.errors import BundleError, DataError, OutputError, UnreadableError
from lungfield.export import RESULT_COLUMNS

SAMPLE = shipped("sample_data") / "images" / "01_dx_explicit.dcm"


@pytest.fixture(scope="module")
def segmenter():
    return lungfield.Segmenter("unet", backend="torch")


@pytest.fixture(scope="module")
def lungs(segmenter):
    return segmenter(SAMPLE)


def test_names_are_listed_and_typed():
    assert set(lungfield.__all__) <= set(dir(lungfield))
    assert (resources.files("lungfield") / "py.typed").is_file()
    code = "import lungfield, sys; dir(lungfield); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_kind_of_input_gives_the_same_mask(segmenter, lungs):
    dataset = dcmread(SAMPLE)
    dark = lungs.radiograph.pixels
    eight_bits = np.rint(255 * dark).astype(np.uint8)
    with SAMPLE.open("rb") as stream:
        same = segmenter([str(SAMPLE), dataset, stream, SAMPLE.read_bytes(), lungs.radiograph])
    assert isinstance(same, list)
    assert all(np.array_equal(one.label_map, lungs.label_map) for one in same)
    close = segmenter((eight_bits, torch.from_numpy(dark)[None], Image.fromarray(eight_bits)))
    assert all(lungs.agreement(one.label_map).dice > 0.99 for one in close)


def test_spacing_can_be_given(segmenter, lungs):
    spacing = lungs.radiograph.spacing
    array = segmenter(lungs.radiograph.pixels, spacing_mm=(spacing.row_mm, spacing.column_mm))
    assert array.measurements.total.area_mm2 == pytest.approx(lungs.measurements.total.area_mm2, rel=0.02)
    assert array.measurements.spacing_plane == "unknown"


def test_bright_lungs_and_turned_pictures(segmenter, lungs):
    turned = segmenter(1 - lungs.radiograph.pixels.T, orientation=("F", "L"), inverted=True)
    assert lungs.agreement(turned.label_map.T).dice > 0.99
    assert turned.label_map.T[lungs.label_map == 1].max() == 1
    assert turned.radiograph.corrections == ()


def test_texts_are_short_and_say_what_matters(segmenter, lungs):
    assert repr(lungs).startswith("<Segmentation of 01_dx_explicit.dcm: lungs ")
    assert "confidence 0." in repr(lungs)
    assert repr(lungs.radiograph).startswith("<Radiograph 01_dx_explicit.dcm: DICOM, ")
    assert repr(segmenter) == "<Segmenter unet on cpu, by torch>"
    for one in (lungs, lungs.radiograph, lungs.bundle, lungs.quality, segmenter):
        assert len(repr(one)) < 250


def test_notebooks_show_a_picture_and_a_table(lungs):
    html = lungs._repr_html_()
    assert "data:image/webp;base64," in html
    assert "Right lung" in html
    assert len(html) < 60_000


def test_a_plot_has_the_contours_and_lies_on_the_pixels(lungs):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    assert lungs.plot(axes) is axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Right lung", "Left lung"]
    assert axes.get_ylim() == (lungs.radiograph.shape[0] - 0.5, -0.5)
    pyplot.close(figure)


def test_a_plot_without_matplotlib_says_what_to_do(lungs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OutputError, match=r"pip install 'lungfield\[plot\]'"):
        lungs.plot()


def test_a_dictionary_for_json(lungs):
    told = json.loads(json.dumps(lungs.to_dict(), allow_nan=False))
    assert told["right_lung_area_px"] == lungs.measurements.right_lung.area_px
    assert set(told) <= set(RESULT_COLUMNS)


def test_probabilities_at_native_size(segmenter, lungs):
    probability, logits = lungs.native_probability(), lungs.native_logits()
    assert probability.shape == logits.shape == lungs.label_map.shape
    assert probability.dtype == logits.dtype == np.float32
    assert np.array_equal(probability > 0.5, logits > 0)
    assert lungs.agreement(logits > 0).dice > 0.99
    # The same by torch, as the bundles' own way back has it.
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(lungs.logits["lungs"])[None, None], size=logits.shape, mode="bilinear"
    )
    assert np.allclose(logits, expected[0, 0], atol=1e-3)
    with pytest.raises(BundleError, match="choose from lungs"):
        lungs.native_probability("heart")
    turned = segmenter(lungs.radiograph.pixels.T, orientation=("F", "L"))
    assert np.allclose(turned.native_probability().T, probability, atol=0.1)


def test_overlays_obey_their_suffix(lungs, tmp_path):
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG")):
        lungs.save_overlay(tmp_path / name)
        assert Image.open(tmp_path / name).format == kind
    lungs.save_overlay(str(tmp_path / "b.png"))
    for name in ("a.tif", "a"):
        with pytest.raises(OutputError, match=r"saved as \.png, \.jpg, \.jpeg"):
            lungs.save_overlay(tmp_path / name)


def test_an_ensemble_is_the_mean_of_its_bundles():
    names = ("unet", "efficientnet_lite0_unet")
    singles = [lungfield.Segmenter(name, backend="torch", check_mirrored=True)(SAMPLE) for name in names]
    ensemble = lungfield.Segmenter(names, backend="torch", check_mirrored=True)
    both = ensemble(SAMPLE)
    mean = np.mean([one.native_probability() for one in singles], axis=0)
    assert np.abs(both.native_probability() - mean).mean() < 0.01
    for one in singles:
        assert both.agreement(one.label_map).dice > 0.97
        assert both.label_map[one.label_map == 1].mean() == pytest.approx(1, abs=0.06)
    assert both.quality.flags == ()
    assert both.quality.confidence >= min(one.quality.confidence for one in singles) - 0.05
    assert both.quality.features["flip_agreement"] > 0.9
    assert both.bundle.name == "unet + efficientnet_lite0_unet"
    assert len(both.bundle.weights_sha256) == 64
    assert repr(ensemble) == "<Segmenter unet + efficientnet_lite0_unet on cpu, by torch>"


def test_an_ensemble_saves_what_one_bundle_does(tmp_path):
    both = lungfield.Segmenter(["unet", "gsconv_unet"], backend="torch")(SAMPLE)
    both.save_seg(tmp_path / "seg.dcm")
    both.save_report(tmp_path / "sr.dcm", segmentation=tmp_path / "seg.dcm")
    (algorithm, *_) = dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert algorithm.SegmentAlgorithmName == "lungfield unet + gsconv_unet"


@pytest.mark.parametrize("bundles", [[], ["unet", "unet"]])
def test_what_is_no_ensemble(bundles):
    with pytest.raises(BundleError, match="two bundles or more"):
        lungfield.Segmenter(bundles)


@pytest.mark.parametrize(
    "call",
    [("s3://bucket/a", "out"), ("in", "s3://bucket/out"), ("https://me:secret@host/a?sig=secret", "out")],
)
def test_uris_are_for_another_function_which_is_named(call):
    with pytest.raises(DataError, match=r"lungfield\.cluster\.segment_stores") as caught:
        lungfield.segment_files(*call)
    assert "secret" not in str(caught.value)
    from lungfield.cluster import segment_stores

    assert list(inspect.signature(segment_stores).parameters)[:2] == ["inputs", "output"]


def test_a_segmenter_takes_no_uris(segmenter):
    with pytest.raises(UnreadableError, match="a URI") as caught:
        segmenter("s3://me:secret@bucket/a.dcm")
    assert "secret" not in str(caught.value)


def test_structures_that_cannot_be_saved_are_named(lungs, tmp_path):
    for name in ("lungs", "aorta"):
        with pytest.raises(BundleError, match="heart, right_clavicle, left_clavicle"):
            lungs.save_structure(name, tmp_path / "a.png")
    with pytest.raises(BundleError, match="does not segment heart"):
        lungs.save_structure("heart", tmp_path / "a.png")


def test_options_take_single_texts(tmp_path):
    from lungfield.batch import Options

    options = Options(formats="mask", include="*.dcm", references=str(tmp_path)).checked()
    assert (options.formats, options.include, options.references) == (("mask",), ("*.dcm",), tmp_path)
    assert Options(exclude=["a", "b"]).exclude == ("a", "b")
