"""What the examples draw, with matplotlib."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

INK, MUTED, FAINT = "#1f2933", "#616e7c", "#d9dfe5"
TRAINING, TEST, WRONG = "#9aa5b1", "#0967d2", "#c9302c"


def learning_curve(history):
    """Return a figure of loss and accuracy over the epochs.

    `history` holds a dict per epoch: the losses of its steps, train_accuracy, test_loss and
    test_accuracy.
    """
    epochs = np.arange(1, len(history) + 1)
    figure = Figure(figsize=(9.6, 3.8), dpi=150, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.03)
    loss_axes, accuracy_axes = figure.subplots(1, 2)

    losses = [np.asarray(record["losses"]) for record in history]
    steps = [epoch + np.arange(1, len(x) + 1) / len(x) for epoch, x in enumerate(losses)]
    loss_axes.plot(np.concatenate(steps), np.concatenate(losses), color=FAINT, linewidth=0.8)
    _line(loss_axes, epochs, [x.mean() for x in losses], TRAINING, "training", "{:.2g}")
    _line(loss_axes, epochs, [x["test_loss"] for x in history], TEST, "test", "{:.2g}")
    loss_axes.set_yscale("log")
    loss_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss_axes.yaxis.set_minor_locator(NullLocator())
    _finish(loss_axes, len(history), "Cross-entropy loss (pale: each step)", "{:g}")

    accuracies = [x["train_accuracy"] for x in history]
    _line(accuracy_axes, epochs, accuracies, TRAINING, "training", "{:.1%}")
    _line(accuracy_axes, epochs, [x["test_accuracy"] for x in history], TEST, "test", "{:.1%}")
    accuracy_axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    _finish(accuracy_axes, len(history), "Accuracy", "{:.0%}")
    return figure


def predictions(images, labels, probabilities, columns=8, rows=4):
    """Return a figure of digits with the class that the model gives each and its probability.

    Half of the rows are the first digits, the other half those on which the model is wrong with
    the greatest confidence. Arrays: `images` (N, 28, 28), `labels` (N,), `probabilities` (N, 10).
    """
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    half = columns * rows // 2
    worst = wrong[np.argsort(-confidence[wrong])][:half]

    figure = Figure(figsize=(1.05 * columns, 1.25 * rows + 0.8), dpi=150, facecolor="white")
    for part, title, chosen in zip(
        figure.subfigures(2, 1),
        (
            "The first test digits: prediction, probability",
            f"The most confident of the {len(wrong)} mistakes: digit → prediction, probability",
        ),
        (range(min(half, len(labels))), worst),
        strict=True,
    ):
        cells = part.subplots(rows // 2, columns)
        part.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=0.8, wspace=0.1, hspace=0.3)
        part.text(0.025, 0.92, title, color=INK, fontsize=10, fontweight="bold")
        for axes in cells.flat:
            axes.axis("off")
        for axes, i in zip(cells.flat, chosen, strict=False):
            axes.imshow(images[i], cmap="gray_r", interpolation="nearest")
            is_right = guesses[i] == labels[i]
            digit = f"{guesses[i]}" if is_right else f"{labels[i]} → {guesses[i]}"
            percent = f"{confidence[i]:.0%}" if confidence[i] < 0.995 else ">99%"
            axes.set_title(f"{digit}  {percent}", size=8, color=INK if is_right else WRONG, pad=2)
    return figure


def _line(axes, epochs, values, color, name, number_format):
    """Draw a line over the epochs, with its name and its last value beside its end."""
    axes.plot(epochs, values, "o-", color=color, markersize=4.5)
    axes.annotate(
        f"{name}\n{number_format.format(values[-1])}",
        (epochs[-1], values[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=TEST if color == TEST else MUTED,
        fontsize=9,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _finish(axes, epochs, title, number_format):
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel("epoch", color=MUTED)
    axes.set_xlim(0, epochs * 1.14)
    axes.set_xticks(range(0, epochs + 1, max(1, epochs // 10)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number_format.format(value)))
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
