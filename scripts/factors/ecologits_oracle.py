#!/usr/bin/env python3
"""Writes tests/data/ecologits_oracle.csv: requests with every input and what PyPI ecologits 0.11.3 answers.

Run it from anywhere: `python3 scripts/factors/ecologits_oracle.py`. The requests are drawn with a fixed seed, so that the
same bytes are written every time. Latencies are whole milliseconds, because that is what a caller can say.
"""

import pathlib
import subprocess
import tempfile
import venv

ECOLOGITS = "0.11.3"
ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "data" / "ecologits_oracle.csv"

HEADER = f"""\
# Made by scripts/factors/ecologits_oracle.py with PyPI ecologits=={ECOLOGITS} (MPL-2.0): figures computed by that package.
# Inputs: provider, model and their parameters (billions), tokens, latency (s, inf = not measured), zone, its factor, PUE.
# Results: GPUs, generation latency, energy (kWh), usage and embodied emissions (kg CO2e), each minimum and maximum.
"""

DRAW = r'''
import csv, json, math, random, sys
from ecologits.electricity_mix_repository import electricity_mixes
from ecologits.impacts.llm import compute_llm_impacts_dag
from ecologits.model_repository import ParametersMoE, models
from ecologits.tracers.utils import PROVIDER_CONFIG_MAP, llm_impacts

def low_high(value):
    return (value.min, value.max) if hasattr(value, "min") else (value, value)

def row(model, tokens, latency, zone):
    provider = model.provider.value
    config = PROVIDER_CONFIG_MAP[provider]
    parameters = model.architecture.parameters
    moe = isinstance(parameters, ParametersMoE)
    active = low_high(parameters.active if moe else parameters)
    total = low_high(parameters.total if moe else parameters)
    asked = zone or config.datacenter_location
    mix = electricity_mixes.find_electricity_mix(zone=asked)
    tps = model.deployment.tps if model.deployment else None
    ttft = model.deployment.ttft if model.deployment else None
    answer = llm_impacts(provider, model.name, tokens, latency, zone)
    dags = [
        compute_llm_impacts_dag(a, t, tokens, latency, mix.adpe, mix.pe, mix.gwp, mix.wue, 1.0, 0.0, tps=tps, ttft=ttft)
        for a, t in zip(active, total)
    ]
    pue = low_high(config.datacenter_pue)
    energy = low_high(answer.energy.value)
    usage = low_high(answer.usage.gwp.value)
    embodied = low_high(answer.embodied.gwp.value)
    cell = lambda value: "" if value is None else repr(value)
    return [
        provider, model.name, *map(cell, active), *map(cell, total), cell(tps), cell(ttft), tokens, latency, zone or "", asked,
        cell(mix.gwp), *map(cell, pue), *[int(dag["gpu_required_count"]) for dag in dags],
        *[cell(dag["generation_latency"]) for dag in dags], *map(cell, energy), *map(cell, usage), *map(cell, embodied),
    ]

draw = random.Random(20261122)
catalogue = sorted(models.list_models(), key=lambda model: (model.provider.value, model.name))
by_provider = {}
for model in catalogue:
    by_provider.setdefault(model.provider.value, []).append(model)
# CAF is left out: its factor is 0.0 in the package, which is a missing figure and not a clean grid.
zones = sorted(mix.zone if hasattr(mix, "zone") else mix.name for mix in electricity_mixes.list_electricity_mixes() if mix.gwp > 0)
tokens = [0, 0, 1, 2, 7, 64, 250, 400, 1500, 8192, 32000, 128000, 1000000]
latencies = [math.inf, math.inf, math.inf, 0.0, 0.001, 0.25, 1.5, 4.0, 12.345, 60.0, 600.0]
writer = csv.writer(sys.stdout, lineterminator="\n")
writer.writerow([
    "provider", "model", "active_b_min", "active_b_max", "total_b_min", "total_b_max", "tps", "ttft_s", "output_tokens",
    "request_latency_s", "zone_asked", "zone", "grid_kgco2e_per_kwh", "pue_min", "pue_max", "gpus_min", "gpus_max",
    "generation_latency_s_min", "generation_latency_s_max", "energy_kwh_min", "energy_kwh_max", "gwp_usage_kg_min",
    "gwp_usage_kg_max", "gwp_embodied_kg_min", "gwp_embodied_kg_max",
])
for model in catalogue:  # every model once, so that no row of the table is read wrongly
    writer.writerow(row(model, draw.choice(tokens), draw.choice(latencies), draw.choice(zones + [None] * len(zones))))
for provider in sorted(by_provider):  # the edges, on a few models of each provider
    for model in draw.sample(by_provider[provider], 4):
        for count, latency in ((0, math.inf), (0, 0.0), (400, 0.0), (1, math.inf), (1000000, 0.25)):
            writer.writerow(row(model, count, latency, draw.choice(zones)))
'''


def main():
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = pathlib.Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"ecologits=={ECOLOGITS}"], check=True)
        rows = subprocess.check_output([python, "-c", DRAW], text=True)
    OUT.write_text(HEADER + rows, encoding="utf-8")
    print(f"{OUT.name}: {len(rows.splitlines()) - 1} rows")


if __name__ == "__main__":
    main()
