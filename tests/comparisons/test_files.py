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
    assert ran.stdout == "['twenty_layers', 'mine'] mine mine\n"


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
    with pytest.raises(InputError, match=r"one of bn, bn_swish, elu, .*Did you mean 'bn_swish'"):
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
        (in_lines("x ="), "line 2: expected a Python file that can be imported; .*SyntaxError"),
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
        ("declarations", "one of twenty_layers, the path of a .py file"),
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
