"""`isotherm replay`: the command line of the replayer. Light: what is heavy is imported when it runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isotherm.base.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from isotherm.replay.report import Report

__all__ = ["register"]

FindPlatform = Callable[[], tuple[str, str]]


def register(app: typer.Typer, find_platform: FindPlatform) -> None:
    """Add `replay` to a command line. `find_platform` gives the URL and the key of the platform, or raises."""

    @app.command()
    def replay(
        path: Annotated[Path, typer.Argument(help="Folder of the trace: invocations.csv, durations.csv, memory.csv.")],
        live: Annotated[bool, typer.Option("--live", help="Drive the running platform.")] = False,
        speed: Annotated[float, typer.Option(help="Trace seconds per second.")] = 60.0,
        minutes: Annotated[int, typer.Option(help="Minutes of the trace to replay.")] = 30,
        start: Annotated[int, typer.Option(help="First minute, counted from the trace's first.")] = 0,
        duration_scale: Annotated[
            float | None, typer.Option(help="Share of the drawn durations that stand-ins sleep; default 1 / speed.")
        ] = None,
        memory_scale: Annotated[float, typer.Option(help="Share of the drawn memory that stand-ins hold.")] = 1 / 16,
        arrivals: Annotated[float, typer.Option(help="Share of the arrivals that is sent.")] = 1.0,
        rows: Annotated[int | None, typer.Option(help="Only the busiest functions; default all.")] = None,
        seed: Annotated[int, typer.Option(help="Of the arrivals and of what is drawn.")] = 1,
        keep_alive: Annotated[float, typer.Option(help="Of idle instances, in seconds of the trace.")] = 600.0,
        max_instances: Annotated[int, typer.Option(help="Of each stand-in.")] = 40,
        keep: Annotated[bool, typer.Option("--keep", help="Leave the stand-ins deployed.")] = False,
        out: Annotated[Path | None, typer.Option(help="Folder for replay.json and replay.png.")] = None,
        json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    ) -> None:
        """Replay a real trace against the running platform and report what it cost."""
        if not live:
            raise Invalid("replay: pass --live: the trace is replayed against the running platform")
        url, key = find_platform()
        try:
            from isotherm.replay.service import Options, replay_live
        except ModuleNotFoundError as exc:
            raise Unavailable(f"replay needs {exc.name}: pip install 'isotherm[replay]'") from exc
        options = Options(
            path=path,
            url=url,
            key=key,
            speed=speed,
            start=start,
            minutes=minutes,
            duration_scale=duration_scale,
            memory_scale=memory_scale,
            arrivals=arrivals,
            rows=rows,
            seed=seed,
            keep_alive_s=keep_alive,
            max_instances=max_instances,
            keep=keep,
        )
        report = replay_live(options, lambda line: typer.echo(line, err=True))
        _deliver(report, out, json_)


def _deliver(report: "Report", out: Path | None, as_json: bool) -> None:
    from isotherm.replay.report import to_json
    from isotherm.replay.summary import summarise

    body = to_json(report)
    text = json.dumps(body, ensure_ascii=False)
    if out is not None:
        from isotherm.replay.picture import draw_report

        out.mkdir(parents=True, exist_ok=True)
        (out / "replay.json").write_text(text + "\n", encoding="utf-8")
        draw_report(body, out / "replay.png")
    typer.echo(text if as_json else summarise(report))
