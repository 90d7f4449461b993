"""What turns texts into embeddings on the device: the text tower and its tokenizer, or known texts in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from ..base.files import write_bytes
from ..models.openclip import OpenClipEncoder
from .bundling import PHRASES, Contents
from .extras import Classes
from .graphs import TEXT_OUTPUT
from .towers import export_text_tower
from .validate import check_tower

GOLDEN_TEXTS = ("a photo of a cat", "two dogs", "", "Ünïcode & <markup>", "a red circle on a white ground, drawn")


def write_text_tower(model: OpenClipEncoder, folder: Path, contents: Contents, opset: int) -> dict[str, NDArray[Any]]:
    """Write tower and tokenizer into ``folder``, checked against torch and open_clip; golden values.

    Raises:
        EdgeclipError: torch cannot export the tower, the graph gives something else, or the tokenizer does.
    """
    text = folder / "text.fp32.onnx"
    export_text_tower(model.model, text, context_length=model.context_length, opset=opset)
    contents.tokenizer = model.write_tokenizer(folder / "tokenizer.json")
    ids = np.asarray(model.tokenizer(list(GOLDEN_TEXTS)))
    contents.checks["text"] = check_tower(text, ids, lambda rows: _text_reference(model, rows), TEXT_OUTPUT)
    return {"token_ids": ids, "text_embeds": _text_reference(model, ids)}


def write_phrases(model: OpenClipEncoder, folder: Path, contents: Contents, classes: Classes) -> None:
    """Write the embeddings of the classes' names, bare and in their prompts: all that the bundle will know."""
    prompts = (template.replace("{}", label) for label in classes.labels for template in classes.templates)
    texts = list(dict.fromkeys([*classes.labels, *prompts]))
    known = np.frombuffer(json.dumps(texts, ensure_ascii=False).encode(), np.uint8)
    write_bytes(folder / PHRASES, save({"texts": known, "embeds": model.encode_text(texts)}))
    contents.phrases = len(classes.labels)


def _text_reference(model: OpenClipEncoder, ids: NDArray[Any]) -> NDArray[np.float32]:
    import torch

    towers: Any = model.model
    with torch.inference_mode():
        return np.asarray(towers.encode_text(torch.from_numpy(ids), normalize=True).float())
