"""`isotherm replay`: the command line of the replayer. Light: what is heavy is imported when it runs."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from isotherm.base.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from isotherm.replay.model import OwnRecords

__all__ = ["register"]

FindPlatform = Callable[[], tuple[str, str]]
FindRecords = Callable[[str | None, float], AbstractContextManager["OwnRecords"]]
STEERED = "canary, blue-green, all-at-once, shadow or all"
KILLED = "control or instances[:SHARE], with @SECOND[,SECOND…] or /SECONDS; default: once, in the middle. Repeatable."
LOG = (
    "Folder with invocations.csv (and durations.csv, memory.csv), such a file alone, a CSV of "
    "timestamp,name[,duration_ms], or what `isotherm invocations --json` printed."
)
BUDGETS = (
    "idle=POLICY (as much idle time as that used), idle=MINUTES, idle=2GBh/day, memory=POLICY, memory=GB·MINUTES or "
    "what p_cold=1% takes"
)
POLICIES = "none, fixed[:MINUTES], histogram[:MINUTES], greedy_dual[:GB], foresight, oracle, oracle_prewarm"
Out = Annotated[Path | None, typer.Option(help="Folder for the JSON and the picture.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _RunByDefault(TyperGroup):
    """`replay TRACE --live` is `replay run TRACE --live`, wherever the option stands; without it it is `simulate`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run" if "--live" in args else "simulate", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer, find_platform: FindPlatform, find_records: FindRecords) -> None:
    """Add `replay` to a command line. `find_platform` gives the URL and the key of the platform, or raises;
    `find_records` what it counted of a namespace (None: that of the profile) in so many days."""
    group = typer.Typer(
        cls=_RunByDefault,
        help="Cost policies of warming on a real log (`simulate`, which may be left out), replay it against the "
        "running platform (`--live`), and compare two runs.",
        no_args_is_help=True,
    )
    app.add_typer(group, name="replay")

    @group.command()
    def run(
        path: Annotated[
            Path,
            typer.Argument(metavar="TRACE", help="Folder of the trace: invocations.csv, durations.csv, memory.csv."),
        ],
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
        warming: Annotated[
            str,
            typer.Option(
                metavar="POLICY",
                help="Who decides what waits warm: foresight or keep_alive. The platform's policy fits the trace where "
                "its setting warming_minute_s is 60 / speed; `isotherm warmth` shows it.",
            ),
        ] = "foresight",
        spare: Annotated[int | None, typer.Option(help="Of each stand-in; default: the platform's.")] = None,
        template_keep_alive: Annotated[
            float | None, typer.Option(help="Of idle templates, in seconds of the trace; default: the platform's.")
        ] = None,
        simulate: Annotated[
            bool, typer.Option("--simulate", help="Say what the simulator says of the same calls and policy.")
        ] = False,
        prefix: Annotated[str, typer.Option(help="Of the stand-ins' names: two replays at once need two.")] = "replay",
        sample: Annotated[float, typer.Option(help="Seconds between two looks at what is held.")] = 1.0,
        asynchronous: Annotated[
            float, typer.Option("--async", metavar="SHARE", help="Share of the calls that is sent as Events.")
        ] = 0.0,
        stream: Annotated[float, typer.Option(metavar="SHARE", help="Share that is answered in pieces.")] = 0.0,
        rollout: Annotated[
            list[str] | None,
            typer.Option(metavar="STRATEGY", help=f"New revisions in the middle, by {STEERED}. Repeatable."),
        ] = None,
        rollout_functions: Annotated[int, typer.Option(help="So many of the busiest get one, at least.")] = 3,
        rollout_step: Annotated[float, typer.Option(help="Seconds of a rollout's step.")] = 1.0,
        kill: Annotated[list[str] | None, typer.Option(metavar="WHAT", help=f"Kill processes: {KILLED}")] = None,
        pid: Annotated[
            int | None, typer.Option(help="Of `isotherm up`, for --kill; default: who listens at the URL.")
        ] = None,
        settle: Annotated[float, typer.Option(help="Longest wait for rollouts and the queue to end, seconds.")] = 60.0,
        keep: Annotated[bool, typer.Option("--keep", help="Leave the stand-ins deployed.")] = False,
        out: Out = None,
        json_: Json = False,
    ) -> None:
        """Replay a real trace against the running platform and report what it cost. The word `run` may be left out."""
        if not live:
            raise Invalid("replay: pass --live: the trace is replayed against the running platform")
        url, key = find_platform()
        try:
            from isotherm.replay.orders import parse_kill, parse_strategies
            from isotherm.replay.picture import draw_report
            from isotherm.replay.report import to_json
            from isotherm.replay.service import Options, replay_live
            from isotherm.replay.summary import summarise
        except ModuleNotFoundError as exc:
            raise _without_extra(exc) from exc
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
            warming=warming,
            spare=spare,
            template_keep_alive_s=template_keep_alive,
            simulate=simulate,
            prefix=prefix,
            sample_s=sample,
            asynchronous=asynchronous,
            streamed=stream,
            rollouts=parse_strategies(rollout or []),
            rollout_functions=rollout_functions,
            rollout_step_s=rollout_step,
            kills=[parse_kill(text) for text in kill or []],
            pid=pid,
            settle_s=settle,
            keep=keep,
        )
        report = replay_live(options, lambda line: typer.echo(line, err=True))
        body = to_json(report)
        _deliver(body, lambda: summarise(report), "replay", lambda picture: draw_report(body, picture), out, json_)

    @group.command()
    def simulate(
        path: Annotated[Path | None, typer.Argument(metavar="[TRACE]", help=LOG + " Or --own.")] = None,
        policy: Annotated[
            str | None, typer.Option(metavar="A,B,…", help=f"Of {POLICIES}; default: one of each.")
        ] = None,
        budget: Annotated[
            str,
            typer.Option(help=f"What each may spend: {BUDGETS}."),
        ] = "idle=fixed:10",
        own: Annotated[
            bool, typer.Option("--own", help="Replay what the running platform counted, in place of a TRACE.")
        ] = False,
        days: Annotated[float, typer.Option(help="So many of the last, with --own.")] = 7.0,
        namespace: Annotated[
            str | None, typer.Option("--namespace", "-n", help="Whose records, with --own; default: the profile's.")
        ] = None,
        unit: Annotated[str, typer.Option(help="What is warm or cold as a whole: app or function.")] = "app",
        resolution: Annotated[
            str,
            typer.Option(
                help="Where cold starts are counted: minute, call, or auto: by minute where a log has counts."
            ),
        ] = "auto",
        seed: Annotated[int, typer.Option(help="Of arrivals within a minute and of durations.")] = 1,
        start_ms: Annotated[float | None, typer.Option(help="A start from nothing; default: as measured.")] = None,
        out: Out = None,
        json_: Json = False,
    ) -> None:
        """Cost policies on a real log, without a platform: cold starts, idle memory, money. `simulate` may be left
        out."""
        try:
            from isotherm.replay.drivers.own import read_own
            from isotherm.replay.picture import draw_front
            from isotherm.replay.simulated.outcome import to_json
            from isotherm.replay.simulated.service import START_MS, Options, parse_options, simulate_log
            from isotherm.replay.simulated.service import simulate as simulated
            from isotherm.replay.simulated.summary import summarise
        except ModuleNotFoundError as exc:
            raise _without_extra(exc) from exc
        options: Options = parse_options(
            policies=policy,
            budget=budget,
            unit=unit,
            resolution=resolution,
            seed=seed,
            start_ms=START_MS if start_ms is None else start_ms,
        )
        options = replace(options, front=out is not None)
        if own == (path is not None):
            raise Invalid("replay: name a TRACE, or pass --own for what the platform counted: one of the two")

        def say(line: str) -> None:
            typer.echo(line, err=True)

        if path is not None:
            simulation = simulated(path, options, say)
        else:
            with find_records(namespace, days) as records:
                log = read_own(records, say)
            simulation = simulate_log(log, options, say)
        body = to_json(simulation)
        _deliver(
            body, lambda: summarise(simulation), "simulation", lambda picture: draw_front(body, picture), out, json_
        )

    @group.command()
    def compare(
        before: Annotated[Path, typer.Argument(metavar="A", help="A report, as --out or --json wrote it.")],
        after: Annotated[Path, typer.Argument(metavar="B", help="The one that is held against it.")],
        out: Out = None,
        json_: Json = False,
    ) -> None:
        """Put two runs side by side: what differed in their settings, and in what came of them."""
        try:
            from isotherm.replay.compare import compare_reports, lines_of
            from isotherm.replay.picture import draw_comparison
            from isotherm.replay.report import read_report, to_json
        except ModuleNotFoundError as exc:
            raise _without_extra(exc) from exc
        a, b = read_report(before), read_report(after)
        comparison = compare_reports(a, b)
        body = to_json(comparison)
        _deliver(
            body,
            lambda: "\n".join(lines_of(comparison)),
            "comparison",
            lambda picture: draw_comparison(to_json(a), to_json(b), body, picture),
            out,
            json_,
        )


def _without_extra(exc: ModuleNotFoundError) -> Unavailable:
    return Unavailable(f"replay needs {exc.name}: pip install 'isotherm[replay]'")


def _deliver(
    body: dict[str, Any],
    said: Callable[[], str],
    name: str,
    draw: Callable[[Path], None],
    out: Path | None,
    as_json: bool,
) -> None:
    """As JSON or as text; in a folder, where one is named, as JSON and as a picture."""
    text = json.dumps(body, ensure_ascii=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        draw(out / f"{name}.png")
    typer.echo(text if as_json else said())
