"""Every kind of tokenizer that open_clip drives: the ids of ours are those of open_clip's own, or it is refused."""

import json
import string

import numpy as np
import open_clip
import pytest
import tokenizers
import torch
from open_clip import tokenizer as stock
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from transformers import GemmaTokenizer, PreTrainedTokenizerFast

from edgeclip.base.errors import EdgeclipError
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.teachers import as_teacher
from edgeclip.exporting import export
from edgeclip.models.oddtexts import odd_texts
from edgeclip.models.openclip import OpenClipEncoder, needs_quick_gelu, save_hub_layout
from edgeclip.models.tokenizers import FileTokenizer, check_tokenizer, keep_tokenizer, write_tokenizer
from edgeclip.runtime.bytepairs import BytePairTokenizer
from edgeclip.runtime.manifest import TokenizerRules

CONTEXT = 20
SHORT = DistillConfig(epochs=1, batch_size=10, views=1, tracker="none")
LETTERS = string.ascii_letters + string.digits + string.punctuation + "éüßяж日本\u2581"


def like_bert():
    """Word pieces between [CLS] and [SEP]; padding is 0."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {piece: n for n, piece in enumerate([*special, *LETTERS, *(f"##{x}" for x in LETTERS), "a", "photo"])}
    built = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    built.normalizer, built.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    built.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=built, pad_token="[PAD]", unk_token="[UNK]", **names)


def like_siglip():
    """Sentence pieces that end in </s>, which is the padding too: its id is 1."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((x, -3.0) for x in LETTERS), ("\u2581a", -1.0)]
    built = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
    built.pre_tokenizer, built.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    built.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=built, pad_token="</s>", eos_token="</s>", unk_token="<unk>")


def folder_of(where, tokenizer, **text_cfg):
    """A tiny model in open_clip's hub layout, with that tokenizer's files as transformers writes them."""
    text = {"vocab_size": 400, "width": 32, "heads": 2, "layers": 1, "hf_tokenizer_name": "x/y", **text_cfg}
    text = {"context_length": CONTEXT, **text}
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32}
    built = {key: text[key] for key in ("context_length", "vocab_size", "width", "heads", "layers")}
    torch.manual_seed(0)
    model = open_clip.model.CustomTextCLIP(16, dict(vision), built)
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "custom_text": True}
    settings = {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    save_hub_layout(model, config, settings, where)
    tokenizer.save_pretrained(where)
    return where


def like_gemma():
    """Padded on the left, as its class does unless it is told otherwise."""
    vocab = {piece: n for n, piece in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *LETTERS])}
    return GemmaTokenizer(vocab=vocab, merges=[])


CASES = {
    "gemma: padding is on the left": (like_gemma, {"tokenizer_kwargs": {"clean": "canonicalize"}}),
    "bert": (like_bert, {}),
    "clipa: the separator is stripped": (like_bert, {"tokenizer_kwargs": {"strip_sep_token": True}}),
    "clips: a class token at the end": (like_bert, {"tokenizer_mode": "clips"}),
    "siglip: padding is 1": (like_siglip, {"tokenizer_kwargs": {"clean": "canonicalize"}}),
    "in lower case": (like_siglip, {"tokenizer_kwargs": {"clean": "lower"}}),
}


@pytest.mark.parametrize("case", CASES)
def test_ids_are_open_clips(case, tmp_path):
    make, text_cfg = CASES[case]
    folder = folder_of(tmp_path / "m", make(), **text_cfg)
    encoder, texts = OpenClipEncoder.load(f"local-dir:{folder}"), odd_texts(400)
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")(texts).numpy()
    assert np.array_equal(np.asarray(encoder.tokenizer(texts)), theirs)
    rules = encoder.write_tokenizer(tmp_path / "tokenizer.json")
    assert np.array_equal(FileTokenizer(tmp_path / "tokenizer.json", rules)(texts).numpy(), theirs)
    assert theirs.shape == (400, CONTEXT)
    assert case.startswith("clipa") or (theirs[:, -1] != 0).any(), "some are cut"


