import json

import pytest

from pipeline.tracking.page_state import decode, encode


def test_a_view_is_read_back_as_it_was_written() -> None:
    state = {"searchFilter": "tags.step = 'train'", "compareRunCharts": [{"type": "BAR"}]}
    value = encode("Best: d\u00e9j\u00e0 vu", state, created=5, updated=7)
    assert decode(value) == ("Best: d\u00e9j\u00e0 vu", state, 5)
    assert json.loads(value)["updatedAt"] == 7
    assert json.loads(value)["state"].startswith("deflate;")


def test_a_view_that_the_ui_saved_without_compression_is_read() -> None:
    saved = {"name": "Mine", "createdAt": 5, "updatedAt": 7, "state": '{"groupBy": null}'}
    assert decode(json.dumps(saved)) == ("Mine", {"groupBy": None}, 5)


@pytest.mark.parametrize(
    "value",
    ["", "no JSON", "[]", "3", '{"name": "Mine"}', '{"name": 1, "createdAt": 1, "state": 1}']
    + [json.dumps({"name": "Mine", "createdAt": 1, "state": f"deflate;{text}"}) for text in "?A="],
)
def test_what_is_no_view_is_told_apart(value: str) -> None:
    assert decode(value) is None
