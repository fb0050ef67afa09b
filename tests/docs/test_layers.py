"""The picture of the layers in CONTRIBUTING.md is that of import-linter's contract."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_picture_shows_the_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (picture,) = re.findall(r"```mermaid\n(.*?)```", text, flags=re.DOTALL)
    rooms = dict(re.findall(r'^ *(\w+)\["(.*)"\]$', picture, flags=re.MULTILINE))
    (order,) = re.findall(r"^ *(\w+(?: --> \w+)+)$", picture, flags=re.MULTILINE)
    assert [rooms[name] for name in order.split(" --> ")] == [one.replace("lungfield.", "") for one in layers]


def test_every_room_has_its_layer():
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    places = (ROOT / "app" / "lungfield").iterdir()
    rooms = {path.stem for path in places if path.suffix in ("", ".py") and not path.name.startswith("_")}
    assert {room for room in rooms if f"lungfield.{room}" not in settings} == set()
