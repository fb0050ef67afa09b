"""CITATION.cff keeps the schema of its format, and says what pyproject.toml says."""

import json
import tomllib
from pathlib import Path

import jsonschema
import yaml
from pages import ROOT

SCHEMA = Path(__file__).with_name("citation_schema.json")
"""Of the Citation File Format 1.2.0: https://citation-file-format.github.io/1.2.0/schema.json, CC BY 4.0."""


def test_citation_file_is_valid_and_true():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    jsonschema.validate(citation, json.loads(SCHEMA.read_text(encoding="utf-8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