@pytest.mark.parametrize("case", CASES)
def test_a_students_folder_gives_the_same_ids_in_stock_open_clip(case, tmp_path):
    make, text_cfg = CASES[case]
    folder, texts = folder_of(tmp_path / "m", make(), **text_cfg), odd_texts()
    theirs = open_clip.get_tokenizer(f"local-dir:{folder}")
    (tmp_path / "student").mkdir()
    (tmp_path / "student/open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    keep_tokenizer(OpenClipEncoder.load(f"local-dir:{folder}").tokenizer, tmp_path / "student")
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{tmp_path / 'student'}")(texts), theirs(texts))


def test_a_pad_token_that_only_the_settings_name_is_found(tmp_path):
    folder = folder_of(tmp_path / "m", like_siglip())
    content = json.loads((folder / "tokenizer.json").read_text())
    assert content["padding"] is None
    encoder = OpenClipEncoder.load(f"local-dir:{folder}")
    assert isinstance(encoder.tokenizer, FileTokenizer), "transformers is not needed for it"
    assert encoder.tokenizer.rules.pad_id == 1


def test_a_folder_whose_config_names_no_tokenizer_has_open_clips_own(tmp_path):
    folder = folder_of(tmp_path / "m", like_bert())
    config = json.loads((folder / "open_clip_config.json").read_text())
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    encoder = OpenClipEncoder.load(f"local-dir:{folder}")
    assert isinstance(encoder.tokenizer, open_clip.SimpleTokenizer)
    encoder.check_tokenizer()


def test_where_a_config_is_silent_the_context_is_77(tmp_path):
    folder = folder_of(tmp_path / "m", like_bert(), context_length=77)
    config = json.loads((folder / "open_clip_config.json").read_text())
    del config["model_cfg"]["text_cfg"]["context_length"]
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    encoder = OpenClipEncoder.load(f"local-dir:{folder}")
    assert encoder.context_length == 77
    assert encoder.tokenizer(["x"]).shape == (1, 77)


def test_one_other_id_is_an_error_and_names_the_text(tmp_path):
    rules = TokenizerRules(context_length=CONTEXT, pad_id=0)
    like_bert().backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = FileTokenizer(tmp_path / "tokenizer.json", rules)
    check_tokenizer(ours, ours, "same")
    with pytest.raises(EdgeclipError, match=r"other: our form of its tokenizer gives other ids .* for 1 of 200"):
        check_tokenizer(ours, lambda texts: ours(texts) + torch.tensor([[t == "12,345.67"] for t in texts]), "other")
    with pytest.raises(EdgeclipError, match=r"ids of shape \(200, 5\), ours \(200, 20\)"):
        check_tokenizer(ours, lambda texts: ours(texts)[:, :5], "short")


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_open_clips_own_tokenizer_in_each_of_its_ways(clean, tmp_path):
    simple = open_clip.SimpleTokenizer(context_length=16, clean=clean)
    rules = write_tokenizer(simple, tmp_path / "tokenizer.json")
    assert (rules.clean, rules.context_length, rules.pad_id) == (clean, 16, 0)
    check_tokenizer(simple, simple, "own")
    texts = odd_texts(3000, seed=1)
    plain = BytePairTokenizer(tmp_path / "tokenizer.json", context_length=16, clean=clean)
    assert np.array_equal(plain(texts), FileTokenizer(tmp_path / "tokenizer.json", rules)(texts).numpy())
    assert np.array_equal(plain(texts), simple(texts).numpy())


MANY = odd_texts(24_000, seed=3)


@pytest.mark.slow
def test_twenty_thousand_odd_texts_of_open_clips_own(tmp_path):
    assert len(set(MANY)) > 20_000
    simple = open_clip.SimpleTokenizer()
    rules = write_tokenizer(simple, tmp_path / "tokenizer.json")
    theirs = simple(MANY).numpy()
    assert np.array_equal(FileTokenizer(tmp_path / "tokenizer.json", rules)(MANY).numpy(), theirs)
    assert np.array_equal(BytePairTokenizer(tmp_path / "tokenizer.json", context_length=77)(MANY), theirs)


@pytest.mark.parametrize("case", ["siglip: padding is 1", "clipa: the separator is stripped"])
@pytest.mark.slow
def test_twenty_thousand_odd_texts_of_others(case, tmp_path):
    make, text_cfg = CASES[case]
    folder = folder_of(tmp_path / "m", make(), **text_cfg)
    ours, theirs = OpenClipEncoder.load(f"local-dir:{folder}").tokenizer, open_clip.get_tokenizer(f"local-dir:{folder}")
    assert np.array_equal(ours(MANY).numpy(), theirs(MANY).numpy())


def test_a_tokenizer_that_leaves_words_out_is_refused(tmp_path):
    with pytest.raises(EdgeclipError, match="leaves words out"):
        write_tokenizer(open_clip.SimpleTokenizer(reduction_mask="simple"), tmp_path / "tokenizer.json")


def test_weights_that_were_trained_with_quick_gelu_get_it():
    pairs = [(name, tag) for name, tag in open_clip.list_pretrained() if needs_quick_gelu(name, tag)]
    assert len(pairs) >= 28
    assert all((name, "openai") in pairs for name in ("ViT-B-32", "ViT-B-16", "ViT-L-14", "RN50"))
    assert ("ViT-B-32", "laion400m_e32") in pairs
    assert ("ViT-B-32", "laion2b_s34b_b79k") not in pairs


@pytest.mark.parametrize(("tag", "quick"), [("openai", True), ("laion2b_s34b_b79k", False)])
def test_quick_gelu_is_forced_kept_in_the_config_and_carried_to_the_student(tag, quick, monkeypatch, spec):
    """open_clip only warns where a config has another activation than the weights were trained with."""
    from edgeclip.distillation.config import DistillConfig
    from edgeclip.distillation.student import build_student
    from edgeclip.distillation.teachers import as_teacher
    from edgeclip.models import openclip

    asked = []

    def create(name, tag, force_quick_gelu=False):
        asked.append(force_quick_gelu)
        return open_clip.create_model(name, pretrained=None, force_quick_gelu=force_quick_gelu)

    monkeypatch.setattr(openclip, "fetch_tag", lambda architecture, tag: None)
    monkeypatch.setattr(openclip, "_create", create)
    encoder = OpenClipEncoder.load(f"ViT-B-32:{tag}")
    assert asked == [quick]
    assert encoder.config.get("quick_gelu", False) == quick
    model, config, _, _ = build_student(spec, [as_teacher("t", encoder)], DistillConfig())
    assert config.get("quick_gelu", False) == quick
    kinds = {type(one).__name__ for one in model.modules() if type(one).__name__ in ("GELU", "QuickGELU")}
    assert kinds == {"QuickGELU" if quick else "GELU"}


def test_the_fingerprint_is_of_weights_config_and_tokenizer(tmp_path):
    folder = folder_of(tmp_path / "m", like_siglip())
    first = OpenClipEncoder.load(f"local-dir:{folder}").fingerprint
    assert OpenClipEncoder.load(f"local-dir:{folder}").fingerprint == first
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "<unk>"}))
    second = OpenClipEncoder.load(f"local-dir:{folder}").fingerprint
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["quick_gelu"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    third = OpenClipEncoder.load(f"local-dir:{folder}").fingerprint
    assert len({first, second, third}) == 3


def test_siglips_old_tokenizer_is_canonical(tmp_path):
    """The class that open_clip keeps for sentence-piece files, around a tokenizer that needs none."""
    old = stock.SigLipTokenizer.__new__(stock.SigLipTokenizer)
    old.tokenizer, old.context_length = like_siglip(), CONTEXT
    rules = write_tokenizer(old, tmp_path / "tokenizer.json")
    assert (rules.pad_id, rules.clean) == (1, "canonicalize")
    check_tokenizer(old, old, "siglip")


@pytest.mark.slow
def test_a_siglip_is_distilled_exported_and_gives_sigmoids(tmp_path, spec, images_dir, texts_file):
    """From a teacher with a bias and sentence pieces to a bundle that answers as open_clip's own student does."""
    folder = folder_of(tmp_path / "m", like_siglip(), tokenizer_kwargs={"clean": "canonicalize"})
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"] |= {"init_logit_bias": -4.0, "init_logit_scale": 2.0}
    weights = load_file(folder / "open_clip_model.safetensors")
    save_file(
        {**weights, "logit_bias": torch.tensor(-3.0), "logit_scale": torch.tensor(2.5)},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    teacher = OpenClipEncoder.load(f"local-dir:{folder}")
    assert teacher.logit_bias == -3.0
    run = distill(
        spec, [as_teacher("siglip", teacher)], TrainingData(images_dir, texts_file), tmp_path / "run", config=SHORT
    )
    stock_model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{run.student_dir}")
    tokenizer, labels = open_clip.get_tokenizer(f"local-dir:{run.student_dir}"), ["a red thing", "A Blue, thing!", "x"]
    bundle = export(
        run.encoder(),
        tmp_path / "b",
        source=str(run.path),
        calibration=sorted(images_dir.iterdir()),
        spec=spec,
    )
    image = Image.new("RGB", (40, 40), "teal")
    with torch.no_grad():
        pixels, ids = transform(image)[None], tokenizer(labels)
        cosines = (
            stock_model.eval().encode_image(pixels, normalize=True) @ stock_model.encode_text(ids, normalize=True).T
        )
        expected = torch.sigmoid(stock_model.logit_scale.exp() * cosines + stock_model.logit_bias).numpy()
    assert (bundle.manifest.logit_bias, bundle.manifest.tokenizer.pad_id) == (-3.0, 1)
    assert np.abs(bundle.classify([image], labels, bundle.encoder("fp32")) - expected).max() < 1e-4
