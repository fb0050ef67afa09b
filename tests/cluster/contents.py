"""What a run has written, without its times."""

import csv
import hashlib
import json
from pathlib import Path


def contents(folder):
    """A digest of each file that a run has written, and its rows and summary without their times.

    Its state, its parts and its report are left out.
    """
    found: dict[str, bytes] = {}
    for path in sorted(Path(folder).rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and place.parts[0] not in (".lungfield", "results-parts", "report.html"):
            found[place.as_posix()] = path.read_bytes()
    rows = list(csv.DictReader(found.pop("results.csv").decode("utf-8-sig").splitlines()))
    for row in rows:
        assert float(row.pop("seconds")) >= 0
    table = json.loads(found.pop("results.json"))
    summary = {name: table["summary"][name] for name in ("files", "done", "skipped", "failed", "left_out")}
    assert found.pop("results.parquet")
    return {
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in found.items()},
        "rows": rows,
        "summary": summary,
    }
