import numpy as np
import pytest
from PIL import Image

from edgeclip.ecosystem.embedder import Embedder


def test_encode_as_sentence_transformers_has_it(bundle):
    model, encoder = Embedder(bundle.path), bundle.encoder()
    image = Image.new("RGB", (40, 50), "red")
    one = model.encode("a red thing")
    assert one.shape == (model.get_sentence_embedding_dimension(),) == (32,)
    mixed = model.encode(["a red thing", image, "blue"], batch_size=1, show_progress_bar=False, device="cpu")
    assert np.allclose(mixed[[0, 2]], encoder.encode_text(["a red thing", "blue"]), atol=1e-6)
    assert np.allclose(mixed[1], encoder.encode_image([image])[0], atol=1e-6)
    assert np.allclose(model.similarity(mixed, one)[:, 0], mixed @ one)
    assert [row.shape for row in model.encode(["a", "b"], convert_to_numpy=False)] == [(32,), (32,)]
    assert model.encode([]).shape == (0, 32)


def test_a_tensor_is_one_of_torchs(teacher):
    torch = pytest.importorskip("torch")
    assert isinstance(Embedder(teacher).encode(["a"], convert_to_tensor=True), torch.Tensor)
