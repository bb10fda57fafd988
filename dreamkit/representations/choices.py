"""Names that a person may choose from, and what to say when the name is not among them."""

import difflib
from collections.abc import Sequence


def check_choice(what: str, given: str, known: Sequence[str]) -> None:
    """Raise ValueError unless `given` is one of `known`; the message lists them and proposes the nearest."""
    if given in known:
        return
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {what} {given!r}: known are {', '.join(known)}{hint}")
