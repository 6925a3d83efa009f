"""Names from outside, as Markdown shows them."""

import pytest

from pipeline.base import markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("cifar10", "cifar10"),
        ("mnist_5k", "mnist_5k"),
        ("_a_ b_", "\\_a\\_ b\\_"),
        ("train-images.npz (2)!", "train-images.npz (2)!"),
        ("# a\n# b", "\\# a # b"),
        ("1. a", "1\\. a"),
        ("[x](http://y)", "\\[x\\](http://y)"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("a\\`b`|c", "a\\\\\\`b\\`\\|c"),
    ],
)
def test_markdown_and_html_in_names_are_escaped(text: str, escaped: str) -> None:
    assert markdown.escaped(text) == escaped


@pytest.mark.parametrize(
    ("text", "code"),
    [("mlflow run .", "`mlflow run .`"), ("'a`b``c`'", "``` 'a`b``c`' ```"), ("`", "`` ` ``")],
)
def test_code_ends_where_it_ends_not_at_a_backtick_in_it(text: str, code: str) -> None:
    assert markdown.code(text) == code


def test_in_html_names_are_escaped_and_code_is_code() -> None:
    assert markdown.as_html("Is `a_b` < <b>?") == "Is <code>a_b</code> &lt; &lt;b&gt;?"
    assert markdown.as_html("`<script>`") == "<code>&lt;script&gt;</code>"
