"""The Slurm recipe of docs/training-sets.md: what it asks of the queue, without a queue."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "training-sets.md"


def test_the_job_script_of_the_documentation() -> None:
    pytest.importorskip("dask_jobqueue")
    recipe = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    held: dict[str, object] = {}
    exec(recipe, held)
    cluster = held["cluster"]
    try:
        script = cluster.job_script()  # type: ignore[attr-defined]
    finally:
        cluster.close()  # type: ignore[attr-defined]
    for line in ("#SBATCH -p compute", "#SBATCH -A neutrons", "#SBATCH --cpus-per-task=8", "#SBATCH -t 02:00:00"):
        assert line in script
    assert "export OMP_NUM_THREADS=1" in script
    assert all(words in script for words in ("--nthreads 1 ", "--nworkers 8 ", "--lifetime 110m"))
