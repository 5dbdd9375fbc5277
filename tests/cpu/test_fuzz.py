"""A few of the fuzzer's kernels; `python -m tests.cpu.fuzz --minutes 60` makes more."""

import fuzz
import pytest

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_kernel(seed, tmp_path):
    assert fuzz.compare(seed, str(tmp_path)) == []


def test_a_wrong_result_is_noticed():
    kernel = fuzz.Kernel(0)
    expected = kernel.run_numpy()
    result = [fuzz.torch.from_numpy(array.copy()) for array in expected]
    assert kernel.difference(result, expected) == ""
    result[-1][-1] += 3
    assert kernel.difference(result, expected)
