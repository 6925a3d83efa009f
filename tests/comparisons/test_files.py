"""Finding and reading comparisons: those of the folder, and anyone's own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT
from declared import BN_SWISH

from pipeline.base import InputError
from pipeline.comparisons import files
from pipeline.comparisons.twenty_layers import BN


def written(path: Path, text: str = BN_SWISH) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def test_a_file_from_anywhere_is_a_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    comparison = files.load("./mine.py")
    assert (comparison.name, comparison.location) == ("mine", str(tmp_path / "mine.py"))
    assert comparison.title == "Does swish do better than ELU under batch normalisation?"
    assert [variant.name for variant in comparison.variants] == ["bn", "bn_swish"]
    assert comparison.variants[0] == BN
    (question,) = comparison.asked
    assert (question.variant, question.reference, question.margin) == ("bn_swish", "bn", 0.01)


def test_a_file_in_the_folder_is_a_comparison_by_its_name(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "pipeline", tmp_path / "pipeline")
    written(tmp_path / "pipeline" / "comparisons" / "mine.py")
    program = (
        "from pipeline.comparisons import files\n"
        "print(files.names(), files.load('mine').location, files.find_variant('bn_swish')[1].name)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *names, location, name = ran.stdout.replace("[", "").replace("]", "").split()
    assert (names[0], location, name) == ("'twenty_layers',", "mine", "mine")
    assert {"'mine',", "'digits',"} <= set(names)


def test_the_default_is_twenty_layers_and_every_variant_of_it_is_found() -> None:
    comparison = files.load(files.DEFAULT)
    assert [variant.name for variant in comparison.variants] == [
        *("elu", "bn", "selu", "alpha_dropout", "one_cycle")
    ]
    assert len(comparison.asked) == 11
    for variant in comparison.variants:
        assert files.find_variant(variant.name) == (variant, comparison)


def test_a_variant_is_looked_for_where_it_is_said_and_then_everywhere(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.py", BN_SWISH.replace('activation="swish"', "units=50"))
    variant, comparison = files.find_variant("bn_swish", mine)
    assert (variant.units, comparison.name) == (50, "mine")
    variant, comparison = files.find_variant("selu", mine)  # on the data of the file that was given
    assert (variant.name, comparison.name) == ("selu", "mine")
    with pytest.raises(
        InputError, match=r"one of bn, bn_swish, elu, .* more; .*Did you mean 'bn_swish'"
    ):
        files.find_variant("bn_swich", mine)
    with pytest.raises(InputError, match="Did you mean 'alpha_dropout'"):
        files.find_variant("alpha_drop")
    with pytest.raises(InputError, match="or give the comparison that declares it"):
        files.find_variant("bn_swish")


def in_lines(*lines: str) -> str:
    return "\n".join(["from pipeline.comparisons import *", *lines]) + "\n"


ELU = 'E = Variant(name="elu")'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (in_lines("x ="), "line 2: expected a Python file that runs without .*SyntaxError"),
        (in_lines("import no_such_module"), "line 2: .*ModuleNotFoundError: No module named"),
        (in_lines("", "1 / 0"), "line 3: .*ZeroDivisionError"),
        (in_lines(ELU), "expected a file that declares COMPARISON = .*; received none"),
        (in_lines("COMPARISON = 3"), "received COMPARISON of int"),
        (
            in_lines(ELU, "COMPARISON = Comparison(variants=(E, E))"),
            "variants of a comparison, in .*, line 3: .*'elu' twice",
        ),
        (
            in_lines(
                ELU,
                "COMPARISON = Comparison(",
                "    variants=(E,),",
                '    questions=(Question(variant="bn", reference="elu", metric="test_accuracy"),),',
                ")",
            ),
            "variant of the question .*, line 3: expected one of elu; received 'bn'",
        ),
        (
            in_lines(
                ELU,
                "COMPARISON = Comparison(",
                "    variants=(E,),",
                '    questions=(Question(variant="elu", reference="elu", metric="mc_gain", '
                "margin=-1),),",
                ")",
            ),
            "margin of a question about 'elu', in .*, line 5: .*at least 0.*; received -1",
        ),
        (
            in_lines(ELU, "", 'S = E.derive(name="s", self_normalizing=True)'),
            "activation of variant 's', in .*, line 4: expected 'selu', so that it self-normalises",
        ),
    ],
)
def test_a_file_that_is_refused_is_named_with_the_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path / "mine.py", text)
    with pytest.raises(InputError, match=message) as refused:
        files.load(path)
    assert path in str(refused.value)


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ("twenty_layer", "Did you mean 'twenty_layers'"),
        ("declarations", "one of twenty_layers, .*, the path of a .py file"),
        ("./absent.py", r"absent\.py, where there is no file"),
        ("./mein.py", "Did you mean 'mine.py'"),
        ("no/such/folder.py", "there is no file"),
        ("", "one of twenty_layers"),
    ],
)
def test_what_is_no_comparison_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comparison: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "mine.py")
    with pytest.raises(InputError, match=message):
        files.load(comparison)


def test_a_refusal_of_a_command_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.py", in_lines("1 / 0"))
    ran = subprocess.run(
        [sys.executable, "-m", "pipeline.main", "--comparison", path],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(rf"Error: comparison {path}, line 2: .*ZeroDivisionError.*\n", ran.stderr)


def test_declarations_import_nothing_heavy() -> None:
    heavy = ["tensorflow", "keras", "numpy", "mlflow", "optuna"]
    program = (
        "import sys; from pipeline.comparisons import files; files.load('twenty_layers')\n"
        "print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *heavy], cwd=PROJECT, capture_output=True, text=True
    )
    assert ran.stdout == "[]\n", ran.stderr


# --- What a variant starts from ----------------------------------------------------------------

SOURCE = 'A = Variant(name="a", hidden_layers=3, units=7)'
TAKEN = 'starts_from="{}", reused_layers={}'


def started(starts_from: str, reused_layers: int = 3, changes: str = "") -> tuple[str, str]:
    taken = TAKEN.format(starts_from, reused_layers)
    return f'B = A.derive(name="b", {taken}{changes})', "COMPARISON = Comparison(variants=(A, B))"


def test_a_source_is_of_the_comparison_itself_or_of_one_of_the_folder(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.py", in_lines(SOURCE, *started("a")))
    comparison = files.load(path)
    assert files.source_of(comparison.variants[1], comparison) == (
        comparison.variants[0],
        comparison,
    )
    transfer, digits = files.load("transfer"), files.load("digits")
    frozen = transfer.variants[1]
    assert frozen.starts_from == "digits_bn"
    assert files.source_of(frozen, transfer) == (digits.variants[1], digits)
    assert (digits.data.classes, transfer.data.classes) == ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


def test_a_source_of_another_file_is_found_from_where_the_file_is_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "first.py", in_lines(SOURCE, "COMPARISON = Comparison(variants=(A,))"))
    (tmp_path / "below").mkdir()
    path = written(tmp_path / "below" / "mine.py", in_lines(SOURCE, *started("../first.py:a")))
    monkeypatch.chdir("/")
    comparison = files.load(path)
    source, of = files.source_of(comparison.variants[1], comparison)
    assert (source.name, of.name, of.location) == ("a", "first", str(tmp_path / "first.py"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (started("digit_bn"), "starts_from of variant 'b': .*Did you mean 'digits_bn'"),
        (
            started("absent.py:a"),
            "in starts_from of variant 'b': .*absent.py, where there is no file",
        ),
        (started("digits:bn"), "starts_from of variant 'b': expected one of digits, digits_bn"),
        (started("a", 3, ", hidden_layers=4, units=8"), "units .*expected 7, .*'a'.*received 8"),
        (started("a", 3, ', activation="relu"'), "activation of variant 'b': expected 'elu'"),
        (started("a", 3, ", batch_normalization=True"), "batch_normalization .*expected False"),
        (
            started("a", 3, ', reused_output=True, output_activation="sigmoid"'),
            "output_activation of variant 'b': expected 'softmax'",
        ),
        (started("a", 4, ", hidden_layers=4"), "reused_layers .*at most 3, all hidden.*received 4"),
        (started("b"), "starts_from of variant 'b': .*does not start from this one.* b -> b"),
    ],
)
def test_a_source_that_there_is_not_or_that_has_other_layers_is_refused(
    tmp_path: Path, lines: tuple[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        files.load(written(tmp_path / "mine.py", in_lines(SOURCE, *lines)))


def test_a_circle_of_sources_is_refused_be_it_through_several_files(tmp_path: Path) -> None:
    for name, other in (("one", "two"), ("two", "three"), ("three", "one")):
        taken = TAKEN.format(f"{other}.py:v_{other}", 1)
        declared = f'V = Variant(name="v_{name}", {taken})'
        text = in_lines(declared, "COMPARISON = Comparison(variants=(V,))")
        path = written(tmp_path / f"{name}.py", text)
    message = "v_three -> v_one -> v_two -> v_three"
    with pytest.raises(InputError, match=message):
        files.load(path)


def test_a_variant_goes_with_the_data_and_sources_of_the_comparison_that_is_given(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="arms of variant 'pairs_two': expected one, as its data"):
        files.find_variant("pairs_two", "digits")
    text = in_lines('D = Variant(name="digits_bn")', "COMPARISON = Comparison(variants=(D,))")
    path = written(tmp_path / "mine.py", text)  # whose digits_bn has 20 layers, and no such kind
    with pytest.raises(InputError, match="batch_normalization of variant 'transfer_frozen'"):
        files.find_variant("transfer_frozen", path)


def test_a_file_is_found_from_the_folder_that_one_is_in_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        written(Path("mine.py"), f'"""Of {name}?"""\n{BN_SWISH.partition(chr(10))[2]}')
        assert files.load("mine.py").title == f"Of {name}?"


@pytest.mark.parametrize("name", files.names())
def test_every_comparison_of_the_folder_can_be_loaded(name: str) -> None:
    comparison = files.load(name)
    assert (comparison.name, comparison.location) == (name, name)
    assert comparison.title.endswith("?")
    for variant in comparison.variants:
        assert files.find_variant(variant.name)[0].content("train") == variant.content("train")
