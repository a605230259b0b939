"""Compares what the Impact Framework computed with what was exported.

    check_sci.py AGAIN.yaml SCI.csv

Every line of the table has its component in the manifest, and no component is without lines. Figures agree to 1e-9, because
the framework computes in binary fractions; energies and units go in and must be there as exported.
"""

import csv
import math
import sys

import yaml

RELATIVE = 1e-9
OUTPUTS = {
    "1000_output_tokens": ("sci-per-1000-output-tokens", "output-kilotokens"),
    "request": ("sci-per-request", "requests"),
    "feature": ("sci-per-feature", "features"),
}


def main(again, table):
    with open(again, encoding="utf-8") as file:
        tree = yaml.safe_load(file)["tree"]
    components = {name: child["outputs"][0] for name, child in tree["children"].items()}
    with open(table, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    wrong = []

    def compare(what, computed, exported):
        if computed is None or not math.isclose(computed, float(exported), rel_tol=RELATIVE, abs_tol=1e-15):
            wrong.append(f"{what}: computed {computed}, exported {exported}")

    named = set()
    total = 0.0
    for line in lines:
        name = f"{line['tenant_id']}/{line['feature']}"
        named.add(name)
        component = components.get(name)
        if component is None:
            wrong.append(f"{name} is not in the manifest")
            continue
        output, units = OUTPUTS[line["functional_unit"]]
        compare(f"{name} energy", component["energy"], line["energy_kwh"])
        compare(f"{name} operational", component["carbon-operational"], line["operational_gco2e"])
        compare(f"{name} embodied", component["carbon-embodied"], line["embodied_gco2e"])
        compare(f"{name} carbon", component["carbon"], line["carbon_gco2e"])
        compare(f"{name} {units}", component[units], line["functional_units"])
        if line["sci_gco2e_per_unit"]:
            compare(f"{name} {output}", component.get(output), line["sci_gco2e_per_unit"])
        if line["functional_unit"] == "feature":
            total += float(line["carbon_gco2e"])
    wrong += [f"{name} is not in the table" for name in components if lines and name not in named]
    compare("the sum of all", tree["aggregated"]["carbon"], total)
    print("\n".join(wrong[:10]))
    return 1 if wrong or not lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
