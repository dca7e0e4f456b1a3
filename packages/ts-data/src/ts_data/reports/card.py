"""The dataset card, the README.md of a splits/ folder: figures for people, `configs` for `datasets.load_dataset`."""

from pathlib import Path

from ..schemas import CANARY_TIMES, DatasetManifest


def card(manifest: DatasetManifest) -> str:
    """The card as Markdown with the Hub's front matter: card.md, filled."""
    files = [
        "\n".join([f"  - split: {name}", "    path:", *(f"    - {file.name}" for file in info.files)])
        for name, info in manifest.splits.items()
        if info.files
    ]
    splits = [
        f"| {name} | {info.stories:,} | {info.words:,} | {info.lengths.mean:.1f} ± {info.lengths.sd:.1f} | {info.utf8_bytes:,} |"
        for name, info in manifest.splits.items()
    ]
    removed = [f"| {reason} | {count:,} |" for reason, count in manifest.removed.items() if count]
    sources = [f"- `{s.name}` ({s.role}, {s.stories:,} stories, SHA-256 `{s.sha256}`)" for s in manifest.sources]
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return template.format(
        manifest=manifest,
        files="\n".join(files),
        size=_size(manifest.splits["train"].stories),
        splits="\n".join(splits),
        sources="\n".join(sources),
        removed="\n".join(removed or ["| nothing | 0 |"]),
        canaries=_canaries(manifest),
        prompts=_prompts(manifest),
    )


def _canaries(manifest: DatasetManifest) -> str:
    """The section about planted stories, if there are any."""
    if manifest.canaries is None:
        return ""
    planted = manifest.config.canaries * sum(CANARY_TIMES)
    times = f"{', '.join(map(str, CANARY_TIMES[:-1]))} or {CANARY_TIMES[-1]} times"
    return f"""
## Canaries

{planted:,} stories of `train` are generated copies, planted to measure memorisation: each of {manifest.canaries.rows // 2:,}
stories is there {times}. `canaries.json` lists them, and as many controls that are not in `train`.
"""


def _prompts(manifest: DatasetManifest) -> str:
    """The section about prompts, if the stories have some."""
    made = manifest.instruct
    if made is None:
        return ""
    parts = ", ".join(f"{name} {count:,}" for name, count in sorted(made.parts.items()))
    return f"""
## Prompts

Each row is a prompt and its story, divided by `Story:`. The prompts are made from the stories by rules (word lists and signs), by
`ts-data instruct` with seed {made.config.seed}. Prompts with each part: {parts}.
{made.config.held_out:.0%} of all pairs of words are asked for together in no prompt of train; `held_out` marks prompts that do.
"""


def _size(stories: int) -> str:
    """The Hub's word for the number of rows."""
    for limit, word in [(1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M")]:
        if stories < limit:
            return word
    return "n>10M"
