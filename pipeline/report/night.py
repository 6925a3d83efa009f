"""What a night came to, for people: its page, the note of its run, and a terminal's last lines.

All three say first what somebody has to look at. Names come from people: the page and the note show
them as they are, whatever they are made of.
"""

from collections.abc import Iterator

from pipeline.answers.night import Finding, NightReport
from pipeline.base import layout, markdown, output
from pipeline.base.phrases import counted, minutes
from pipeline.comparisons.colors import readable
from pipeline.report.templates import rendered
from pipeline.report.trend_figures import trend_panels

QUIET = "Quiet: nothing to look at."
MOST_LINES = 20  # on a terminal
MOST_OF_ALARM, MOST_OF_FINDING = 4, 2  # lines on a terminal
MOST_LINKS = 3  # on a terminal


def html(report: NightReport) -> str:
    """The page, self-contained: there is nothing to fetch. Its templates are night.*."""
    colors = {variant: readable(color) for variant, color in report.colors.items()}
    trend = report.trend.sort_values("night", kind="stable")
    return rendered(
        "night.html.jinja",
        report=report,
        colors=colors,
        trend=trend,
        panels=trend_panels(trend, colors),
        quiet=QUIET,
        headline=headline(report),
        since=since,
        took=_took(report),
    )


def headline(report: NightReport) -> str:
    """In a few words, whether somebody has to look at it."""
    return counted(len(report.alarms), "alarm") if report.alarms else "quiet"


def since(alarm: Finding) -> str:
    """Since when an alarm has rung."""
    return f"Since {alarm.since}." if alarm.since else "For the first time."


def note(report: NightReport, length: int) -> str:
    """Markdown of at most so many characters: first the alarms, which the list of runs begins with.

    Links lead to where the note is read, since the server's port may be another one the next time.
    """
    alarms, others = report.alarms, _others(report)
    said = [
        f"**Alarm{f' {place} of {len(alarms)}' if len(alarms) > 1 else ''}:** {_escaped(one)}"
        for place, one in enumerate(alarms, start=1)
    ] or [f"**{QUIET}**"]
    links = [
        f"[{markdown.escaped(name)}](<{_within(address)}>)"
        for name, address in report.links.items()
    ]
    ending = "\n\n".join(filter(None, [" · ".join(links), f"*{markdown.escaped(_about(report))}*"]))
    room = length - len(ending) - 2
    kept = "\n\n".join([*said, "\n".join(f"- {_escaped(one)}" for one in others)]).strip()
    if len(kept) > room:
        kept = kept[: room - 4].rpartition("\n")[0] or kept[: room - 4].rpartition(" ")[0]
        kept += "\n..."
    return f"{kept}\n\n{ending}"


def _others(report: NightReport) -> list[Finding]:
    return [one for one in report.findings if not one.is_alarm]


def _alarms_first(report: NightReport) -> list[Finding]:
    return [*report.alarms, *_others(report)]


def _sentences(finding: Finding) -> str:
    """All that is known of a finding."""
    said = [finding.text]
    if finding.is_alarm:
        said += [since(finding)]
    elif finding.since:
        said += [f"Since {finding.since}."]
    return " ".join([*said, *([f"Probable cause: {finding.cause}"] if finding.cause else [])])


def _escaped(finding: Finding) -> str:
    return markdown.escaped(_sentences(finding))


def _within(address: str) -> str:
    """A page of the MLflow UI, for those who are on another of its pages."""
    page, hash_, rest = address.partition("#/")
    return f"{hash_}{rest}" if hash_ else page


def _about(report: NightReport) -> str:
    began = f"{report.began:%Y-%m-%d %H:%M} UTC"
    return f"{report.comparison} on {report.dataset}, {began}, {_took(report)}"


def _took(report: NightReport) -> str:
    return minutes(60 * report.minutes, "").strip()


def screen(report: NightReport, columns: int) -> str:
    """The last lines on a terminal, at most `MOST_LINES` of a width; addresses stay whole."""
    links = [f"{name}: {address}" for name, address in report.links.items()][:MOST_LINKS]
    head = layout.filled(f"Night of {_about(report)}: {headline(report)}", columns).split("\n")
    room = MOST_LINES - len(head) - len(links)
    lines: list[str] = []
    blocks = [*_blocks(report, columns)]
    for place, block in enumerate(blocks):
        left = len(blocks) - place - 1
        if len(lines) + len(block) > room - bool(left):
            lines.append(f"and {left + 1} more, on its page")
            break
        lines += block
    return "\n".join(output.printable(line) for line in [*head, *lines, *links])


def _blocks(report: NightReport, columns: int) -> Iterator[list[str]]:
    for finding in _alarms_first(report):
        most = MOST_OF_ALARM if finding.is_alarm else MOST_OF_FINDING
        text = f"{'ALARM: ' * finding.is_alarm}{_sentences(finding)}"
        yield layout.listed("", [text], columns, lines=most).split("\n")


def tags(report: NightReport) -> dict[str, str]:
    """What the table of nights has of it: whether it rang the alarm, and what it found."""
    found = " ".join(_sentences(one) for one in _alarms_first(report))
    return {"alarm": "yes" if report.alarms else "no", "found": found}
