import torch

from edgeclip.data.sampler import BatchSampler
from edgeclip.data.views import Augment, Normalise, Views
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


def test_every_image_is_seen_once_a_pass():
    shuffle = BatchSampler(10, 5, seed=0)
    assert sorted(shuffle[0] + shuffle[1]) == list(range(10))
    assert shuffle[0] == BatchSampler(10, 5, seed=0)[0]
    assert sorted(BatchSampler(3, 50, seed=0)[0]) == [0, 1, 2]  # a batch larger than the data is the data
