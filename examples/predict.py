"""Tell which digit a picture shows, with a model that mnist_mlp.py has trained."""

import sys
from pathlib import Path

import matplotlib.image
import numpy as np
from mnist_mlp import load_checkpoint, mlp
from options import example_parser

import minitorch_triton as mt
from minitorch_triton import data

SHADES = " ░▒▓█"


def read_digit(path):
    """Return the digit in a PNG file as MNIST shows its own: float32 (28, 28), ink at 1.

    As there, the digit is scaled to fit 20 x 20 pixels and its centre of mass lies on pixel
    (14, 14) of the 28 x 28. In the file it may be dark on light or light on dark, of any size.
    """
    try:
        picture = np.atleast_3d(matplotlib.image.imread(path))
    except SyntaxError as error:
        raise ValueError(f"{path}: {error}") from error
    if picture.dtype == np.uint8:  # another format than PNG, which comes scaled to 1
        picture = picture / 255
    if picture.shape[2] in (2, 4):  # what is transparent is white paper
        alpha = picture[..., -1:]
        picture = picture[..., :-1] * alpha + 1 - alpha
    ink = picture.mean(axis=2)
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    ink = np.abs(ink - np.median(border))
    if ink.max() < 0.1:
        raise ValueError(f"{path}: no digit to be seen, only one even shade")
    ink /= ink.max()

    rows, columns = (np.flatnonzero((ink > 0.2).any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * size / max(ink.shape))) for size in ink.shape)
    ink = averaging(height, ink.shape[0]) @ ink @ averaging(width, ink.shape[1]).T
    ink /= ink.max()

    digit = np.zeros((28, 28), np.float32)
    centre = [
        (weights @ np.arange(len(weights))) / ink.sum() for weights in (ink.sum(1), ink.sum(0))
    ]
    top, left = (
        int(np.clip(round(14 - middle), 0, 28 - size))
        for middle, size in zip(centre, ink.shape, strict=True)
    )
    digit[top : top + height, left : left + width] = ink
    return digit


def averaging(new_size, size):
    """Return the (new_size, size) matrix that averages the pixels each new pixel covers."""
    edges = np.linspace(0, size, new_size + 1)
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * new_size / size


def main():
    parser = example_parser(__doc__)
    parser.add_argument("image", nargs="?", help="a PNG file; without it, one of the test digits")
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/mnist_mlp/checkpoint.pt"))
    args = parser.parse_args()

    mt.manual_seed(args.seed)
    if args.dry_run:
        model = mlp(hidden=256)
    else:
        checkpoint = load_checkpoint(args.checkpoint, args.device)
        model = mlp(checkpoint["hidden"])
        model.load_state_dict(checkpoint["model"])
    model.to(args.device)

    if args.image is not None:
        digit = read_digit(args.image)
    else:
        images, labels = data.mnist_arrays(train=False)
        index = np.random.default_rng(args.seed).integers(len(images))
        print(f"test digit {index}, a {labels[index]}:")
        digit = images[index].astype(np.float32) / 255

    for row in digit:
        print("".join(2 * SHADES[min(int(ink * len(SHADES)), len(SHADES) - 1)] for ink in row))
    with mt.no_grad():
        x = mt.from_numpy((digit - data.MNIST_MEAN) / data.MNIST_STD).to(args.device)
        probabilities = model(x.unsqueeze(0)).softmax(dim=1)[0].tolist()
    for digit_class, probability in enumerate(probabilities):
        print(f"{digit_class}  {probability:6.1%}  {'█' * round(40 * probability)}")
    print(f"It is a {probabilities.index(max(probabilities))}.")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"predict: {error}")
