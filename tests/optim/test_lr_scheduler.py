"""The schedules against PyTorch's: rates, momenta, state_dict, warnings and errors."""

import warnings

import pytest
import torch

import minitorch_triton as mt
from minitorch_triton import nn, optim

CASES = [
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.5}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 12}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (1 + epoch), lambda epoch: 2.0]}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": [1.0, 2.0], "epochs": 4, "steps_per_epoch": 5}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "cycle_momentum": False}),
]


def case_id(value):
    return value if isinstance(value, str) else "-".join(value)


def optimizers(name="SGD", **options):
    """The same two parameter groups here and in PyTorch."""
    options = {"momentum": 0.9} | options if name == "SGD" else options
    found = []
    for module, parameter in (
        (optim, lambda: nn.Parameter(mt.ones(1))),
        (torch.optim, lambda: torch.nn.Parameter(torch.ones(1))),
    ):
        groups = [{"params": [parameter()], "lr": 0.1}, {"params": [parameter()], "lr": 0.3}]
        found.append(getattr(module, name)(groups, **options))
    return found


def schedulers(name, options, optimizer="SGD"):
    ours, theirs = optimizers(optimizer)
    return (
        getattr(optim.lr_scheduler, name)(ours, **options),
        getattr(torch.optim.lr_scheduler, name)(theirs, **options),
    )


def groups_of(scheduler):
    return [
        {key: value for key, value in group.items() if key != "params"}
        for group in scheduler.optimizer.param_groups
    ]


def step(*pair):
    for scheduler in pair:
        scheduler.optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_equal_to_pytorch(name, options, optimizer):
    ours, theirs = schedulers(name, options, optimizer)
    for _ in range(19):
        assert ours.get_last_lr() == theirs.get_last_lr()
        assert groups_of(ours) == groups_of(theirs)
        assert ours.last_epoch == theirs.last_epoch
        step(ours, theirs)
    assert ours.state_dict() == theirs.state_dict()


@pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)
def test_state_dict_of_pytorch_loads(name, options):
    _, theirs = schedulers(name, options)
    ours, _ = schedulers(name, options)
    for _ in range(7):
        step(theirs)
    ours.load_state_dict(theirs.state_dict())
    for group, other in zip(ours.optimizer.param_groups, groups_of(theirs), strict=True):
        group.update(other)
    for _ in range(7):
        step(ours, theirs)
        assert ours.get_last_lr() == theirs.get_last_lr()


@pytest.mark.parametrize(
    ("name", "options"),
    [case for case in CASES if case[0] != "OneCycleLR"],
    ids=case_id,
)
def test_resume_from_an_epoch(name, options):
    pair = optimizers()
    for optimizer in pair:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    ours = getattr(optim.lr_scheduler, name)(pair[0], **options, last_epoch=4)
    theirs = getattr(torch.optim.lr_scheduler, name)(pair[1], **options, last_epoch=4)
    for _ in range(5):
        assert ours.get_last_lr() == theirs.get_last_lr()
        step(ours, theirs)


def test_step_to_an_epoch():
    ours, theirs = schedulers("StepLR", {"step_size": 2})
    step(ours, theirs)
    for scheduler in (ours, theirs):
        with pytest.warns(UserWarning, match="epoch parameter"):
            scheduler.step(5)
    assert ours.get_last_lr() == theirs.get_last_lr()


def messages(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [(warning.category, str(warning.message)) for warning in caught]


def test_warnings():
    ours, theirs = schedulers("StepLR", {"step_size": 2})
    assert messages(ours.get_lr) == messages(theirs.get_lr) != []
    assert messages(ours.step) == messages(theirs.step) != []
    ours, theirs = schedulers("StepLR", {"step_size": 2})
    ours.optimizer.step = theirs.optimizer.step = lambda: None
    assert messages(ours.step) == messages(theirs.step) != []
    ours, theirs = schedulers("StepLR", {"step_size": 2})
    assert messages(lambda: step(ours)) == messages(lambda: step(theirs)) == []


BAD = [
    ("LambdaLR", {"lr_lambda": [lambda epoch: 1.0]}),
    ("StepLR", {"step_size": 2, "last_epoch": 3}),
    ("OneCycleLR", {"max_lr": 1.0}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 0}),
    ("OneCycleLR", {"max_lr": 1.0, "epochs": 1.5, "steps_per_epoch": 3}),
    ("OneCycleLR", {"max_lr": 1.0, "epochs": 1, "steps_per_epoch": -3}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 5, "pct_start": 2.0}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 5, "anneal_strategy": "exp"}),
    ("OneCycleLR", {"max_lr": [1.0, 2.0, 3.0], "total_steps": 5}),
]


@pytest.mark.parametrize(("name", "options"), BAD, ids=case_id)
def test_errors(name, options):
    ours, theirs = optimizers()
    with pytest.raises((ValueError, KeyError)) as expected:
        getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    with pytest.raises(type(expected.value)) as raised:
        getattr(optim.lr_scheduler, name)(ours, **options)
    assert str(raised.value) == str(expected.value)


def test_too_many_steps_and_no_optimizer():
    ours, _ = schedulers("OneCycleLR", {"max_lr": 1.0, "total_steps": 2})
    step(ours)
    step(ours)
    with pytest.raises(ValueError, match=r"Tried to step 3 times. The specified number"):
        step(ours)
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        optim.lr_scheduler.StepLR(3, 1)
