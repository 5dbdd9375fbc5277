"""Command-line options that all examples share."""

import argparse

import minitorch_triton as mt


def example_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with --dry-run, --seed and --device."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="only show that everything works")
    parser.add_argument("--seed", type=int, default=0, help="for every random number")
    parser.add_argument(
        "--device", type=_device, default="auto", metavar="{auto,cpu,cuda}", help="where to compute"
    )
    return parser


def _device(name: str) -> mt.device:
    if name not in ("auto", "cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from auto, cpu, cuda)")
    if name == "auto":
        name = "cuda" if mt.cuda.is_available() else "cpu"
    elif name == "cuda" and not mt.cuda.is_available():
        raise argparse.ArgumentTypeError("this machine has no GPU that PyTorch can use")
    return mt.device(name)
