"""Train a multilayer perceptron on MNIST: define, forward, loss, backward, update."""

import sys
import time
from pathlib import Path

import pictures
from options import example_parser
from tqdm import tqdm

import minitorch_triton as mt
from minitorch_triton import data, nn, optim


def parse_arguments():
    parser = example_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=256, help="width of the hidden layer")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--data", type=Path, help="folder with the whole of MNIST in IDX files")
    parser.add_argument("--download", action="store_true", help="fetch MNIST into --data first")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_mlp"), help="folder to write")
    parser.add_argument("--resume", action="store_true", help="go on from --out's checkpoint")
    args = parser.parse_args()
    if args.download and args.data is None:
        parser.error("--download needs --data, the folder to download into")
    if args.epochs < 1:
        parser.error("--epochs must be at least 1")
    return args


def mlp(hidden):
    """Return the model: logits (N, 10) of images (N, 28, 28)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def load_checkpoint(path, device):
    """Return what `train` has written to `path`."""
    if not path.exists():
        raise FileNotFoundError(
            f"there is no checkpoint {path}: run mnist_mlp.py (make mnist) first"
        )
    checkpoint = mt.load(path, map_location=device)
    if not isinstance(checkpoint, dict) or not checkpoint.keys() >= {"hidden", "model", "history"}:
        raise ValueError(f"{path} is no checkpoint of mnist_mlp.py")
    return checkpoint


@mt.no_grad()
def evaluate(model, loss_fn, images, labels):
    """Return the mean loss, the accuracy and the probability of each class, (N, 10)."""
    logits = mt.cat([model(batch) for (batch,) in data.batches(images, batch_size=500)])
    accuracy = (logits.argmax(dim=1) == labels).sum().item() / len(labels)
    return loss_fn(logits, labels).item(), accuracy, logits.softmax(dim=1)


def train(args):
    train_images, train_labels = data.mnist(args.data, train=True, device=args.device)
    test_images, test_labels = data.mnist(args.data, train=False, device=args.device)
    if args.dry_run:
        args.epochs = 1
        train_images, train_labels = train_images[:300], train_labels[:300]

    mt.manual_seed(args.seed)
    model = mlp(args.hidden).to(args.device)  # 1. define
    loss_fn = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
    history = []
    if args.resume:
        checkpoint = load_checkpoint(args.out / "checkpoint.pt", args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        mt.set_rng_state(checkpoint["rng_state"])
        history = checkpoint["history"]

    for epoch in range(len(history), args.epochs):
        losses, hits, start = [], 0, time.perf_counter()
        epoch_batches = data.batches(
            train_images, train_labels, batch_size=args.batch_size, shuffle=True
        )
        bar = tqdm(total=len(train_images), unit=" images", desc=f"epoch {epoch + 1}/{args.epochs}")
        for images, labels in epoch_batches:
            logits = model(images)  # 2. forward
            loss = loss_fn(logits, labels)  # 3. loss
            optimizer.zero_grad()
            loss.backward()  # 4. backward
            optimizer.step()  # 5. update

            losses.append(loss.detach())
            hits += (logits.argmax(dim=1) == labels).sum().item()
            bar.update(len(labels))
            if len(losses) % 10 == 0 or bar.n == bar.total:
                bar.set_postfix(loss=f"{loss.item():.3f}", accuracy=f"{hits / bar.n:.1%}")
        seconds = time.perf_counter() - start
        test_loss, test_accuracy, probabilities = evaluate(model, loss_fn, test_images, test_labels)
        bar.set_postfix_str(f"{bar.postfix}, test accuracy={test_accuracy:.1%}")
        bar.close()

        history.append(
            {
                "losses": [loss.item() for loss in losses],
                "train_accuracy": hits / len(train_images),
                "test_loss": test_loss,
                "test_accuracy": test_accuracy,
                "images_per_second": len(train_images) / seconds,
            }
        )
        if not args.dry_run:
            checkpoint = {
                "hidden": args.hidden,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "rng_state": mt.get_rng_state(),
                "history": history,
            }
            args.out.mkdir(parents=True, exist_ok=True)
            mt.save(checkpoint, args.out / "checkpoint.pt")

    _, accuracy, probabilities = evaluate(model, loss_fn, test_images, test_labels)
    print(f"test accuracy {accuracy:.2%} of {len(test_labels)} digits never trained on")
    if not args.dry_run:
        pictures.learning_curve(history).savefig(args.out / "learning_curve.png")
        pictures.predictions(
            test_images.cpu().numpy(), test_labels.tolist(), probabilities.cpu().numpy()
        ).savefig(args.out / "predictions.png")
        print(f"wrote checkpoint.pt, learning_curve.png and predictions.png to {args.out}")


if __name__ == "__main__":
    arguments = parse_arguments()
    try:
        if arguments.download:
            data.download_mnist(arguments.data)
        train(arguments)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"mnist_mlp: {error}")
