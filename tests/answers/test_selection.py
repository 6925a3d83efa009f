"""How data were chosen, in words."""

import dataclasses

from pipeline.answers.selection import selections
from pipeline.comparisons import Data


def test_every_setting_that_chooses_from_a_data_set_has_a_row_where_it_is_not_the_default() -> None:
    given = {"source", "val_size", "split_seed"}  # of which the split tells
    names = [one.name for one in dataclasses.fields(Data) if one.name not in given]
    for name in names:
        (row,) = selections({"one": {name: "chosen"}, "other": {}}).values()
        assert (row["one"], len(row)) == ("chosen", 2)
    assert len(selections({"one": dict.fromkeys(names, "chosen")})) == len(names)
    assert selections({"one": {}, "other": {}}) == {}


def test_what_another_data_set_leaves_out_is_the_default_in_words() -> None:
    usual = {"standardized": str(Data().standardized), "pairs": str(Data().pairs)}
    usual |= {"split": Data().split, "skipped_per_class": str(Data().skipped_per_class)}
    for name, default in usual.items():
        (row,) = selections({"one": {name: "chosen"}, "other": {}}).values()
        assert row["other"] == default
