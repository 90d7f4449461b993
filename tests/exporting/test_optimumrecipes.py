"""Which of Optimum's recipes are tried on a CPU; that they run is seen where `edgeclip[optimum]` is installed."""

import pytest

from edgeclip.exporting.optimumrecipes import names


@pytest.mark.parametrize(
    ("features", "instructions"),
    [
        (["asimddp", "fp16"], "arm64"),
        (["avx2", "avx512f", "avx512_vnni"], "avx512_vnni"),
        (["avx2", "avx512f"], "avx512"),
        (["avx2"], "avx2"),
    ],
)
def test_optimum_is_asked_for_the_instructions_that_are_here(features, instructions):
    assert names(features) == [f"{instructions}-static", f"{instructions}-dynamic"]
