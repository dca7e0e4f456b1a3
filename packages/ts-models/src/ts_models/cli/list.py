"""`ts-models list`: the presets with parameters, memory and FLOPs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..console import Json, Quiet, emit, table


def list_(
    batch: Annotated[int, typer.Option(help="Stories per training batch, for the memory of training.")] = 64,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the presets: parameters, memory for training (AdamW, fp32) and inference (one story), FLOPs per token.

    Example: ts-models list --batch 16
    """
    from ..presets import PRESETS
    from ..sizes import count_parameters, flops_per_token, inference_bytes, training_bytes

    rows: list[dict[str, Any]] = [
        {
            "preset": name,
            "parameters": count_parameters(item.config),
            "layers": getattr(item.config, "n_layers", None),
            "d_model": getattr(item.config, "d_model", None),
            "training_bytes": training_bytes(item.config, batch=batch),
            "inference_bytes": inference_bytes(item.config),
            "flops_per_token": flops_per_token(item.config),
            "summary": item.summary,
        }
        for name, item in PRESETS.items()
    ]
    header = ["preset", "parameters", "train MB", "infer MB", "MFLOPs", "what"]

    def text() -> str:
        cells = [
            [
                row["preset"], f"{row['parameters']:,}", f"{row['training_bytes'] / 1e6:,.0f}",
                f"{row['inference_bytes'] / 1e6:,.1f}", f"{row['flops_per_token'] / 1e6:,.1f}", row["summary"],
            ]
            for row in rows
        ]  # fmt: skip
        note = f"train: a batch of {batch} full contexts in fp32 (estimate).\nMFLOPs: one token's forward pass at full context."
        return f"{table(cells, header)}\n{note}"

    emit({"batch": batch, "presets": rows}, text, as_json=as_json)
