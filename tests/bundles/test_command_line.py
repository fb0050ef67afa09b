import pytest

from lungfield.bundles import find_bundle
from lungfield.bundles.command_line import bundle_root, check_overrides
from lungfield.errors import BundleError


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / "mine" / "configs"
    folder.mkdir(parents=True)
    (folder / "train.yaml").write_text("output_dir: x\ntrain: {trainer: {max_epochs: 1}}\n")
    (folder / "evaluate.yaml").write_text("section: test\nvalidate::dataset: null\n")
    return folder


def argv(*words):
    return ["monai", "run", *map(str, words)]


def test_known_overrides_pass(configs):
    both = f"['{configs / 'train.yaml'}', '{configs / 'evaluate.yaml'}']"
    check_overrides(argv("--config_file", both, "--output_dir", "y", "--section=validation"))
    check_overrides(argv("--config_file", configs / "train.yaml", "--train::trainer::max_epochs", "3"))
    check_overrides(argv("--config_file", configs / "train.yaml", "--train#trainer#max_epochs", "3"))
    check_overrides(argv("--config_file", configs / "train.yaml", "--meta_file", "m", "--run_id", "run"))
    check_overrides(["pytest", "--whatever"])


@pytest.mark.parametrize(
    "word", ["--outputdir", "--output-dirs=z", "--trian::trainer::max_epochs", "--section"]
)
def test_unknown_overrides_are_named_with_what_is_near(configs, word):
    with pytest.raises(BundleError) as caught:
        check_overrides(argv("--config_file", configs / "train.yaml", word, "z"))
    assert word.split("=")[0] in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == (word != "--section")


def test_root_is_that_of_the_config_that_is_run(configs, monkeypatch):
    monkeypatch.setattr("sys.argv", argv("--config_file", configs / "train.yaml"))
    assert bundle_root("unet") == str(configs.parent)
    monkeypatch.setattr("sys.argv", ["something", "else"])
    assert bundle_root("unet") == str(find_bundle("unet").root)
