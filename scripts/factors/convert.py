#!/usr/bin/env python3
"""Writes data/factors/grid.csv and data/factors/ecologits/ from pinned PyPI packages.

Run it from anywhere: `python3 scripts/factors/convert.py`. It makes a temporary virtual environment, installs the two
packages below without their dependencies, and writes the same bytes every time. Nothing else under data/factors is
generated: regions.csv, serving.csv and models.csv are kept by hand.

What it takes and what it leaves is argued in data/factors/README.md.
"""

import csv
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

ECOLOGITS = "0.11.3"
CODECARBON = "3.3.2"
RETRIEVED = "2026-11-22"  # the day the pinned packages were read; change it together with a pin

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "data" / "factors"

LB_PER_MWH_TO_G_PER_KWH = 0.45359237  # one pound is exactly 453.59237 g

COLUMNS = [
    "zone", "value", "unit", "year", "valid_from", "valid_to", "accounting", "basis", "gases", "set", "tier",
    "source_title", "publisher", "source_url", "licence", "dataset_version", "retrieved", "note",
]  # fmt: skip

EMBER = {
    "set": "ember-owid",
    "unit": "g/kWh",
    "accounting": "location",
    "basis": "lifecycle",
    "gases": "CO2e",
    "tier": 1,
    "source_title": "Carbon intensity of electricity generation (Yearly Electricity Data)",
    "publisher": "Ember; processed by Our World in Data",
    "source_url": "https://ourworldindata.org/grapher/carbon-intensity-electricity",
    "licence": "CC-BY-4.0",
}


def install(folder):
    """Installs the pinned packages into a virtual environment and returns its site-packages folder."""
    venv.create(folder, with_pip=True)
    python = pathlib.Path(folder) / "bin" / "python"
    packages = [f"ecologits=={ECOLOGITS}", f"codecarbon=={CODECARBON}"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *packages], check=True)
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    return pathlib.Path(site.strip())


def grid_row(defaults, zone, value, year, version, note=""):
    """One row. A grid that emits nothing is a missing figure, and a missing figure is not zero."""
    if not value > 0:
        return None
    row = dict(defaults, zone=zone, value=f"{value:.4f}".rstrip("0").rstrip("."))
    row.update(year=year, valid_from=f"{year}-01-01", valid_to="", dataset_version=version, retrieved=RETRIEVED, note=note)
    return row


def ember_by_year(codecarbon):
    mix = json.loads((codecarbon / "data/private_infra/global_energy_mix.json").read_text())
    for zone, row in sorted(mix.items()):
        yield grid_row(EMBER, zone, row["carbon_intensity"], row["year"], f"codecarbon {CODECARBON}")


def ember_2025(ecologits):
    mixes = json.loads((ecologits / "data/electricity_mixes.json").read_text())["electricity_mixes"]
    note = "2025 vintage as transcribed by EcoLogits; the year of a small grid may be an earlier one"
    for mix in sorted(mixes, key=lambda mix: mix["name"]):
        yield grid_row(EMBER, mix["name"], round(mix["gwp"] * 1000, 4), 2025, f"ecologits {ECOLOGITS}", note)


def egrid_states(codecarbon):
    states = json.loads((codecarbon / "data/private_infra/2023/usa_emissions.json").read_text())
    source = states["_source"]
    defaults = dict(
        EMBER,
        set="egrid-2023",
        basis="direct",
        source_title=f"{source['name']} ({source['field']})",
        publisher="US Environmental Protection Agency",
        source_url=source["url"],
        licence="US-public-domain",
    )
    for name, row in states.items():
        if name.startswith("_") or name == "usa":
            continue
        note = f"{name.title()}: {row['emissions']} lb/MWh x 0.45359237"
        value = row["emissions"] * LB_PER_MWH_TO_G_PER_KWH
        yield grid_row(defaults, f"US-{row['regionCode']}", value, source["year"], f"codecarbon {CODECARBON}", note)


def google_regions(codecarbon):
    defaults = dict(
        EMBER,
        set="google-cloud-regions",
        basis="direct",
        source_title="Carbon free energy for Google Cloud regions: grid carbon intensity, 2023",
        publisher="Google Cloud",
        source_url="https://cloud.google.com/sustainability/region-carbon#data",
        licence="CC-BY-4.0",
    )
    with open(codecarbon / "data/cloud/impact.csv", encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if row["provider"] != "gcp":
                continue
            region = row["region"].replace("me-cenrtal1", "me-central1")  # a slip of the package
            # The package names no year. Every one of its values is the one Google published for 2023.
            value = float(row["impact"])
            note = "Location-based, before Google's own contracts"
            yield grid_row(defaults, f"GCP-{region.upper()}", value, 2023, f"codecarbon {CODECARBON}", note)


def china_provinces(codecarbon):
    document = json.loads((codecarbon / "data/private_infra/2023/china_provincial_emissions.json").read_text())
    meta = document["metadata"]
    defaults = dict(
        EMBER,
        set="china-mee-2023",
        basis="direct",
        gases="CO2",
        source_title="Announcement on the release of the 2023 electricity CO2 emission factors, No. 47 of 2025, table 3",
        publisher="Ministry of Ecology and Environment and National Bureau of Statistics of China",
        source_url=meta["source_url"],
        licence="government-publication",
    )
    for zone, row in document["data"].items():
        yield grid_row(defaults, zone, row["emission_factor"], row["year"], f"codecarbon {CODECARBON}", "CO2 only")


def nordic_zones(codecarbon):
    document = json.loads((codecarbon / "data/private_infra/nordic_emissions.json").read_text())
    defaults = dict(
        EMBER,
        set="nordic-2025",
        tier=2,
        source_title="Nordic bidding zones 2025, derived from ENTSO-E actual generation per production type",
        publisher="CodeCarbon (derived reproducibly by Khepri)",
        source_url="https://doi.org/10.5281/zenodo.22285397",
        licence="MIT",
    )
    for zone, row in document["data"].items():
        if zone == "FI":  # an older value without a derivation; Ember has Finland
            continue
        note = f"production-based; coverage {row['coverage']}"
        yield grid_row(defaults, zone, row["emission_factor"], row["year"], f"codecarbon {CODECARBON}", note)


def copy_unmodified(ecologits, licence):
    """The MPL-2.0 files, byte for byte, in a folder of their own, with their licence."""
    folder = OUT / "ecologits"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("models.json", "electricity_mixes.json"):
        shutil.copyfile(ecologits / "data" / name, folder / name)
        print(name, hashlib.sha256((folder / name).read_bytes()).hexdigest())
    shutil.copyfile(licence, folder / "LICENSE")


def main():
    with tempfile.TemporaryDirectory() as folder:
        site = install(folder)
        ecologits, codecarbon = site / "ecologits", site / "codecarbon"
        shutil.copyfile(site / f"codecarbon-{CODECARBON}.dist-info" / "licenses" / "LICENSE", OUT / "LICENSE.codecarbon")
        copy_unmodified(ecologits, site / f"ecologits-{ECOLOGITS}.dist-info" / "licenses" / "LICENSE")
        rows = [
            row
            for source in (
                ember_by_year(codecarbon),
                ember_2025(ecologits),
                egrid_states(codecarbon),
                google_regions(codecarbon),
                china_provinces(codecarbon),
                nordic_zones(codecarbon),
            )
            for row in source
            if row is not None
        ]
    with open(OUT / "grid.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"grid.csv: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
