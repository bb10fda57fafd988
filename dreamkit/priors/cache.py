"""Prompt embeddings on disk, so that text encoders are loaded once for each new prompt and not once for each run."""

import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from dreamkit.priors.conditioning import Conditioning


def cache_folder() -> Path:
    """`DREAMKIT_CACHE`, or the place where this platform keeps caches."""
    if chosen := os.environ.get("DREAMKIT_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dreamkit"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "dreamkit" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dreamkit"


@dataclass(frozen=True)
class EmbeddingCache:
    """One safetensors file for each prompt, in a folder for each set of text encoder files."""

    folder: Path

    def get(self, prompt: str) -> Conditioning | None:
        """The prompt's single row, or None when it is not there."""
        path = self._path(prompt)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                written_for = (file.metadata() or {}).get("prompt")
            parts = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} in the embedding cache is damaged ({error}); delete it") from error
        if written_for != prompt:
            raise ValueError(f"{path} in the embedding cache belongs to another prompt; delete it")
        return Conditioning(parts["tokens"], parts.get("pooled"), parts.get("time_ids"))

    def put(self, prompt: str, row: Conditioning) -> None:
        """Write one row; whole or not at all, as several runs may share the cache.

        A cache that cannot be written costs time and nothing else, so that is a warning.
        """
        try:
            self._write(prompt, row)
        except OSError as error:
            warnings.warn(
                f"cannot write the embedding cache {self.folder} ({error}), so prompts are embedded anew in each run; "
                "set DREAMKIT_CACHE to a folder that can be written",
                stacklevel=2,
            )

    def _write(self, prompt: str, row: Conditioning) -> None:
        parts = {"tokens": row.tokens, "pooled": row.pooled, "time_ids": row.time_ids}
        tensors = {name: part.detach().cpu().contiguous() for name, part in parts.items() if part is not None}
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
        os.close(handle)
        save_file(tensors, temporary, metadata={"prompt": prompt})
        os.replace(temporary, self._path(prompt))

    def _path(self, prompt: str) -> Path:
        return self.folder / f"{hashlib.sha256(prompt.encode()).hexdigest()[:32]}.safetensors"


def embedding_cache(folder: Path, parts: Sequence[str], setting: str = "") -> EmbeddingCache:
    """The cache for a model whose text side is in these parts of `folder`, used with this `setting`.

    The key is made of the names, sizes and times of their files, so a model that changes in place gets a new cache.
    """
    digest = hashlib.sha256(setting.encode())
    found = [path for part in parts for path in ((folder / part), *(folder / part).rglob("*"))]
    for path in sorted(path for path in found if path.is_file()):
        # Hub snapshots are links to files that are named by their content, so the target tells versions apart, too.
        state = path.stat()
        digest.update(f"{path.relative_to(folder)} {path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return EmbeddingCache(cache_folder() / "embeddings" / digest.hexdigest()[:32])
