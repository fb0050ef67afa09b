from collections import Counter

import pytest
from monai.engines import Workflow
from torch.utils.data import DataLoader

from lungfield.errors import DataError
from lungfield.training import WeightedSetSampler

DATA = [{"dataset": "a"}] * 10 + [{"dataset": "b"}] * 4 + [{"dataset": "c"}] * 8


def test_without_weights_an_epoch_is_every_image_once():
    sampler = WeightedSetSampler(DATA)
    assert sorted(sampler) == list(range(22))
    assert len(sampler) == 22
    assert list(sampler) != list(sampler)  # in an order of its own


def test_weights_say_how_often_a_set_is_seen():
    sampler = WeightedSetSampler(DATA, {"a": 0.5, "b": 2.5, "c": 0})
    for _ in range(3):
        drawn = list(sampler)
        assert Counter(DATA[position]["dataset"] for position in drawn) == {"a": 5, "b": 10}
        assert len(drawn) == len(sampler) == 15
        assert max(Counter(drawn).values()) <= 3
        assert all(count == 1 for position, count in Counter(drawn).items() if position < 10)


def test_a_part_of_a_set_is_another_one_each_time():
    sampler = WeightedSetSampler(DATA, {"a": 0.2, "b": 0, "c": 0})
    assert {position for _ in range(40) for position in sampler} == set(range(10))


def test_the_seed_decides_the_order():
    orders = [list(WeightedSetSampler(DATA, {"a": 0.5}, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_an_epoch_has_its_order_whenever_the_run_was_begun():
    through, resumed = WeightedSetSampler(DATA, {"a": 0.5}), WeightedSetSampler(DATA, {"a": 0.5})
    orders = []
    for epoch in (1, 2, 3):
        through.set_epoch(epoch)
        orders.append(list(through))
    resumed.set_epoch(3)
    assert list(resumed) == orders[2]
    assert orders[0] != orders[1] != orders[2]


def test_monais_engines_tell_it_the_epoch():
    sampler, through, seen = WeightedSetSampler(DATA), WeightedSetSampler(DATA), []
    loader = DataLoader(range(22), sampler=sampler, batch_size=22)
    engine = Workflow("cpu", 3, loader, iteration_update=lambda _engine, batch: seen.append(batch.tolist()))
    engine.load_state_dict({"epoch": 2, "epoch_length": 1, "max_epochs": 3})
    engine.run()
    through.set_epoch(3)
    assert seen == [list(through)]


def test_more_processes_than_images_all_get_one():
    shares = [WeightedSetSampler([{"dataset": "a"}] * 2, replicas=7, rank=rank) for rank in range(7)]
    assert [len(list(share)) for share in shares] == [1] * 7


def test_processes_share_an_epoch():
    shares = [WeightedSetSampler(DATA, {"a": 0.7}, replicas=4, rank=rank) for rank in range(4)]
    drawn = [list(share) for share in shares]
    assert {len(one) for one in drawn} == {len(shares[0])} == {5}
    assert set().union(*drawn) == set(WeightedSetSampler(DATA, {"a": 0.7}))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"d": 1}, "names 'd'.*sets are: a, b, c"),
        ({"a": -1}, "negative"),
        (dict.fromkeys("abc", 0), "leave no"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, message):
    with pytest.raises(DataError, match=message):
        WeightedSetSampler(DATA, weights)
