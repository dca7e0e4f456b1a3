"""The judge killed with SIGKILL again and again, over a server that fails a fifth of its calls: is every story rated once?

python bench/eval_judge_kill.py [--stories 200] [--kills 10] [--small]

Two servers: one that honours `Idempotency-Key` (a repeated call is answered again, free), and a plain one, where a call in
flight at the moment of the kill has been paid and its answer is lost on the wire: nobody can know of it, so its price is bounded
by kills x concurrency and counted here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ts_eval.testing import FakeServer

CONCURRENCY = 4


def run(stories: int, kills: int, *, idempotent: bool) -> dict[str, int | float]:
    """One run with its kills; the counts that the claim is about."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, FakeServer(fail=0.2, seed=1, delay=0.02, idempotent=idempotent) as server:
        place = Path(folder)
        lines = [
            json.dumps({"story": f"Once upon a time a cat had {n} hats and was very happy with all of them."})
            for n in range(stories)
        ]
        (place / "stories.jsonl").write_text("\n".join(lines))
        done = _with_kills(place, server, stories, kills)
        ratings = [json.loads(line) for line in (place / "ratings.jsonl").read_text().splitlines()]
        again = subprocess.run(_command(place, server), capture_output=True, check=True, env=_environment())
        summary = json.loads(again.stdout)
    rated = Counter(r["story"] for r in ratings if r["scores"] is not None)
    return {
        "stories": stories,
        "kills": done,
        "rated once": sum(count == 1 for count in rated.values()),
        "lost": stories - len(rated),
        "rated twice": sum(count > 1 for count in rated.values()),
        "replies paid for": server.paid.total(),
        "paid twice": sum(count - 1 for count in server.paid.values()),
        "calls": server.calls,
        "kept in the store": summary["calls"],
        "seconds": round(time.perf_counter() - started, 1),
    }


def _with_kills(place: Path, server: FakeServer, stories: int, kills: int) -> int:
    """Kill when a further share of the stories has been paid for; then let the last run end."""
    done = 0
    while True:
        process = subprocess.Popen(
            _command(place, server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
        )
        target = (done + 1) * stories / (kills + 1)
        while process.poll() is None:
            if done < kills and len(server.paid) >= target:
                process.send_signal(signal.SIGKILL)
                process.wait()
                done += 1
                break
            time.sleep(0.002)
        else:
            if process.returncode != 0:
                raise SystemExit(f"ts-eval judge ended with {process.returncode}")
            return done


def _command(place: Path, server: FakeServer) -> list[str]:
    endpoint = f'endpoints=[{{base_url="{server.url}",concurrency={CONCURRENCY}}}]'
    options = ["--set", endpoint, "--set", "backoff=0.02", "--set", "anchors=false", "--model", "fake", "--json", "--quiet"]
    start = "from ts_eval.cli import main; main()"
    return [sys.executable, "-c", start, "judge", str(place / "stories.jsonl"), "--out", str(place / "ratings.jsonl"), *options]


def _environment() -> dict[str, str]:
    return {**os.environ, "OPENAI_API_KEY": "none"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stories", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--small", action="store_true", help="40 stories, 3 kills")
    args = parser.parse_args()
    stories, kills = (40, 3) if args.small else (args.stories, args.kills)
    print(f"python {platform.python_version()}, concurrency {CONCURRENCY}, 20 % of the calls answered with 500")
    for idempotent in (True, False):
        found = run(stories, kills, idempotent=idempotent)
        print(f"\nserver that {'honours' if idempotent else 'ignores'} Idempotency-Key")
        for name, value in found.items():
            print(f"  {name:<18}{value:>8}")
        if not idempotent:
            print(f"  {'bound on paid twice (kills x concurrency)':<42}{found['kills'] * CONCURRENCY:>4}")


if __name__ == "__main__":
    main()
