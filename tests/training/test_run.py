"""What a training run compiles and keeps, in numbers that no clock is needed for."""

import gc
import subprocess
import sys
import textwrap
from pathlib import Path

import minitorch_triton as mt
from minitorch_triton import nn

ROOT = Path(__file__).parents[2]


def run_program(text: str) -> list[int]:
    """Run a program in a new process, and return the numbers that it prints."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return [int(word) for word in result.stdout.split()]


def test_a_training_run_compiles_few_variants_and_none_after_its_first_epoch():
    """In a process of its own, because every process starts with no variant."""
    program = """
        import minitorch_triton as mt
        from minitorch_triton import data, nn, optim
        from minitorch_triton.kernels.launch import variants

        images, labels = data.mnist(train=False)
        images, labels = images[:300], labels[:300]  # batches of 128, 128 and 44

        def epoch(seed):
            mt.manual_seed(seed)
            hits = 0
            for x, y in data.batches(images, labels, batch_size=128, shuffle=True):
                logits = model(x)
                loss = loss_fn(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                hits += (logits.argmax(dim=1) == y).sum().item()
            model.eval()
            with mt.no_grad():
                model(images).softmax(dim=1)
            model.train()
            return loss.item(), hits

        mt.manual_seed(0)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
        )
        loss_fn = nn.CrossEntropyLoss()
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=150)
        epoch(0)
        after_one = variants()
        for seed in range(1, 50):
            epoch(seed)
        print(after_one, variants())
    """
    after_one, after_fifty = run_program(program)
    assert after_fifty == after_one
    assert after_one <= 30


def test_memory_does_not_grow_over_ten_thousand_steps():
    """In a process of its own, whose memory no other test has cut into pieces."""
    program = """
        import gc
        from pathlib import Path

        import minitorch_triton as mt
        from minitorch_triton import nn, optim

        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        loss_fn = nn.CrossEntropyLoss()
        x, y = mt.randn(4, 6), mt.randint(0, 3, (4,))

        def train(steps):
            for _ in range(steps):
                loss = loss_fn(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(len(gc.get_objects()), pages * 4096)

        train(2000)
        train(10_000)
    """
    objects, size, objects_after, size_after = run_program(program)
    assert objects_after - objects <= 10
    # The allocator takes a megabyte now and then; a tensor kept by every step, objects and
    # buffer, would be five.
    assert size_after - size < 3_000_000


def test_a_graph_is_freed_without_the_garbage_collector():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    x, y = mt.randn(4, 6), mt.randint(0, 3, (4,))

    def train(steps):
        for _ in range(steps):
            model.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()

    gc.collect()
    gc.disable()
    try:
        train(100)
        before = len(gc.get_objects())
        train(100)
        assert len(gc.get_objects()) - before <= 10
    finally:
        gc.enable()
