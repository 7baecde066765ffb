"""Does a plan foresee where a measurement tells the candidates apart? Compares what two commands wrote.

magnoscope plan pcsmo --at reference --draws 3 --json > plan.json
magnoscope compare measured.npy --json > compare.json
python benchmarks/plan.py plan.json compare.json
"""

import json
import sys
from pathlib import Path

from scipy.stats import spearmanr


def main() -> None:
    """Print the rank correlation over slices, and the first of each."""
    plan, compare = (json.loads(Path(path).read_text())["slices"] for path in sys.argv[1:3])

    def by_slice(rows: list[dict], key: str) -> dict[tuple[float, float], float]:
        found = {(r["ei_meV"], round(r["energy_meV"][0], 3)): r[key] for r in rows}
        return {k: v for k, v in found.items() if v is not None}

    planned, measured = by_slice(plan, "share"), by_slice(compare, "log_likelihood_ratio")
    both = [k for k in planned if k in measured]
    rank = spearmanr([planned[k] for k in both], [measured[k] for k in both]).statistic
    print(f"{len(both)} slices, rank correlation of planned and measured log-likelihood ratio {rank:.2f}")
    for name, found in (("planned", planned), ("measured", measured)):
        first = sorted(both, key=lambda k: -found[k])[:6]
        print(f"{name}: " + ", ".join(f"Ei {ei:g} from {low:g} meV" for ei, low in first))


if __name__ == "__main__":
    main()
