"""The dataset card, the README.md of a splits/ folder: figures for people, `configs` for `datasets.load_dataset`."""

from __future__ import annotations

from ..schemas import CANARY_TIMES, DatasetManifest


def card(manifest: DatasetManifest) -> str:
    """The card as Markdown with the Hub's front matter."""
    names = list(manifest.splits)
    front = ["---", "configs:", "- config_name: default", "  data_files:"]
    for name in filter(lambda name: manifest.splits[name].files, names):
        front += [f"  - split: {name}", "    path:"]
        front += [f"    - {file.name}" for file in manifest.splits[name].files]
    stories = manifest.splits["train"].stories
    front += ["language:", "- en", "task_categories:", "- text-generation", "size_categories:", f"- {_size(stories)}", "---"]
    rows = [
        f"| {name} | {info.stories:,} | {info.words:,} | {info.lengths.mean:.1f} ± {info.lengths.sd:.1f} | {info.utf8_bytes:,} |"
        for name, info in manifest.splits.items()
    ]
    removed = [f"| {reason} | {count:,} |" for reason, count in manifest.removed.items() if count]
    sources = [f"- `{s.name}` ({s.role}, {s.stories:,} stories, SHA-256 `{s.sha256}`)" for s in manifest.sources]
    lines = [
        *front,
        "",
        "# Stories, cleaned and split",
        "",
        "One column, `text`: one story per row, in canonical form (straight quotes, ` — ` for dashes, `...` for ellipses,",
        "single blanks). Prepared with `ts-data prepare`; `manifest.json` holds every setting, count and hash.",
        "",
        "| split | stories | words | words per story | bytes |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'stories = load_dataset("path/to/this/folder", split="train")',
        "```",
        "",
        "## Sources",
        "",
        *sources,
        "",
        "## Removed stories",
        "",
        f"{manifest.stories_in:,} stories were read, {manifest.kept:,} kept. `removed.parquet` lists the others with the reason.",
        "",
        "| reason | stories |",
        "|---|---|",
        *(removed or ["| nothing | 0 |"]),
        "",
        *_canaries(manifest),
        *_prompts(manifest),
    ]
    return "\n".join(lines)


def _canaries(manifest: DatasetManifest) -> list[str]:
    """The section about planted stories, if there are any."""
    if manifest.canaries is None:
        return []
    planted = manifest.config.canaries * sum(CANARY_TIMES)
    times = f"{', '.join(map(str, CANARY_TIMES[:-1]))} or {CANARY_TIMES[-1]} times"
    return [
        "## Canaries",
        "",
        f"{planted:,} stories of `train` are generated copies, planted to measure memorisation: each of {manifest.canaries.rows // 2:,}",
        f"stories is there {times}. `canaries.json` lists them, and as many controls that are not in `train`.",
        "",
    ]


def _prompts(manifest: DatasetManifest) -> list[str]:
    """The section about prompts, if the stories have some."""
    made = manifest.instruct
    if made is None:
        return []
    parts = ", ".join(f"{name} {count:,}" for name, count in sorted(made.parts.items()))
    return [
        "## Prompts",
        "",
        "Each row is a prompt and its story, divided by `Story:`. The prompts are made from the stories by rules (word lists and signs), by",
        f"`ts-data instruct` with seed {made.config.seed}. Prompts with each part: {parts}.",
        f"{made.config.held_out:.0%} of all pairs of words are asked for together in no prompt of train; `held_out` marks prompts that do.",
        "",
    ]


def _size(stories: int) -> str:
    """The Hub's word for the number of rows."""
    for limit, word in [(1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M")]:
        if stories < limit:
            return word
    return "n>10M"
