"""What differs between the inputs of two steps of one kind, in words."""

from collections.abc import Mapping

from pipeline.base import phrases
from pipeline.comparisons.declarations import default_setting

MOST_NAMED = 8  # modules


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What has changed from some inputs to others, as `Step.inputs` names them; empty if none."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    modules = [name.removeprefix("code of ") for name in changed if name.startswith("code of ")]
    others = [name for name in changed if not name.startswith("code of ")]
    said = [f"{name} changed{_from_to(name, before, now)}" for name in others]
    if modules:
        few = len(modules) <= MOST_NAMED
        which = ", ".join(modules) if few else phrases.counted(len(modules), "module")
        said.append(f"code of {which} changed")
    return "; ".join(said)


def _from_to(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    kind, _, setting = name.partition(" ")
    default = default_setting(setting) if kind == "variant" else "its default"
    if kind not in ("parameter", "variant", "version"):
        return ""
    was = f" from {before.get(name, default)}" if name in before or kind == "variant" else ""
    return f"{was} to {now.get(name, default)}"
