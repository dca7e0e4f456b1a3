"""Tables of optimizers, schedules and sinks. A new one is a module and a line here. Standard library only."""

OPTIMIZERS = {
    "adamw": "ts_train.optimizers.adamw:build",
    "muon": "ts_train.optimizers.muon:build",
}
"""`optimizer.name` → a function (model, config, vocab_size, precision) → Optimizers. The annotation of `config` is its settings' class."""
SCHEDULES = {
    "constant": "ts_train.schedules:constant",
    "cosine": "ts_train.schedules:cosine",
    "linear": "ts_train.schedules:linear",
    "step": "ts_train.schedules:step_lr",
    "wsd": "ts_train.schedules:wsd",
}
"""`schedule.name` → a function (config, step, total_steps) → factor of the learning rate. `config` is annotated as above."""
SINKS = {
    "jsonl": "ts_train.sinks.jsonl:JsonlSink",
    "tensorboard": "ts_train.sinks.tensorboard:TensorBoardSink",
    "wandb": "ts_train.sinks.wandb:WandbSink",
}
"""An entry of `sinks` → a `Callback` class without arguments."""
