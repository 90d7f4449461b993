"""``bundle.json``: what lies in a bundle, how it was made, and what it must give back."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..base.documents import Cosine, Document, Fraction, NonNegative, Part, Points, Positive, Side, Size, Width
from .target import Precision, Target

Deviation = Annotated[float, Field(gt=0, le=1)]
Spread = tuple[Deviation, Deviation, Deviation]
Colour = Annotated[str, Field(pattern=r"^[0-9a-f]{6}$")]  # rrggbb
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]


class File(Part):
    """One file of the bundle. ``file`` is a bare name: a path that leaves the folder is refused."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Size


class Artefact(File):
    """A file of the bundle, and the weights beside it where a graph and its weights do not fit one file (2 GB)."""

    weights: File | None = None

    @property
    def size(self) -> int:
        """Of both, bytes."""
        return self.bytes + (self.weights.bytes if self.weights else 0)


class Fidelity(Part):
    """How close a variant is to the torch student, on images that set no range (where there were enough of them)."""

    cosine_mean: Cosine
    cosine_p1: Cosine | None = None  # 1st percentile
    cosine_worst: Cosine
    largest_difference: Annotated[float, Field(ge=0, le=2.00001)]  # of L2-normalised embeddings
    top1: Fraction | None = None  # on a labelled dataset, 0..1
    top1_drop: Points | None = None  # points lost against torch
    agreement: Fraction | None = None  # fraction of answers that are torch's


class Variant(Artefact):
    """An image tower in one precision."""

    precision: Precision
    recipe: dict[str, Any] = {}  # how the precision was reached; enough to do it again
    fidelity: Fidelity
    faithful: bool  # whether that is enough, by the export's gate
    relative_speed: Positive | None = None  # fp32's p50 over this one's, in turns on the target; None: not measured


class Tried(Part):
    """One way to run the tower that was measured before the bundle was made, and what became of it."""

    name: str
    precision: Precision
    fidelity: Fidelity | None = None
    relative_speed: Positive | None = None
    outcome: str  # "recommended", "kept", or why not


class Extra(Artefact):
    """Another form of the image tower: for another target, another input, with classes, or built for one GPU."""

    kind: Literal["int8-target", "uint8-input", "classifier", "engine"]
    precision: Precision
    facts: dict[str, Any] = {}  # recipe, input layout, labels, or what an engine is bound to


class Preprocess(Part):
    """open_clip's preprocessing of this model: resize, centre crop, scale to [0, 1], normalise."""

    size: Side
    mean: tuple[Fraction, Fraction, Fraction]
    std: Spread
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash", "longest"] = "shortest"
    fill_color: Annotated[int, Field(ge=0, le=255)] = 0
    exif: Literal["apply", "ignore"] = "ignore"  # what the camera wrote of up and down; open_clip takes no notice
    ground: Colour | None = None  # what transparent pixels lie on; None: they show what they hide, as in open_clip


class TokenizerRules(Part):
    """How open_clip drives a Hugging Face ``tokenizer.json``."""

    context_length: Annotated[int, Field(ge=3, le=1 << 16)]
    pad_id: TokenId = 0
    pad_side: Literal["left", "right"] = "right"
    clean: Literal["lower", "whitespace", "canonicalize"] = "lower"
    zeroed_id: TokenId | None = None  # becomes 0: the separator, where open_clip strips it (CLIPA)
    clips: tuple[TokenId, TokenId, TokenId] | None = None  # start, end, class; where open_clip's mode is "clips"


class Tokenizer(Artefact, TokenizerRules):
    """A ``tokenizer.json`` and its rules."""


class Phrases(Artefact):
    """Embeddings of known texts, in place of a text tower: safetensors, ``texts`` (JSON, bytes), ``embeds`` [N, D]."""

    labels: Annotated[int, Field(ge=2)]  # how many of the texts, the first ones, are class names


class Manifest(Document):
    """``bundle.json``."""

    FORMAT: ClassVar[str] = "edgeclip-bundle"
    VERSION: ClassVar[int] = 4
    SEALED: ClassVar[int | None] = 4

    name: str
    source: str  # the run or model it was exported from: for people; see `signature`
    signature: str | None = None  # of `source`, by which whoever exported it knows it again: only then it is followed
    source_fingerprint: str  # sha256 of the source's weights
    created: str  # ISO 8601, UTC
    made_with: dict[str, str]  # package -> version
    embed_dim: Width
    logit_scale: Annotated[float, Field(gt=0, le=1e6)]  # exponentiated: what cosine similarities are multiplied by
    logit_bias: float | None = None  # SigLIP's, added after that: probabilities are then sigmoids, each label's own
    opset: Annotated[int, Field(ge=1, le=100)]
    preprocess: Preprocess
    tokenizer: Tokenizer | None = None
    text: Artefact | None = None  # the text tower; with its tokenizer, or else `phrases`
    phrases: Phrases | None = None
    variants: Annotated[list[Variant], Field(min_length=1)]
    target: Target  # what it was made for, and runs in where nothing else is asked for
    recommended: Precision | None = None  # the fastest faithful one, where that was measured on the target
    recommendation: Literal["measured on the target", "to be measured on the device"]
    fallback: Precision  # what is used where nothing is recommended yet: chosen with the student, or fp32
    tried: list[Tried] = []
    extras: list[Extra] = []
    checks: dict[str, dict[str, NonNegative]] = {}  # fp32 tower -> batch size -> largest difference from torch
    sensitivity: dict[str, Any] = {}  # block -> error when it alone is int8, where that was needed
    calibration: dict[str, Any] = {}  # count, keys' hash, method
    golden: (
        Artefact  # safetensors: pixels [N,3,S,S], image_embeds [N,D]; with `text` token_ids [M,L], text_embeds [M,D]
    )
    runner: Artefact | None = None  # run.py: runs the bundle where edgeclip is not installed
    student: dict[str, Any] = {}  # the StudentSpec, as data

    @model_validator(mode="before")
    @classmethod
    def _older(cls, data: Any) -> Any:
        """Before version 4 each variant named an engine, which could be another than the target's."""
        variants = data.get("variants") if isinstance(data, dict) else None
        if not isinstance(variants, list) or not all(isinstance(variant, dict) for variant in variants):
            return data
        return {**data, "variants": [{k: v for k, v in variant.items() if k != "engine"} for variant in variants]}

    @model_validator(mode="after")
    def _honest(self) -> Manifest:
        if (self.recommended is None) != (self.recommendation == "to be measured on the device"):
            raise ValueError("recommended: is what was measured on the target, or absent")
        if not (self.phrases or (self.text and self.tokenizer)):
            raise ValueError("text, tokenizer: absent, and no phrases in their place")
        if missing := {self.recommended, self.fallback, None} - {None, *(v.precision for v in self.variants)}:
            raise ValueError(f"recommended, fallback: no variant is {missing.pop()}")
        return self

    @property
    def chosen(self) -> Precision:
        """The precision that is used where none is asked for."""
        return self.recommended or self.fallback

    def variant(self, precision: str) -> Variant | None:
        """The variant of that precision, if the bundle holds one."""
        return next((v for v in self.variants if v.precision == precision), None)
