import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.data.augment import Augment
from edgeclip.data.views import Normalise, Views, uniform
from edgeclip.runtime.manifest import Preprocess


def test_views_can_be_replayed_and_differ():
    first, again = Views(Augment(), 7), Views(Augment(), 7)
    assert torch.equal(first.maps(range(5), 3)[[4, 0]], again.maps([4, 0], 3)), "a view depends on its batch"
    assert not torch.equal(first.maps(range(5), 3), first.maps(range(5), 4))
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert first.apply(images, [1, 4], 0).shape == images.shape


def test_a_view_of_everything_is_the_image():
    whole = Augment(area=(1.0, 1.0), aspect=0.0, flip=False)
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(Views(whole, 0).apply(images, [0, 1], 0), images.float(), atol=1e-2)


def test_pixels_reach_the_towers_size_and_scale():
    half = Preprocess(size=4, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    found = Normalise(half)(torch.full((2, 3, 8, 8), 255.0))
    assert torch.allclose(found, torch.full((2, 3, 4, 4), 2.0))


def test_the_numbers_are_those_that_stores_were_made_with():
    """Other numbers would show a resumed student other views than its teacher saw."""
    expected = torch.tensor([[0.3186, 0.5445, 0.7371], [0.0474, 0.5827, 0.6344]])
    assert torch.allclose(uniform(7, 3, [0, 5], 3), expected, atol=1e-4)


@given(st.integers(0, 2**31), st.integers(0, 50), st.lists(st.integers(0, 2**40), min_size=1, max_size=5))
def test_numbers_are_even_and_of_their_place_alone(seed, stream, rows):
    found = uniform(seed, stream, rows, 4)
    assert ((found >= 0) & (found < 1)).all()
    assert torch.equal(found[-1:], uniform(seed, stream, rows[-1:], 4))


def test_numbers_are_spread_evenly():
    many = uniform(0, 0, range(20_000), 2)
    assert torch.allclose(many.mean(dim=0), torch.tensor([0.5, 0.5]), atol=0.01)
    assert torch.allclose(many.var(dim=0), torch.tensor([1 / 12, 1 / 12]), atol=0.002)
    assert abs(torch.corrcoef(many.T)[0, 1]) < 0.03
    assert len({tuple(row) for row in many.tolist()}) == 20_000


def sizes(maps):
    """Width and height of each crop, as parts of the image: lengths of the map's columns."""
    return maps[:, 0, :2].norm(dim=1), maps[:, 1, :2].norm(dim=1)


def test_a_crop_has_the_area_aspect_and_place_that_the_settings_allow():
    augment = Augment(area=(0.3, 0.6), aspect=0.2, flip=False)
    maps = Views(augment, 0).maps(range(2000), 1)
    wide, high = sizes(maps)
    area, aspect = wide * high, wide / high
    assert area.min() >= 0.3 - 1e-5 and area.max() <= 0.6 + 1e-5
    assert area.min() < 0.31 and area.max() > 0.59
    assert aspect.min() >= 1 / 1.2 - 1e-5 and aspect.max() <= 1.2 + 1e-5
    assert aspect.min() < 0.85 and aspect.max() > 1.18
    left, top = maps[:, 0, 2], maps[:, 1, 2]
    for place, side in ((left, wide), (top, high)):
        assert (place.abs() <= 1 - side + 1e-5).all(), "no crop leaves the image"
        assert (place / (1 - side)).min() < -0.95 and (place / (1 - side)).max() > 0.95
    assert (maps[:, 0, 1] == 0).all() and (maps[:, 1, 0] == 0).all(), "nothing is turned"
    assert (maps[:, 0, 0] > 0).all(), "nothing is mirrored"


def test_a_whole_image_keeps_its_sides_however_it_is_stretched():
    wide, high = sizes(Views(Augment(area=(1.0, 1.0), aspect=0.5, flip=False), 0).maps(range(500), 0))
    assert wide.max() <= 1 and high.max() <= 1
    assert torch.minimum(wide, high).min() == pytest.approx(1 / 1.5**0.5, abs=0.01)


def test_half_of_the_views_are_mirrored_where_that_is_allowed():
    flipped = Views(Augment(flip=True), 0).maps(range(2000), 0)[:, 0, 0] < 0
    assert 0.45 < flipped.float().mean() < 0.55
    image = torch.arange(8.0).view(1, 1, 1, 8).expand(2000, 3, 8, 8).to(torch.uint8)
    whole = Augment(area=(1.0, 1.0), aspect=0.0, flip=True)
    seen = Views(whole, 0).apply(image, range(2000), 0)
    assert {tuple(row.round().int().tolist()) for row in seen[:, 0, 0]} == {tuple(range(8)), tuple(range(7, -1, -1))}


def test_rotation_is_within_its_degrees_either_way():
    maps = Views(Augment(area=(1.0, 1.0), aspect=0.0, rotate=30.0, flip=False), 0).maps(range(2000), 0)
    angle = torch.rad2deg(torch.atan2(maps[:, 1, 0], maps[:, 1, 1]))
    assert -30.01 <= angle.min() < -29 and 29 < angle.max() <= 30.01
    assert torch.allclose(maps[:, :, :2] @ maps[:, :, :2].transpose(1, 2), torch.eye(2), atol=1e-5), "a pure rotation"
    mirrored = Views(Augment(area=(1.0, 1.0), aspect=0.0, rotate=30.0), 0).maps(range(200), 0)
    determinant = torch.det(mirrored[:, :, :2])
    assert torch.allclose(determinant.abs(), torch.ones(200), atol=1e-5)
    assert {round(value) for value in determinant.tolist()} == {-1, 1}


def test_what_lies_outside_is_the_border():
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    turned = Views(Augment(area=(1.0, 1.0), aspect=0.0, rotate=180.0), 0)
    assert all((turned.apply(white, [row], 0) > 254.9).all() for row in range(10))


@pytest.mark.parametrize("area", [(0.0, 1.0), (0.6, 0.5)])
def test_an_area_that_is_none_is_refused(area):
    with pytest.raises(ValueError, match="area must be"):
        Augment(area=area)


def test_channels_have_their_own_scale():
    own = Preprocess(size=8, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    found = Normalise(own)(torch.full((1, 3, 8, 8), 255.0))
    assert torch.allclose(found[0, :, 0, 0], torch.tensor([1.0, 1.0, 0.0]))
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 255
    small = Normalise(own.model_copy(update={"size": 2}))(edge)
    assert small[0, 0, 0, 0] < 0.2 and small[0, 0, 0, 1] > 0.8, "made smaller by the mean of what it covers"


def test_the_maps_are_those_that_stores_were_made_with():
    found = Views(Augment(rotate=30.0), 7).maps([0, 5], 2)
    first = [[0.8233, -0.4256, 0.0320], [0.4592, 0.8883, 0.0000]]
    second = [[-0.5418, 0.1771, -0.2396], [0.1780, 0.5447, -0.1626]]
    assert torch.allclose(found, torch.tensor([first, second]), atol=1e-4)


def test_pixels_are_averaged_where_an_input_is_smaller():
    own = Preprocess(size=4, mean=(0.0,) * 3, std=(1.0,) * 3)
    chess = 255.0 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2).expand(1, 3, 16, 16)
    assert torch.allclose(Normalise(own)(chess), torch.full((1, 3, 4, 4), 0.5), atol=0.02)
    same = torch.randint(0, 256, (1, 3, 4, 4)).float()
    assert torch.equal(Normalise(own)(same), same / 255)


def test_a_view_follows_its_image_and_not_its_place(tmp_path):
    from PIL import Image

    from edgeclip.data.squares import Images
    from edgeclip.images.sources import Folder
    from edgeclip.runtime.manifest import Preprocess

    square = Preprocess(size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    for name in ("b", "c"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    before = Images(Folder(tmp_path), square).seeds([0, 1])
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    after = Images(Folder(tmp_path), square).seeds([0, 1, 2])
    assert (after[1:] == before).all()
    assert len(set(after.tolist())) == 3
    views = Views(Augment(), 7)
    assert torch.equal(views.maps(after, 2)[1:], views.maps(before, 2))
