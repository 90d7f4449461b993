"""Files of a data set that may lie elsewhere: a folder, a web server, or a model hub. What is fetched is kept."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..base.errors import EdgeclipError, require
from ..base.folders import cache_folder
from ..base.web import fetch, unreachable

HUB = "hub:"
HUB_URL = re.compile(r"^https://huggingface\.co/datasets/([^/]+/[^/]+)(?:/tree/([^/]+))?/?$")


def is_remote(where: str) -> bool:
    """Whether ``where`` names something that is not on this disk."""
    return where.startswith((HUB, "https://", "http://"))


class DatasetLocation:
    """Where a data set lies. ``file(name)`` gives a path on this disk, fetched first where need be."""

    def __init__(self, where: str) -> None:
        match = HUB_URL.match(where)
        self.where = f"{HUB}{match[1]}" if match else where.rstrip("/")
        self._revision = match[2] if match else None
        self.name = self.where.rpartition("/")[2] or self.where

    def file(self, name: str) -> Path | None:
        """The file ``name`` (with / between folders), or None where there is none.

        Raises:
            EdgeclipError: the server cannot be reached, or refuses.
        """
        if self.where.startswith(HUB):
            return self._from_hub(name)
        if is_remote(self.where):
            return self._from_web(f"{self.where}/{name}")
        path = Path(self.where) / name
        return path if path.is_file() else None

    def _from_hub(self, name: str) -> Path | None:
        hub = require("huggingface_hub", "hub")
        repo = self.where.removeprefix(HUB)
        try:
            kept = hub.try_to_load_from_cache(repo, name, repo_type="dataset", revision=self._revision)
        except hub.errors.HFValidationError:
            raise EdgeclipError(f"{self.where}: not a repository of a hub: as in hub:USER/NAME") from None
        if not isinstance(kept, str) and (why := unreachable(hub.constants.ENDPOINT)):
            raise EdgeclipError(f"{self.where}: {name} was not fetched yet, and {why}")
        try:
            return Path(hub.hf_hub_download(repo, name, repo_type="dataset", revision=self._revision))
        except hub.errors.EntryNotFoundError:
            return None
        except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EdgeclipError(f"{self.where}: the hub does not give {name} ({reason})") from error

    def _from_web(self, url: str) -> Path | None:
        kept = cache_folder() / "web" / hashlib.sha256(url.encode()).hexdigest()[:32] / url.rpartition("/")[2]
        return kept if fetch(url, kept) else None
