import os
from pathlib import Path

import pytest
import torch

from dreamkit.priors.cache import EmbeddingCache, cache_folder, embedding_cache
from dreamkit.priors.conditioning import Conditioning


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMKIT_CACHE", str(tmp_path / "cache"))


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DREAMKIT_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "dreamkit"


@pytest.mark.parametrize("pooled", [None, torch.rand(1, 5)])
def test_a_row_comes_back_bit_for_bit(tmp_path: Path, pooled: torch.Tensor | None) -> None:
    cache, row = EmbeddingCache(tmp_path), Conditioning(torch.rand(1, 3, 4), pooled)
    assert cache.get("a bear") is None
    cache.put("a bear", row)
    found = cache.get("a bear")
    assert found is not None
    assert torch.equal(found.tokens, row.tokens)
    assert (found.pooled is None) == (pooled is None)
    assert cache.get("a Bear") is None
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_changed_model_files_get_another_cache(tmp_path: Path) -> None:
    weights = tmp_path / "text_encoder" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"1234")
    first = embedding_cache(tmp_path, ["text_encoder", "model_index.json"])
    assert embedding_cache(tmp_path, ["text_encoder", "model_index.json"]) == first
    os.utime(weights, ns=(1, 1))
    second = embedding_cache(tmp_path, ["text_encoder", "model_index.json"])
    (tmp_path / "model_index.json").write_text("{}")
    third = embedding_cache(tmp_path, ["text_encoder", "model_index.json"])
    assert len({first.folder, second.folder, third.folder}) == 3


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put("a bear", Conditioning(torch.rand(1, 3, 4)))
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"not a tensor")
    with pytest.raises(ValueError, match=r"damaged.*delete it"):
        cache.get("a bear")


def test_a_renamed_file_is_not_mistaken_for_another_prompt(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.put("a bear", Conditioning(torch.rand(1, 3, 4)))
    (path,) = tmp_path.iterdir()
    path.rename(cache._path("a mug"))
    with pytest.raises(ValueError, match="another prompt"):
        cache.get("a mug")


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="DREAMKIT_CACHE"):
        EmbeddingCache(tmp_path / "file" / "folder").put("a", Conditioning(torch.zeros(1, 2, 3)))
