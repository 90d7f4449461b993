"""Small stand-ins for what open_clip's model configs name: shrunk towers, and tokenizers of the hub's classes.

A stand-in has the classes, the switches and the token ids of the original, and neither its size nor its weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import timm
import tokenizers
import torch
import transformers
from timm.models import register_model
from timm.models.eva import Eva
from timm.models.vitamin import VitCfg, VitConvCfg
from tokenizers import models, normalizers, pre_tokenizers, trainers

from edgeclip.models.oddtexts import odd_texts
from edgeclip.models.openclip import save_hub_layout

WIDTH, HEADS, LAYERS, EMBED = 64, 2, 2, 32
VOCABULARY = 1200
# Weights as they are initialised are so small that activations are straight lines, and images and texts all alike: what
# one layer does wrong could not be seen. Eva's start smaller still.
GAIN, EVA_GAIN = 3, 6
VITAMIN = VitCfg(
    embed_dim=(16, 32, WIDTH),
    depths=(1, 1, 1),
    stem_width=16,
    conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
    head_type="1d",
)
TIMM: dict[str, dict[str, Any]] = {  # the start of a timm name -> what is smaller
    "convnext": {"depths": (1, 1, 1, 1), "dims": (16, 32, 48, 64)},
    "fastvit_mci3": {"layers": (1,) * 5, "embed_dims": (32, 64, 128, 256, 512)},
    "fastvit_mci4": {"layers": (1,) * 5, "embed_dims": (32, 64, 128, 256, 512)},
    "fastvit": {"layers": (1,) * 4, "embed_dims": (32, 64, 128, 256)},
    "swin": {"depths": (2, 2, 1, 1), "embed_dim": 16, "num_heads": (1, 2, 2, 4)},
    "vitamin": {"depth": LAYERS, "embed_dim": WIDTH, "num_heads": HEADS, "embed_cfg": VITAMIN},
    "vit_base_mci": {"depth": LAYERS},  # its stem fixes its width
    "": {"depth": LAYERS, "embed_dim": WIDTH, "num_heads": HEADS},
}
HUB = {  # a tokenizer's name on the hub -> the class that transformers opens it with
    "roberta-base": "roberta",
    "xlm-roberta-base": "xlm-roberta",
    "xlm-roberta-large": "xlm-roberta",
    "facebook/xlm-v-base": "xlm-roberta",
    "google/mt5-base": "t5",
    "google/mt5-xl": "t5",
    "facebook/nllb-200-distilled-600M": "nllb",
    "facebook/nllb-200-distilled-1.3B": "nllb",
    "bert-base-uncased": "bert",
}
TEXT_MODELS: dict[str, Any] = {
    "roberta": lambda size: transformers.RobertaConfig(**_bert_like(size), pad_token_id=1),
    "xlm-roberta": lambda size: transformers.XLMRobertaConfig(**_bert_like(size), pad_token_id=1),
    "t5": lambda size: transformers.MT5Config(
        vocab_size=size, d_model=WIDTH, d_kv=WIDTH // HEADS, d_ff=128, num_layers=LAYERS, num_heads=HEADS
    ),
    "nllb": lambda size: transformers.M2M100Config(
        vocab_size=size,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=128,
    ),
}


def shrunk(name: str, hub: Path) -> dict[str, Any]:
    """open_clip's model_cfg of that name, two blocks deep and narrow; ``hub`` is where text models are put."""
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    config["embed_dim"] = EMBED
    if "timm_model_name" in vision:
        vision["timm_model_name"] = _small_timm(vision["timm_model_name"])
        vision["timm_model_pretrained"] = False
        if vision["timm_proj"] == "none":  # the trunk's width is the embedding's
            config["embed_dim"] = timm.create_model(vision["timm_model_name"]).num_features
    elif isinstance(vision["layers"], list):  # a ResNet of CLIP's authors
        vision.update(layers=[1, 1, 1, 1], width=16, image_size=64)
    else:
        patch = vision["patch_size"]
        vision.update(layers=LAYERS, width=WIDTH, head_width=WIDTH // HEADS, image_size=5 * patch)
        vision.update({key: 2 for key in ("attn_pooler_heads",) if key in vision})
    kind = kind_of(text.get("hf_tokenizer_name", ""))
    if "hf_model_name" in text:
        text["hf_model_name"] = str(_text_model(kind, hub))
    else:
        text.update(width=WIDTH, heads=HEADS, layers=LAYERS)
        if text.get("proj_type") == "none":
            text["width"] = config["embed_dim"]
        if kind:
            text["vocab_size"] = len(tokenizer(kind))
    if "multimodal_cfg" in config:
        config["multimodal_cfg"].update(width=WIDTH, heads=HEADS, layers=1)
    return config


def write_model(config: dict[str, Any], preprocess: dict[str, Any], folder: Path) -> Path:
    """A model of random weights in open_clip's hub layout, with its tokenizer's files; the folder."""
    folder.mkdir(parents=True)
    written = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim and not weight.any():  # it would hide what it is multiplied with
                weight.normal_(std=0.02)
            if name.endswith("gamma"):  # a block's share of its sum: a ten-thousandth, to begin with
                weight.fill_(0.5)
            if weight.ndim > 1:
                weight.mul_(EVA_GAIN if isinstance(getattr(model.visual, "trunk", None), Eva) else GAIN)
        if model.logit_bias is not None:
            model.logit_bias.fill_(-3.0)
    save_hub_layout(model, config, preprocess, folder)
    if kind := kind_of(config["text_cfg"].get("hf_tokenizer_name", "")):
        tokenizer(kind).save_pretrained(folder)
    return folder


def kind_of(hub_name: str) -> str:
    """The class of a tokenizer on the hub; empty for open_clip's own."""
    if hub_name.startswith("timm/"):
        return "gemma" if "SigLIP2" in hub_name else "siglip"
    return HUB[hub_name] if hub_name else ""


@cache
def tokenizer(kind: str) -> Any:
    """A tokenizer of that class of transformers', with a vocabulary of its own and the original's special ids."""
    return MADE[kind]()


def _roberta() -> Any:
    vocab, merges = _bytes(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return transformers.RobertaTokenizer(vocab=vocab, merges=merges)


def _xlm() -> Any:
    heads = ["<s>", "<pad>", "</s>", "<unk>"]
    return transformers.XLMRobertaTokenizer(vocab=[*_pieces(heads), ("<mask>", 0.0)])


def _t5() -> Any:
    return transformers.T5Tokenizer(vocab=_pieces(["<pad>", "</s>", "<unk>"]), extra_ids=0)


def _siglip() -> Any:
    """As the hub has it: T5's class, told to pad with the end of the text."""
    pieces = _pieces(["<pad>", "</s>", "<unk>"])
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, pad_token="</s>")


def _nllb() -> Any:
    vocab, merges = _letters(["<s>", "<pad>", "</s>", "<unk>"])
    return transformers.NllbTokenizer(vocab=vocab, merges=merges)


def _gemma() -> Any:
    """As the hub has it: told to pad on the right, which is not its class's own side."""
    vocab, merges = _letters(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])
    return transformers.GemmaTokenizer(vocab=vocab, merges=merges, padding_side="right")


