"""`tidecast demo`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def demo(
    orders: Annotated[int | None, typer.Option(min=1, help="only the first so many placed orders")] = None,
    speed: Annotated[
        float, typer.Option(min=0, help="event seconds a second: 86400 is a day a second; 0: full speed")
    ] = 86_400,
    headless: Annotated[bool, typer.Option("--headless", help="no dashboard")] = False,
    json: Annotated[Path | None, typer.Option(help="write a summary, counted by an independent consumer")] = None,
    seed: Annotated[int, typer.Option(help="of all that is simulated")] = 7,
    cache: Annotated[Path, typer.Option(help="where event logs are kept between runs")] = Path(".tidecast/demo"),
) -> None:
    """Replay a year of real wholesale orders as a time-lapse, and watch the scores come out.

    Starts the embedded broker and store, makes the topics, runs a worker with the released models, and stops it all at
    the end of the data or at Ctrl-C. Orders are real (UCI Online Retail); clicks, stock and offers are simulated.

    Examples:

        tidecast demo

        tidecast demo --orders 3000 --json summary.json --headless
    """
    from stream.demo.run import Demo, DemoOptions
    from stream.errors import UsageError

    console = Console(stderr=headless)
    options = DemoOptions(orders, speed, seed, headless, json, cache)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        summary = Demo(options, console).run()
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(0) from None
    if json is None:
        console.print_json(data=summary)
    if not summary["models"]:
        raise UsageError("nothing was scored; run again with a larger --orders")
