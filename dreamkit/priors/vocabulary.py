"""The words that a small prior knows; others it refuses, instead of drawing something else."""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


class UnknownWords(ValueError):
    """A prompt uses words that the prior was not trained on."""


@dataclass(frozen=True)
class Vocabulary:
    """What a closed-vocabulary prior can be asked for; read from its `vocabulary.json`."""

    kinds: tuple[str, ...]
    "Things it can make."
    colors: tuple[str, ...]
    patterns: tuple[str, ...]
    views: tuple[str, ...]
    'Phrases such as "front view".'
    words: tuple[str, ...]
    "Every word it knows, those of the lists above included."

    @staticmethod
    def of(folder: Path) -> "Vocabulary | None":
        """The vocabulary of the model in `folder`, or None for a model that takes any prompt.

        Raises ValueError naming the file when a list is missing from it.
        """
        path = folder / "vocabulary.json"
        if not path.is_file():
            return None
        lists = json.loads(path.read_text(encoding="utf-8"))
        names = ("kinds", "colors", "patterns", "views", "words")
        missing = [name for name in names if not isinstance(lists.get(name), list)]
        if missing:
            raise ValueError(f"{path} must hold the lists {', '.join(names)}; missing: {', '.join(missing)}")
        return Vocabulary(*(tuple(lists[name]) for name in names))

    def check(self, prompts: Sequence[str], prior: str) -> None:
        """Raise UnknownWords for the first prompt with a word that is not known; case and punctuation do not count."""
        known = {word.lower() for word in self.words}
        for prompt in prompts:
            unknown = [word for word in dict.fromkeys(split_words(prompt)) if word not in known]
            if unknown:
                raise UnknownWords(self._explain(prompt, unknown, sorted(known), prior))

    def suggest(self, count: int, generator: torch.Generator) -> list[str]:
        """Random prompts that it understands, of different kinds: `a [pattern] [colour] KIND`, half of them plain.

        At most as many as there are kinds.
        """
        kinds = [self.kinds[i] for i in torch.randperm(len(self.kinds), generator=generator)[:count]]
        return [self._suggestion(kind, generator) for kind in kinds]

    def _suggestion(self, kind: str, generator: torch.Generator) -> str:
        def choice(options: Sequence[str]) -> str:
            return options[int(torch.randint(len(options), (), generator=generator))]

        patterned = bool(self.patterns) and torch.rand((), generator=generator) < 0.5
        words = [choice(self.patterns)] if patterned else []
        words += [choice(self.colors)] if self.colors else []
        first = (words or [kind])[0]
        return " ".join(["an" if first[0] in "aeiou" else "a", *words, kind])

    def _explain(self, prompt: str, unknown: Sequence[str], known: Sequence[str], prior: str) -> str:
        near = {word: difflib.get_close_matches(word, known, n=1, cutoff=0.6) for word in unknown}
        guesses = "".join(f" Instead of {word!r} it knows {match[0]!r}." for word, match in near.items() if match)
        return (
            f"the prior {prior!r} does not know {', '.join(map(repr, unknown))} (prompt: {prompt!r}).{guesses} "
            f"It makes: {', '.join(self.kinds)}; in: {', '.join(self.colors)}; with: {', '.join(self.patterns)}. "
            "For other prompts name a larger model: --prior MODEL_ID or --prior FOLDER, for example --prior sd21-base"
        )


def split_words(prompt: str) -> list[str]:
    """Lower-case words without punctuation; an apostrophe or a hyphen inside a word stays."""
    return re.findall(r"\w+(?:['’-]\w+)*", prompt.lower())
