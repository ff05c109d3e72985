"""What made the run: configuration, versions, devices, seeds, how long everything took."""

from __future__ import annotations

import json

import pandas as pd

from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block, Facts, Table
from cohgen_jax.storage import rundir


def blocks(run: RunFiles) -> list[Block]:
    config = dict(run.config)
    data = config.pop(rundir.DATA)
    facts = {
        "cohort": f"{config['cohort']} (checksum {data})",
        "seed": f"{config['seed']}; of the split {config['split_seed']}",
    }
    for event in run.events:  # the last word of each command stands
        if "versions" in event:
            versions = ", ".join(f"{name} {v}" for name, v in event["versions"].items())
            facts[f"{event['event']} with"] = f"{versions}\n{event['device']}"
    evaluation = run.json("metrics/evaluation.json")
    if evaluation is not None:
        facts["evaluation"] = json.dumps(evaluation, indent=1)
    facts["configuration"] = json.dumps(config, indent=1)
    return [Table(steps(run.events), "What was done", open=True), Facts(facts)]


def steps(events: list[dict]) -> pd.DataFrame:
    """One row a step of the log, with the seconds it took where they are known."""
    rows, training = [], 0.0
    for event in events:
        name = event["event"]
        if name == "validated":
            training += event["seconds"]
        if name in ("validated", "note"):
            continue
        facts = {k: v for k, v in event.items() if k not in ("time", "event", "versions", "device")}
        seconds = facts.pop("seconds", training if name == "trained" else None)
        rows.append(
            {
                "time (UTC)": event["time"].removesuffix("+00:00").replace("T", " "),
                "step": name,
                "seconds": seconds,
                "what": ", ".join(f"{k} {v}" for k, v in facts.items()),
            }
        )
    return pd.DataFrame(rows)
