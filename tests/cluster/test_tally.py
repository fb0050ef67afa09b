"""Figures that are counted a shard at a time are those of all rows at once."""

import math
import random

import pytest

from lungfield.cluster import tally as tally_module
from lungfield.cluster.tally import Tally
from lungfield.mask.metrics import METRICS, Agreement, summarise


def rows(count):
    chance = random.Random(1)
    for number in range(count):
        row = {"file": f"{number}.dcm", "status": "done", "reason_code": "", "flags": []}
        if number % 10 == 0:
            yield {"file": row["file"], "status": "failed", "reason_code": "damaged"}
            continue
        row |= {name: chance.random() for name in METRICS} | {"distance_unit": "px"}
        row["confidence"] = round(chance.random(), 3)
        row["flags"] = ["small"] if number % 7 == 0 else []
        if number % 50 == 1:
            row["hd95"] = math.nan
        yield row


def in_shards(all_rows, size):
    whole = Tally()
    for shard, start in enumerate(range(0, len(all_rows), size)):
        part = Tally()
        part.add_shard(shard, all_rows[start : start + size])
        whole.merge(part)
    return whole


def test_a_tally_of_shards_is_that_of_all():
    all_rows = list(rows(400))
    whole = in_shards(all_rows, 60)
    done = [row for row in all_rows if row["status"] == "done"]
    assert whole.counts["done"] == len(done)
    assert whole.counts["flagged"] == whole.flags["small"] == sum(bool(row["flags"]) for row in done)
    assert whole.reasons == {("failed", "damaged"): 40}
    confidences = sorted(row["confidence"] for row in done)
    assert whole.median_confidence() == confidences[(len(done) - 1) // 2]
    compared = [Agreement(**{name: row[name] for name in METRICS}, distance_unit="px") for row in done]
    for name, expected in summarise(compared).items():
        found = whole.metrics[name].summary()
        assert (found.count, found.undefined) == (expected.count, expected.undefined)
        for part in ("mean", "sd", "minimum", "maximum"):
            assert getattr(found, part) == pytest.approx(getattr(expected, part))
        assert found.ci95_low == pytest.approx(expected.ci95_low, abs=0.01)


def test_samples_do_not_depend_on_the_shards_and_hold_the_worst(monkeypatch):
    monkeypatch.setattr(tally_module, "SAMPLED", 5)
    all_rows = list(rows(400))

    def chosen(size):
        sampled = in_shards(all_rows, size).sampled()
        return {
            all_rows[shard * size + place]["file"] for shard, places in sampled.items() for place in places
        }

    assert chosen(60) == chosen(400)
    scores = sorted(row["dice"] for row in all_rows if "dice" in row)
    worst = {row["file"] for row in all_rows if row.get("dice", 1) <= scores[4]}
    assert worst <= chosen(60)
    assert len(chosen(60)) <= 20


def test_nothing_has_no_median_and_no_mean():
    assert Tally().median_confidence() is None
    assert math.isnan(tally_module.Moments().summary().mean)
