"""`isotherm train`: the command line of the room. Light: what is heavy is imported when it runs."""

import datetime
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isotherm.base.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from isotherm.forecast.model import Histories
    from isotherm.forecast.record import Epoch, TrainingRecord

__all__ = ["OwnCounts", "register"]

OwnCounts = Callable[[Sequence[str], int, int], Iterable[tuple[str, int, int]]]
DAY_MINUTES = 1440
ON_THEIR_WAY_MINUTES = 2  # hosts tell what they have counted every few seconds


def register(app: typer.Typer, own_counts: OwnCounts) -> None:
    """Add `train` to a command line. `own_counts` gives (name, minute, calls) of namespaces, in [since, until)."""

    @app.command()
    def train(
        traces: Annotated[
            list[Path] | None,
            typer.Argument(metavar="TRACE…", help="CSV, or a folder with invocations.csv: counts a minute."),
        ] = None,
        own: Annotated[
            bool, typer.Option("--own", help="Train on the calls that the platform has counted, alone or with traces.")
        ] = False,
        days: Annotated[int, typer.Option(min=1, max=366, help="Of --own: the last ones.")] = 14,
        namespace: Annotated[
            list[str] | None,
            typer.Option("--namespace", "-n", help="Of --own; default: the profile's, or default. Repeatable."),
        ] = None,
        out: Annotated[Path, typer.Option(help="Folder of the versions.")] = Path("models/lstm"),
        holdout: Annotated[
            float, typer.Option(min=0.02, max=0.5, help="Share of the minutes, the last, that only the gate sees.")
        ] = 0.15,
        epochs: Annotated[int, typer.Option(min=1, max=1000, help="At most; it ends when it gets no better.")] = 30,
        samples: Annotated[int, typer.Option(min=256, max=10_000_000, help="Shown in an epoch.")] = 20_000,
        seed: Annotated[int, typer.Option(help="Of the network and of what it is shown.")] = 1,
        threads: Annotated[int, typer.Option(min=1, max=256, help="Of the CPU.")] = 1,
        json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """Train the forecasting network on counts a minute. A version that beats the current one becomes current."""
        if not (traces or own):
            raise Invalid("nothing to train on: name a TRACE, or say --own for what the platform has counted")
        try:
            from isotherm.forecast.service import Trainee, train_model
            from isotherm.forecast.traces import read_trace
            from isotherm.forecast.training import Options
        except ModuleNotFoundError as exc:
            raise Unavailable(f"train needs {exc.name}: pip install 'isotherm[forecast,train]'") from exc
        histories = [(path.resolve().name, read_trace(path)) for path in traces or ()]
        if own:
            histories.append(("own", _own(own_counts, namespace or [], days)))
        options = Options(epochs=epochs, samples=samples, validation=samples // 4, seed=seed, threads=threads)
        trainee = Trainee(histories, holdout=holdout, source=", ".join(name for name, _ in histories))
        record = train_model(trainee, out, options, _say, datetime.datetime.now(datetime.UTC))
        if json_:
            import msgspec

            typer.echo(msgspec.json.encode({"folder": str(out / str(record.version)), "record": record}))
        else:
            typer.echo(_summary(record, out))


def _own(own_counts: OwnCounts, namespaces: Sequence[str], days: int) -> "Histories":
    from isotherm.forecast.model import Histories
    from isotherm.forecast.own import histories_of

    now = int(datetime.datetime.now(datetime.UTC).timestamp() // 60)
    since, until = now - days * DAY_MINUTES, now - ON_THEIR_WAY_MINUTES
    names, found = histories_of(own_counts(namespaces, since, until), since, until)
    if not names:
        raise Invalid(f"no calls were counted in the last {days} days: name another --namespace, or more --days")
    began = int(found.since.min())  # of what lies before the first call of all nothing is learned
    typer.echo(f"{len(names)} functions, {(found.counts.shape[1] - began) / DAY_MINUTES:.1f} days", err=True)
    return Histories(found.counts[:, began:], since + began, found.since - began)


def _say(number: int, epoch: "Epoch") -> None:
    words = f"epoch {number + 1}: trained {epoch.trained:.4f}, validated {epoch.validated:.4f}, {epoch.seconds:.0f} s"
    typer.echo(words, err=True)


def _summary(record: "TrainingRecord", out: Path) -> str:
    best = record.epochs[record.best_epoch]
    lines = [
        f"version {record.version} in {out / str(record.version)}: {record.onnx_bytes} bytes",
        f"best of {len(record.epochs)} epochs: pinball loss {best.validated:.4f}",
    ]
    if record.gate is not None:
        lines.append(f"{'promoted' if record.gate.promoted else 'not promoted'}: {record.gate.reason}")
    return "\n".join(lines)
