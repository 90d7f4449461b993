"""A bundle's manifest as plain data: what the single-file runner reads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.errors import EdgeclipError, FormatError
from ..base.seal import is_whole
from .engines.registry import known_engine, reads_recipe

MANIFEST_FILE, FORMAT, NEWEST = "bundle.json", "edgeclip-bundle", 4
SEALED_SINCE = 4
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_plain(folder: Path) -> dict[str, Any]:
    """Read the manifest, and check every file's hash against it.

    Raises:
        EdgeclipError: there is no bundle.
        FormatError: it is of a newer format, damaged, or a file is missing or altered.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdgeclipError(f"{folder} is not a bundle ({MANIFEST_FILE} is missing)") from None
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{folder}/{MANIFEST_FILE}: truncated or not JSON ({error}): copy the bundle again"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FormatError(f"{folder}/{MANIFEST_FILE}: not an {FORMAT} file")
    if not isinstance(manifest.get("version"), int) or manifest["version"] > NEWEST:
        raise FormatError(f"{folder}: format version {manifest.get('version')}: this runner reads up to {NEWEST}")
    if manifest["version"] >= SEALED_SINCE and not is_whole(manifest):
        raise FormatError(f"{folder}/{MANIFEST_FILE}: it was altered after edgeclip wrote it: copy the bundle again")
    try:
        words = ("phrases",) if manifest.get("phrases") else ("text", "tokenizer")
        files = [*manifest["variants"], manifest["golden"], *(manifest[name] for name in words)]
        files += manifest.get("extras", ())
        _check_values(folder, manifest)
        for entry in [*files, *([manifest["runner"]] if manifest.get("runner") else [])]:
            for file in (entry, entry.get("weights")):
                if file is not None:
                    _check(folder, file["file"], file["sha256"])
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{folder}/{MANIFEST_FILE}: {error} is missing: copy the bundle again") from error
    return manifest


def _check_values(folder: Path, manifest: Mapping[str, Any]) -> None:
    """What is computed with, within the bounds that :class:`~edgeclip.runtime.manifest.Manifest` has.

    Raises:
        KeyError, TypeError: something is missing, or of another type.
        FormatError: a value that nothing can be.
    """
    preprocess, precisions = manifest["preprocess"], [variant["precision"] for variant in manifest["variants"]]
    good = {
        "preprocess.size": isinstance(preprocess["size"], int) and 1 <= preprocess["size"] <= 1 << 14,
        "preprocess.mean": len(preprocess["mean"]) == 3 and all(0 <= value <= 1 for value in preprocess["mean"]),
        "preprocess.std": len(preprocess["std"]) == 3 and all(0 < value <= 1 for value in preprocess["std"]),
        "preprocess.ground": bool(re.fullmatch(r"[0-9a-f]{6}", str(preprocess.get("ground") or "000000"))),
        "logit_scale": 0 < manifest["logit_scale"] <= 1e6,
        "embed_dim": isinstance(manifest["embed_dim"], int) and 1 <= manifest["embed_dim"] <= 1 << 20,
        "fallback": manifest["fallback"] in precisions,
        "recommended": manifest.get("recommended") in (None, *precisions),
        "target": isinstance(manifest["target"]["runtime"]["name"], str),
    }
    if wrong := [name for name, fits in good.items() if not fits]:
        raise FormatError(f"{folder}/{MANIFEST_FILE}: {', '.join(wrong)}: cannot be so: copy the bundle again")


def _check(folder: Path, name: str, sha256: str) -> None:
    if not PLAIN_NAME.fullmatch(name):
        raise FormatError(f"{folder}: {name!r} would leave the bundle's folder")
    if not (folder / name).is_file():
        raise FormatError(f"{folder}: {name} is missing: export or copy the bundle again")
    digest = hashlib.sha256()
    with (folder / name).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise FormatError(f"{folder}: {name} differs from what was exported: export or copy the bundle again")


def chosen(manifest: Mapping[str, Any]) -> str:
    """The precision that is used where none is asked for."""
    return manifest.get("recommended") or manifest["fallback"]


def variant_of(manifest: Mapping[str, Any], precision: str | None) -> dict[str, Any]:
    """The variant of that precision, the recommended one, or what stands in for it, for None.

    Raises:
        EdgeclipError: the bundle holds no such variant.
    """
    wanted = precision or chosen(manifest)
    for variant in manifest["variants"]:
        if variant["precision"] == wanted:
            return variant
    there = ", ".join(v["precision"] for v in manifest["variants"])
    raise EdgeclipError(f"the bundle holds no {wanted} variant; it holds {there}")


def asked_runtime(manifest: Mapping[str, Any], engine: str | None, provider: str | None) -> tuple[str, str | None]:
    """Engine and provider: those asked for, else the target's; of another engine than the target's its usual one."""
    target = manifest["target"]["runtime"]
    name = engine or target["name"]
    return name, provider or (target["provider"] if name == target["name"] else None)


def graph_for(manifest: Mapping[str, Any], variant: Mapping[str, Any], engine: str) -> Mapping[str, Any]:
    """The entry of the graph that an engine reads for a variant: TensorRT's int8 is another than a CPU's.

    Raises:
        EdgeclipError: the bundle holds none.
    """
    choices = [(variant, variant.get("recipe", {}))]
    choices += [(e, e["facts"]) for e in manifest.get("extras", ()) if e["kind"] == f"{variant['precision']}-target"]
    for entry, facts in choices:
        if reads_recipe(engine, facts.get("recipe", variant["precision"])):
            return entry
    recipe = known_engine(engine).recipe(variant["precision"], ())
    raise EdgeclipError(f"{engine} cannot read the bundle's {variant['precision']}: export it with --recipe {recipe}")


def readable(manifest: Mapping[str, Any], engine: str | None) -> tuple[list[str], list[str]]:
    """The precisions of a bundle that an engine reads, the target's where None; what is the matter with the others."""
    precisions, left_out = [], []
    engine, _ = asked_runtime(manifest, engine, None)
    for variant in manifest["variants"]:
        try:
            graph_for(manifest, variant, engine)
            precisions.append(variant["precision"])
        except EdgeclipError as error:
            left_out.append(str(error))
    return precisions, left_out
