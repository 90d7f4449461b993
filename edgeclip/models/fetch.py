"""A teacher's files from the hub: safetensors alone, and what cannot be had is one line within seconds."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from open_clip.constants import HF_WEIGHTS_NAME
from open_clip.pretrained import _get_safe_alternatives, get_pretrained_cfg

from ..base.errors import EdgeclipError
from ..base.web import unreachable

REPO = re.compile(r"\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?")
HUB_CONFIG = "open_clip_config.json"


def fetch_tag(architecture: str, tag: str) -> None:
    """Have the weights of open_clip's ``MODEL:TAG`` in the hub's cache.

    Raises:
        EdgeclipError: see :func:`fetch`.
    """
    place = PurePosixPath(str(get_pretrained_cfg(architecture, tag).get("hf_hub", "")) + "/.")
    repo = "/".join(place.parts[:2])
    if not repo:
        raise EdgeclipError(f"{architecture}:{tag} comes only as a file that can run code, which is not read")
    fetch(repo, _safe("/".join(place.parts[2:]) or HF_WEIGHTS_NAME))


def fetch_model(repo: str) -> None:
    """Have config and weights of a model in open_clip's hub layout in the hub's cache.

    Raises:
        EdgeclipError: see :func:`fetch`.
    """
    fetch(repo, [HUB_CONFIG])
    fetch(repo, _safe(HF_WEIGHTS_NAME))


def _safe(name: str) -> list[str]:
    return [name] if name.endswith(".safetensors") else list(_get_safe_alternatives(name))


def fetch(repo: str, names: Sequence[str]) -> None:
    """Have the first of ``names`` that ``repo`` holds in the hub's cache.

    Raises:
        EdgeclipError: it holds none of them, there is no such repository, or the hub cannot be reached.
    """
    if not REPO.fullmatch(repo) or ".." in repo:
        raise EdgeclipError(f"{repo:.100}: no name that a hub could have: as in hf-hub:timm/ViT-B-16-SigLIP")
    if any(isinstance(try_to_load_from_cache(repo, name), str) for name in names):
        return
    if why := out_of_reach():
        raise EdgeclipError(f"{repo} was not fetched yet, and {why}; local-dir:FOLDER reads a model from the disk")
    for name in names:
        try:
            with quiet():
                hf_hub_download(repo, name)
        except EntryNotFoundError:
            continue
        except (RepositoryNotFoundError, HFValidationError):
            raise EdgeclipError(f"{constants.ENDPOINT} has no model {repo}, or it wants a token: HF_TOKEN") from None
        except (HfHubHTTPError, OSError) as error:
            raise EdgeclipError(f"{repo}: {name} cannot be fetched ({str(error).splitlines()[0]})") from error
        return
    raise EdgeclipError(f"{repo} has no {' or '.join(names)}; files that can run code are not read")


def out_of_reach() -> str:
    """Why the hub cannot be asked; nothing where it can."""
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else unreachable(constants.ENDPOINT)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the logs of open_clip and of the hub's client to themselves: what fails is said in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def cached() -> Iterator[None]:
    """Where the hub is out of reach, look into its cache alone: its client would try for a minute."""
    settings: Any = constants
    before = settings.HF_HUB_OFFLINE
    settings.HF_HUB_OFFLINE = bool(out_of_reach())
    try:
        yield
    finally:
        settings.HF_HUB_OFFLINE = before
