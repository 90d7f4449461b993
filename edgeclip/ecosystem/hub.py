"""Upload to a model hub that speaks Hugging Face's API (``HF_ENDPOINT`` names another than theirs)."""

from __future__ import annotations

import re
from pathlib import Path

from ..base.errors import EdgeclipError, require

HTTP_LIBRARIES = ("requests", "httpx", "httpx2")
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def check_repo(repo: str) -> None:
    """Refuse what is no repository's name.

    Raises:
        EdgeclipError: it is not ``USER/NAME``.
    """
    if not REPO.fullmatch(repo):
        raise EdgeclipError(f"{repo!r} is not a repository name: use USER/NAME")


def upload(folder: Path, repo: str, *, private: bool = False) -> str:
    """Make the repository if it is not there, and put ``folder`` into it as one commit. Returns the page's address.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        EdgeclipError: the hub cannot be reached, or refuses: no token, not yours.
    """
    check_repo(repo)
    hub = require("huggingface_hub", "hub")
    api = hub.HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Pushed by edgeclip")
    except hub.errors.HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        hint = ": log in with `hf auth login`, or set HF_TOKEN" if code in (401, 403) else ""
        raise EdgeclipError(f"{repo}: the hub refuses ({_line(error)}){hint}") from error
    except Exception as error:  # of its HTTP library, which changes from version to version: requests, httpx, httpx2
        if type(error).__module__.partition(".")[0] not in HTTP_LIBRARIES:
            raise
        raise EdgeclipError(f"{api.endpoint} cannot be reached ({_line(error)})") from error
    return f"{api.endpoint}/{repo}"


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
