"""Settings: the file and the command line say the same, and what is wrong is told with what was meant."""

from pathlib import Path

import pytest

from lungfield.errors import DataError
from lungfield.node.configuration import read_settings

FULL = """
ae-title: NODE
state: /var/lib/node
port: 104
formats: seg,sr
calling_ae_titles: [PACS, MODALITY]
send_to:
  - AE_ONE@10.0.0.1:104
  - address: https://pacs.example/dicom-web
    name: web
    formats: [seg]
    fallback: spare
    tls: {ca: /etc/ca.pem}
  - {address: "[::1]", name: wrong}
"""


def read(text, folder, **options):
    path = folder / "node.yaml"
    path.write_text(text)
    return read_settings(path, options)


def test_a_full_file(tmp_path):
    text = FULL.replace('{address: "[::1]", name: wrong}', '{address: "SPARE@[::1]:11112", name: spare}')
    settings = read(text, tmp_path)
    one, web, spare = settings.send_to
    assert (settings.ae_title, settings.port, settings.formats) == ("NODE", 104, ("seg", "sr"))
    assert settings.calling_ae_titles == ("PACS", "MODALITY")
    assert (one.name, one.ae_title, one.host, one.port, one.kind) == (
        "AE_ONE",
        "AE_ONE",
        "10.0.0.1",
        104,
        "dicom",
    )
    assert (one.formats, web.formats) == (("seg", "sr"), ("seg",))
    assert (web.kind, web.url, web.tls.ca) == (
        "dicomweb",
        "https://pacs.example/dicom-web",
        Path("/etc/ca.pem"),
    )
    assert (spare.host, spare.port) == ("::1", 11112)
    assert [one.name for one in settings.first_destinations] == ["AE_ONE", "web"]


def test_the_command_line_wins(tmp_path):
    settings = read("state: /a\nport: 1\nworkers: 3", tmp_path, port=2, send_to=["A@h:1", "hl7:/out"])
    assert (settings.port, settings.workers) == (2, 3)
    assert [(one.kind, one.formats) for one in settings.send_to] == [
        ("dicom", ("seg", "sr", "sc")), ("hl7", ()),
    ]  # fmt: skip
    assert settings.send_to[1].folder == Path("/out")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("portt: 1", "'portt'; did you mean 'port'"),
        ("limits: {asociations: 3}", "'asociations'; did you mean 'associations'"),
        ("send_to: [{address: A@b:1, fallbak: c}]", "'fallbak'; did you mean 'fallback'"),
        ("send_to: [{address: A@b:1, fallback: c}]", "'c' of 'A' is not another destination"),
        ("send_to: [{address: A@b:1, fallback: B}, {address: B@b:1, fallback: A}]", "each other's fallbacks"),
        ("send_to: [A@b:1, A@c:1]", "are named 'A'"),
        ("send_to: [A@b]", "no destination address"),
        ("send_to: [A@b:70000]", "no destination address"),
        ("send_to: ['https://user:pw9@host/x']", "secrets"),
        ("send_to: [{name: x}]", "'address'"),
        ("formats: [seg]\nsend_to: [{address: A@b:1, formats: [sc]}]", "'sc'"),
        ("formats: [png]", "Unknown output format 'png'"),
        ("skipped_notice: true\nformats: [seg, sr]", "add 'sc'"),
        ("port: many", "not a whole number"),
        ("port: -1", "number of 0 or more"),
        ("port: true", "not a whole number"),
        ("views: side", "none of frontal, any"),
        ("ae_title: 'longer than sixteen'", "no AE title"),
        ("tls: yes", "instead of settings"),
        ("a: [", "no valid YAML in line"),
        ("- 1", "holds no settings"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        read(text if text.startswith("-") or text.startswith("a: [") else f"state: /a\n{text}", tmp_path)
    assert said in str(caught.value)
    assert "pw9" not in str(caught.value)


def test_without_a_state_folder_and_with_an_unreadable_file(tmp_path):
    with pytest.raises(DataError, match="state folder"):
        read_settings(None, {})
    with pytest.raises(DataError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml", {})


def test_secrets_come_from_the_environment_alone(tmp_path, monkeypatch):
    (one,) = read("state: /a\nsend_to: [{address: 'https://h/x', name: my-web}]", tmp_path).send_to
    assert (one.token, one.password) == (None, None)
    monkeypatch.setenv("LUNGFIELD_NODE_TOKEN_MY_WEB", "abc")
    assert one.token == "abc"  # noqa: S105  (made up)
    assert "abc" not in repr(one)
    with pytest.raises(DataError, match="no setting 'token'"):
        read("state: /a\nsend_to: [{address: 'https://h/x', token: abc}]", tmp_path)
