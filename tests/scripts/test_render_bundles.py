import pytest
import yaml

import render_bundles
from lungfield.bundles import BUNDLES


def test_the_bundles_are_what_their_source_gives(capsys):
    render_bundles.main(check=True)
    assert capsys.readouterr().out == "40 configs, 0 written\n"
    assert {path.stem for path in render_bundles.SOURCE.glob("networks/*.yaml")} == set(BUNDLES)


def test_every_config_names_its_source_and_can_be_read():
    for path, text in render_bundles.rendered().items():
        assert text.startswith("# Rendered from bundles/source by scripts/render_bundles.py")
        assert yaml.safe_load(text), path


def test_a_file_that_was_changed_by_hand_is_found_and_rendered_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(render_bundles, "BUNDLES", tmp_path)
    render_bundles.main(check=False)
    render_bundles.main(check=True)
    changed = tmp_path / "unet" / "configs" / "train.yaml"
    before = changed.read_text()
    changed.write_text(before.replace("max_epochs: 24", "max_epochs: 25"))
    with pytest.raises(SystemExit, match=r"Not what bundles/source gives: unet/configs/train\.yaml\."):
        render_bundles.main(check=True)
    render_bundles.main(check=False)
    assert changed.read_text() == before
