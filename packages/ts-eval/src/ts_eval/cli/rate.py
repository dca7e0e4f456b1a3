"""`ts-eval rate`: options and output; `ts_eval.judge.RatingServer` does the work."""

from pathlib import Path
from typing import Annotated

import typer

from ts_data.console import Json, Quiet, emit


def rate(
    stories: Annotated[Path, typer.Argument(help="Stories to rate (.jsonl or a <|endoftext|> file).")],
    out: Annotated[Path, typer.Option("--out", help="File that ratings are appended to; several raters may share it.")] = Path(
        "human-ratings.jsonl"
    ),
    rater: Annotated[str, typer.Option("--rater", help="Name of the rater; decides the order of the stories.")] = "me",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Number of stories to rate, from the start of the file.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the order.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rate stories yourself on a local page that hides their authors. Resumes where you stopped.

    Example: ts-eval rate stories.jsonl --rater ada --out human-ratings.jsonl
    """
    from ts_data.artefact import keep_apart

    from ..judge import RatingServer, RatingSession, read_stories

    keep_apart(out, [stories])
    _check_writable(out)
    server = RatingServer(RatingSession(read_stories(stories)[:limit], out, rater=rater, seed=seed), port=port)
    if not quiet or as_json:
        emit(
            {"url": server.url, "out": str(out)},
            f"open {server.url}\nPress Ctrl-C to end. Each rating is written to {out} immediately.",
            as_json=as_json,
        )
    server.serve()


def _check_writable(out: Path) -> None:
    """Raise the disk's error now rather than at the first rating."""
    new = not out.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.open("ab").close()
    if new:
        out.unlink()