def _bert() -> Any:
    built = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    built.normalizer, built.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    heads = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=heads, show_progress=False)
    built.train_from_iterator(_corpus(), trainer)
    return transformers.BertTokenizer(vocab=built.get_vocab())


MADE: dict[str, Callable[[], Any]] = {
    "roberta": _roberta,
    "xlm-roberta": _xlm,
    "t5": _t5,
    "siglip": _siglip,
    "nllb": _nllb,
    "gemma": _gemma,
    "bert": _bert,
}


def _corpus() -> list[str]:
    """Texts to learn pieces from; the letters that they leave out are unknown to the tokenizer."""
    return [text for text in odd_texts(2000) if all(ord(letter) < 0x500 for letter in text)]


def _pieces(heads: list[str]) -> list[tuple[str, float]]:
    """Sentence pieces after the special ones, each with its score."""
    built = tokenizers.Tokenizer(models.Unigram())
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, special_tokens=heads, unk_token="<unk>", show_progress=False
    )
    built.train_from_iterator(_corpus(), trainer)
    pieces = json.loads(built.to_str())["model"]["vocab"]
    return [(piece, float(score)) for piece, score in pieces]


def _letters(heads: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    return _pairs(heads, pre_tokenizers.Metaspace(), [])


def _bytes(heads: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    return _pairs(heads, pre_tokenizers.ByteLevel(), pre_tokenizers.ByteLevel.alphabet())


def _pairs(heads: list[str], splitter: Any, alphabet: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte pairs: vocabulary and merges."""
    built = tokenizers.Tokenizer(models.BPE())
    built.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=heads, initial_alphabet=alphabet, show_progress=False
    )
    built.train_from_iterator(_corpus(), trainer)
    told = json.loads(built.to_str())["model"]
    return told["vocab"], [tuple(merge) for merge in told["merges"]]


def _bert_like(size: int) -> dict[str, Any]:
    return {
        "vocab_size": size,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 128,
        "max_position_embeddings": 130,
    }


def _text_model(kind: str, hub: Path) -> Path:
    folder = hub / kind
    if not folder.is_dir():
        TEXT_MODELS[kind](len(tokenizer(kind))).save_pretrained(folder)
    return folder


def _small_timm(name: str) -> str:
    """Register a narrow two-block model of that timm name's class; its own name."""
    small = f"small_{name}"
    if not timm.is_model(small):
        settings = next(found for start, found in TIMM.items() if name.startswith(start))

        def build(pretrained: bool = False, **others: Any) -> Any:
            return timm.create_model(name, **{**settings, **others})

        build.__name__, build.__module__ = small, __name__
        register_model(build)
    return small
