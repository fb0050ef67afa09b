"""The remarks after a batch: a line for a kind, flags first."""

from lungfield.cli.remarks import remark_lines


def done(file, flags=(), warnings=""):
    return {"file": file, "status": "done", "flags": list(flags), "warnings": warnings}


def ended(file, status, code, reason):
    return {"file": file, "status": status, "reason_code": code, "reason": reason}


def test_one_line_a_kind_and_flags_first():
    rows = [
        ended("a.dcm", "skipped", "other-view", "a lateral view (LL)"),
        done("b.png", warnings="pixel spacing of 0.2 mm at the detector; no SOPInstanceUID"),
        ended("c.dcm", "failed", "damaged", "ends after 12 bytes"),
        done("d.png", flags=["area-small"], warnings="pixel spacing of 0.143 mm at the detector"),
        ended("e.dcm", "skipped", "other-view", "a lateral view (RL)"),
        done("f.png", flags=["one-lung", "area-small"]),
        done("g.png"),
    ]
    assert remark_lines(rows) == [
        "look at: 2 files [area-small], the first d.png",
        "look at: f.png: [one-lung]",
        "failed: c.dcm: ends after 12 bytes",
        "skipped: 2 files [other-view], the first a.dcm: a lateral view (LL)",
        "warning: 2 files, the first b.png: pixel spacing of 0.2 mm at the detector",
        "warning: b.png: no SOPInstanceUID",
    ]


def test_nothing_to_say_of_what_went_well():
    assert remark_lines([done("a.png"), done("b.png")]) == []


def test_names_cannot_reach_the_terminal_as_they_are():
    (line,) = remark_lines([ended("a\x1b[2J.dcm", "failed", "damaged", "x")])
    assert line == r"failed: a\x1b[2J.dcm: x"
