"""What a terminal shows of a comparison: on one screen the verdict, the results, the answers."""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from operator import attrgetter
from typing import Any

from pipeline.answers import tables, words
from pipeline.answers.evidence import Evidence
from pipeline.answers.summary import IF_ASKED
from pipeline.answers.tables import MISSING, PLUS_MINUS
from pipeline.answers.verdicts import Answer
from pipeline.base import layout, output, phrases

MOST_LINES = 28  # with those that come after the last training, 30
MOST_VARIANTS = 8
IN_REPORT = "and {} more, in the report"
# Columns of the results in the order of what they tell; those that there is room for are shown.
_RESULTS = ["Variant", "Seeds", "Test accuracy", "s/epoch", "s/training", "Epochs to target"]
_RESULTS += ["Val accuracy", "Train accuracy", "Test precision", "Ensemble", "MC accuracy"]
_RESULTS += ["Learning rate", "Best epoch", *IF_ASKED.values()]
_ANSWERS = ["Compared", "Metric", "Verdict", "Effect", "Interval", "Role", "Runs"]
# What a question is about, by the column of the results that it has its figures from.
_ABOUT = {"test_accuracy": "accuracy", "mc_gain": "accuracy", "epochs_to_target": "epochs"}
_ABOUT |= {"median_epoch_seconds": "s/epoch", "train_seconds": "training"}
_ABOUT |= {"generalization_gap": "overfitting"}
_ABOUT |= {metric: title.lower() for metric, title in IF_ASKED.items()}


def brief(evidence: Evidence, champion: str, refused: str = "") -> str:
    """What is shown, for any width; as JSON.

    Args:
        evidence: of the comparison.
        champion: the line about it.
        refused: what was not registered, and what to do about it.
    """
    rows = tables.summary_table(evidence)
    places = [rows[0].index(name) for name in _RESULTS if name in rows[0]]
    reasons = dict.fromkeys(one.reason for one in evidence.answers if one.reason)
    warnings = {
        "Not compared": [str(one) for one in evidence.left_out],
        "No interval": list(reasons),
        "Not all alike": words.flags(evidence),
        "Validation says otherwise": [one for of in evidence.headlines for one in words.denied(of)],
    }
    best = evidence.summary.sort_values("val_accuracy", ascending=False, kind="stable")
    undecided = [one for one in evidence.answers if one.seeds is not None]
    undecided.sort(key=lambda one: one.question.role != "primary")
    trained = f"{phrases.counted(len(evidence.runs), 'training')} on {evidence.dataset}, "
    trained += f"{words.trained(evidence)}."
    verdict = {
        card.title: [
            f"{name} ({card.winners[name]})" for name in best["variant"] if name in card.winners
        ]
        for card in words.cards(evidence)
    }
    found = {
        "to_decide": [
            f"{tables.compared(one.question)}, {_ABOUT[one.question.metric]}: {one.seeds}"
            for one in undecided
        ],
        "verdict": verdict if evidence.answers else {words.NO_QUESTION: []},
        "results": [[row[place] for place in places] for row in rows],
        "best_first": list(best.index),
        "answers": [_ANSWERS, *map(_answer, evidence.answers)],
        "note": _note(evidence),
        "trained": f"{trained} {champion}".strip(),
        "warnings": warnings,
        "refused": refused,
    }
    return json.dumps(found, ensure_ascii=False)


def _answer(answer: Answer) -> list[str]:
    question = answer.question
    same = question.variant == question.reference
    cells = [
        f"{question.variant}, MC Dropout" if same else tables.compared(question),
        _ABOUT[question.metric],
        answer.verdict or "described",
        tables.effect(answer),
        tables.interval(answer).removesuffix(" times"),
        question.role,
        " and ".join(map(str, dict.fromkeys(answer.sizes))) if any(answer.sizes) else "",
    ]
    return [cell or MISSING for cell in cells]


def _note(evidence: Evidence) -> str:
    """What the figures are; the level of the intervals once for all of them."""
    said = [f"{PLUS_MINUS}: 95% interval of a mean."]
    known = [one for one in evidence.answers if tables.interval(one)]
    if known := sorted(known, key=attrgetter("confidence")):
        ends = dict.fromkeys(tables.confidence(one) for one in (known[0], known[-1]))
        said += [f"Intervals: {' to '.join(ends)}."]
    margins = dict.fromkeys(
        tables.margin(one.question) for one in known if one.question.metric == "test_accuracy"
    )
    said += [f"Equal: within {phrases.listed(margins)}."] if margins else []
    return " ".join(said)


def screen(found: bytes, ending: str, columns: int) -> str:
    """What `brief` has, then where the rest is, in at most `MOST_LINES` lines of a width.

    Of more questions than there is room for, the primary ones come first; an empty line goes before
    a question does.
    """
    of = _printable(json.loads(found))
    header, *answers = of["answers"]
    above = [*_verdict(of, columns), *_results(of, columns)]
    below = [*_remarks(of, columns), ending]
    role = header.index("Role")
    by_role = sorted(range(len(answers)), key=lambda place: answers[place][role] != "primary")
    for shown, gap in product(range(len(answers), -1, -1), ([""], [])):
        chosen = [answers[place] for place in sorted(by_role[:shown])]
        lines = layout.table([header, *chosen], columns, keep=5) if chosen else []
        lines += [IN_REPORT.format(len(answers) - shown)] if shown < len(answers) else []
        text = "\n".join([*above, *(gap if lines else ()), *lines, *below])
        if text.count("\n") < MOST_LINES:
            break
    return text


def _printable(value: Any) -> Any:
    """The same without what a terminal would obey: anybody may have changed the file."""
    if isinstance(value, str):
        return output.printable(value.replace("`", ""))
    if isinstance(value, dict):
        return {_printable(name): _printable(one) for name, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list) else value


def _verdict(of: Mapping[str, Any], columns: int) -> Iterator[str]:
    """The winners, a line or two for every headline; where there are none, that."""
    won = {title: winners for title, winners in of["verdict"].items() if winners}
    for title, winners in won.items():
        yield layout.listed(f"{title}: ", winners, columns, lines=2)
    if not won:
        yield layout.filled(f"{'; '.join(of['verdict'])}.", columns)


def _results(of: Mapping[str, Any], columns: int) -> list[str]:
    """The results of all variants, or of many those that are best on the validation images."""
    header, *rows = of["results"]
    best = sorted(of["best_first"][:MOST_VARIANTS])
    lines = layout.table(
        [header, *(rows[place] for place in best)], columns, keep=3, right=header[1:]
    )
    return lines + ([IN_REPORT.format(len(rows) - len(best))] if len(best) < len(rows) else [])


def _remarks(of: Mapping[str, Any], columns: int) -> Iterator[str]:
    yield layout.filled(of["note"], columns)
    if of["to_decide"]:
        yield layout.listed("Seeds of each to decide: ", of["to_decide"], columns)
    for what, items in of["warnings"].items():
        if items:
            yield layout.listed(f"{what}: ", items, columns)
    for text in filter(None, [of["refused"], of["trained"]]):
        yield layout.filled(text, columns)
