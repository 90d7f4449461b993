"""Starting from the teacher: the whole of it where shapes agree, the leading part where they do not."""

import pytest
import torch
from open_clip.transformer import TextTransformer, VisionTransformer

from edgeclip.base.errors import EdgeclipError
from edgeclip.models.inherit import inherit


def tower(width=64, layers=4, patch=8, size=32, heads=2):
    torch.manual_seed(width + layers)
    return VisionTransformer(size, patch, width, layers, heads, 4.0, output_dim=16).eval()


def test_a_student_of_the_teachers_shape_is_the_teacher():
    student, teacher = tower(), tower(layers=4)
    torch.nn.init.normal_(teacher.proj)
    inherit(student, teacher.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(student(pixels), teacher(pixels))


def test_blocks_are_spread_and_channels_lead():
    student, teacher = tower(width=32, layers=2, heads=1), tower()
    inherit(student, teacher.state_dict())
    for ours, theirs in ((0, 0), (1, 3)):
        mine, other = student.transformer.resblocks[ours], teacher.transformer.resblocks[theirs]
        assert torch.equal(mine.mlp.c_fc.weight, other.mlp.c_fc.weight[:128, :32])
        query, key, value = other.attn.in_proj_weight.chunk(3)
        assert torch.equal(mine.attn.in_proj_weight, torch.cat([part[:32, :32] for part in (query, key, value)]))


def test_another_grid_and_patch():
    student, teacher = tower(patch=16, width=32, heads=1), tower()
    inherit(student, teacher.state_dict())
    flat = torch.ones(1, 3, 32, 32)
    ours, theirs = student.conv1(flat)[0, :, 0, 0], teacher.conv1(flat)[0, :32, 0, 0]
    assert torch.allclose(ours, theirs, atol=0.03), "a plain picture should look alike through either patch"
    assert student.positional_embedding.shape == (5, 32)


def test_what_cannot_be_inherited():
    with pytest.raises(EdgeclipError, match="larger than its teacher's"):
        inherit(tower(width=128, heads=4), tower().state_dict())
    with pytest.raises(EdgeclipError, match="only open_clip's transformers"):
        inherit(tower(), torch.nn.Linear(2, 2).state_dict())
    with pytest.raises(EdgeclipError, match="only open_clip's transformers"):
        inherit(torch.nn.Linear(2, 2), tower().state_dict())


def test_a_text_tower_too():
    def text(width, layers):
        return TextTransformer(context_length=8, vocab_size=20, width=width, heads=2, layers=layers, output_dim=16)

    student, teacher = text(32, 2), text(64, 4)
    inherit(student, teacher.state_dict())
    assert torch.equal(student.token_embedding.weight, teacher.token_embedding.weight[:, :32])
    assert torch.equal(student.positional_embedding, teacher.positional_embedding[:, :32])
    ours, theirs = student.transformer.resblocks[1], teacher.transformer.resblocks[3]
    assert torch.equal(ours.mlp.c_fc.weight, theirs.mlp.c_fc.weight[:128, :32])
