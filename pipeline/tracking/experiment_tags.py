"""What is written to an experiment for its readers: its note and saved views; their edits stay."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.base import InputError, progress
from pipeline.tracking import client, page_state
from pipeline.tracking.names import HIDDEN

WRITTEN = "written."  # begins tags with digests of what was last written here, by view or note


@contextmanager
def said_where_not_allowed(what: str) -> Iterator[None]:
    """Go on where a person may not change the experiment, which fails no comparison."""
    try:
        yield
    except InputError as refused:
        progress.update(message=f"{what} not written: {refused}")


def save_views(experiment: str, states: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
    """Save views by their ids, each a name and a state, to be listed in this order."""
    tags = client.connect().get_experiment(experiment).tags
    now = int(time.time() * 1000)
    for place, (view_id, (name, state)) in enumerate(states.items()):
        tag = page_state.VIEW_TAG + view_id
        found = page_state.decode(tags.get(tag, ""))
        # The UI lists the latest first.
        created = found[2] if found else now - place
        write(experiment, tags, tag, page_state.encode(name, state, created=created, updated=now))


def write(experiment: str, tags: Mapping[str, str], tag: str, value: str) -> None:
    """Set a tag of the experiment, unless it says that already or a person has changed it."""
    written, digest = HIDDEN + WRITTEN + tag, page_state.digest(value)
    stored = page_state.digest(tags[tag]) if tag in tags else None
    before = f"twenty_layers.{WRITTEN}{tag}"  # in older stores, where the UI shows it
    if stored not in (None, digest, tags.get(written, tags.get(before))):
        progress.update(message=f"{tag} was edited in the UI: left as it is.")
        return
    if stored != digest:
        client.connect().set_experiment_tag(experiment, tag, value)
    if tags.get(written) != digest:  # last: interrupted in between, both are written next time
        client.connect().set_experiment_tag(experiment, written, digest)
    if before in tags:
        client.connect().delete_experiment_tag(experiment, before)
