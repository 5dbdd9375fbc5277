import io
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import OrderedDict

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn

DTYPES = [mt.float32, mt.float64, mt.float16, mt.bfloat16, mt.int64, mt.int32, mt.uint8, mt.bool]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 4)])
def test_a_tensor_comes_back(tmp_path, dtype, shape):
    x = mt.full(shape, 1, dtype=dtype)
    mt.save(x, tmp_path / "x.pt")
    for y in (mt.load(tmp_path / "x.pt"), torch.load(tmp_path / "x.pt", weights_only=True)):
        assert (y.dtype, y.shape, y.tolist()) == (x.dtype, x.shape, x.tolist())


def test_strides_and_gradient_requirement_come_back(tmp_path):
    x = mt.arange(6.0).reshape(2, 3).T
    w = mt.ones(2, requires_grad=True)
    mt.save([x, w, nn.Parameter(mt.zeros(1))], tmp_path / "x.pt")
    x2, w2, p2 = mt.load(tmp_path / "x.pt")
    assert x2.stride() == (1, 3)
    assert x2.tolist() == x.tolist()
    assert (x2.requires_grad, w2.requires_grad, p2.requires_grad) == (False, True, True)
    assert w2.is_leaf
    assert type(w2) is mt.Tensor
    assert type(p2) is nn.Parameter
    theirs = torch.load(tmp_path / "x.pt", weights_only=True)
    assert isinstance(theirs[2], torch.nn.Parameter)


def test_structures_come_back(tmp_path):
    state = OrderedDict(model={"w": mt.ones(2)}, history=[1, 2.5, "text", None, True, (3, 4)])
    mt.save(state, tmp_path / "s.pt")
    loaded = mt.load(tmp_path / "s.pt")
    assert type(loaded) is OrderedDict
    assert loaded["history"] == state["history"]
    assert loaded["model"]["w"].tolist() == [1, 1]


def test_a_state_dict_goes_to_pytorch_and_back(tmp_path):
    ours = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    path = tmp_path / "model.pt"
    mt.save(ours.state_dict(), path)
    theirs.load_state_dict(torch.load(path, weights_only=True))
    assert theirs[2].weight.tolist() == ours[2].weight.tolist()
    torch.nn.init.ones_(theirs[0].weight)
    torch.save(theirs.state_dict(), path)
    ours.load_state_dict(mt.load(path))
    assert ours[0].weight.tolist() == [[1.0] * 3] * 4


def test_a_binary_file():
    file = io.BytesIO()
    mt.save({"x": mt.ones(2)}, file)
    file.seek(0)
    assert mt.load(file)["x"].tolist() == [1, 1]


@pytest.fixture
def good_file(tmp_path):
    path = tmp_path / "checkpoint.pt"
    mt.save({"x": mt.arange(1000)}, path)
    return path


@pytest.mark.parametrize("size", [0, 1, 100, 2000, -1])
def test_a_truncated_file(good_file, size):
    good_file.write_bytes(good_file.read_bytes()[:size])
    with pytest.raises(RuntimeError, match=f"{good_file}: truncated, damaged, or no file of"):
        mt.load(good_file)


def test_a_flipped_bit(good_file):
    content = bytearray(good_file.read_bytes())
    content[content.index((500).to_bytes(8, "little"))] ^= 1
    good_file.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"damaged: the record \S*data/0 has a wrong checksum"):
        mt.load(good_file)


def test_a_file_of_another_kind(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a checkpoint")
    with pytest.raises(RuntimeError, match=r"notes.txt: .* no file of this format"):
        mt.load(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        mt.load(tmp_path / "nowhere")


class Dangerous:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_in_a_file_is_executed(tmp_path):
    path, evidence = tmp_path / "evil.pt", str(tmp_path / "evidence")
    torch.save({"x": torch.ones(2), "y": Dangerous(evidence)}, path)
    with pytest.raises(pickle.UnpicklingError, match="could execute code"):
        mt.load(path)
    assert not os.path.exists(evidence)


def test_a_failed_save_leaves_the_old_file(good_file):
    old = good_file.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        mt.save({"x": mt.ones(100_000), "f": lambda: None}, good_file)
    assert good_file.read_bytes() == old
    assert os.listdir(good_file.parent) == [good_file.name]


def test_a_killed_save_leaves_a_whole_file(good_file):
    program = f"""
import minitorch_triton as mt
states = [{{"x": mt.full((200_000,), value)}} for value in (1, 2)]
print("ready", flush=True)
while True:
    for state in states:
        mt.save(state, {str(good_file)!r})
"""
    for delay in (0.05, 0.11, 0.23):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        x = mt.load(good_file)["x"]
        assert x.shape == (200_000,)
        assert x.tolist() in ([1] * 200_000, [2] * 200_000)
