"""Time and peak memory of TCGA preparation at real size, on simulated tables.

    python -m benchmarks.data_prep --scale 0.1        a tenth of the samples, all genes
    python -m benchmarks.data_prep                    20 projects, 60,660 genes x 11,000 samples

Tables have the real formats, sizes and shares of missing values; values are random. Every stage
runs in its own process, whose peak resident memory the kernel reports. Results go to
`benchmarks/data_prep.json` under the key of the scale.
"""

import gzip
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
GENES, PROTEINS, WIDTH = 60_660, 487, 768

SAMPLES = {
    **{"BRCA": 1226, "GBM": 391, "LUAD": 589, "OV": 429, "UCEC": 589, "KIRC": 614, "HNSC": 566},
    **{"LGG": 534, "THCA": 572, "LUSC": 562, "PRAD": 554, "SKCM": 473, "COAD": 514, "STAD": 448},
    **{"BLCA": 431, "LIHC": 424, "CESC": 309, "KIRP": 323, "TGCT": 156, "SARC": 265},
}
"""Samples a project; their sum is brought to 11,000."""

STAGES = ("omics", "clinical", "slides", "split", "build")

LATENTS = """
import sys, pandas as pd
from pathlib import Path
from data_prep.config import PrepConfig
from data_prep.latents import pca_embedding, published_latents
from data_prep.pipeline import MODALITIES, load_blocks, slide_table, split_paths
from data_prep.published import RawSplits
from data_prep.build import usable_split
out, raw, slides = map(Path, sys.argv[1:])
config = PrepConfig(out=out, offline=raw, slides=slides)
split = usable_split(pd.read_parquet(split_paths(config)["split"]))
tables = RawSplits({m: load_blocks(config, m) for m in MODALITIES}, split, slide_table(config))
standard, masks = published_latents(tables, pca_embedding, 32)
print({m: t["train"].shape for m, t in standard.items()}, file=sys.stderr)
"""


def _ids(count: int, start: int) -> list[str]:
    numbers = range(start, start + count)
    kinds = ["11A" if i % 13 == 0 else "01A" for i in numbers]
    return [
        f"TCGA-{chr(65 + i // 9000)}A-{i % 9000:04d}-{k}"
        for i, k in zip(numbers, kinds, strict=True)
    ]


def _write_matrix(path: Path, first: str, names, ids, cells: np.ndarray, index) -> None:
    """A TSV whose cells are drawn from `cells` (bytes of one width, tab included)."""
    with gzip.open(path, "wb", compresslevel=1) as f:
        f.write("\t".join([first, *ids]).encode() + b"\n")
        rows = []
        for k, name in enumerate(names):
            row = cells[index(k)].tobytes()
            rows.append(name + b"\t" + row[:-1] + b"\n")
            if len(rows) == 500:
                f.write(b"".join(rows))
                rows = []
        f.write(b"".join(rows))


def simulate(folder: Path, scale: float) -> int:
    """Writes the five tables of every project and a table of slide vectors; returns samples."""
    rng = np.random.default_rng(0)
    total = sum(SAMPLES.values())
    genes = [f"ENSG{i:011d}.{i % 9}".encode() for i in range(GENES)]
    proteins = [f"AGID{i:05d}".encode() for i in range(PROTEINS)]
    counts = np.log2(np.concatenate([np.zeros(6000), rng.lognormal(5, 2, 26000)]).round() + 1)
    rna_cells = np.array([f"{v:9.6f}\t".encode() for v in counts])
    cna_cells = np.array([b"2.0\t"] * 60 + [b"3.0\t"] * 20 + [b"1.0\t"] * 15 + [b"4.0\t"] * 4)
    cna_cells = np.concatenate(
        [np.repeat(cna_cells, 10), np.array([b"0.0\t"] * 5 + [b"NaN\t"] * 5)]
    )
    rppa_cells = np.array([f"{v:+.6f}\t".encode() for v in rng.normal(0, 1.5, 4000)])
    # Half of the genes are hardly ever expressed, as in the real tables.
    silent = rng.random(GENES) < 0.55
    start, all_ids = 0, []
    for project, real in SAMPLES.items():
        count = max(round(real * 11_000 / total * scale), 20)
        ids = _ids(count, start)
        start += count
        all_ids += ids
        rna, cna = ids[: int(0.97 * count)], ids[int(0.03 * count) :]
        rppa = ids[: int(0.72 * count)]
        stem = folder / f"TCGA-{project}"

        def draw_rna(k: int, n: int = len(rna)):
            return rng.integers(0, 6000 if silent[k] else len(rna_cells), n)

        def draw(cells: np.ndarray, n: int):
            return lambda k: rng.integers(0, len(cells), n)

        _write_matrix(
            Path(f"{stem}.star_counts.tsv.gz"), "Ensembl_ID", genes, rna, rna_cells, draw_rna
        )
        cna_path = Path(f"{stem}.gene-level_absolute.tsv.gz")
        _write_matrix(cna_path, "Ensembl_ID", genes, cna, cna_cells, draw(cna_cells, len(cna)))
        rppa_path = Path(f"{stem}.protein.tsv.gz")
        choose = draw(rppa_cells, len(rppa))
        _write_matrix(rppa_path, "peptide_target", proteins, rppa, rppa_cells, choose)
        clinical = pd.DataFrame({"sample": ids})
        clinical["gender.demographic"] = rng.choice(["female", "male"], count)
        clinical["ajcc_pathologic_stage.diagnoses"] = rng.choice(["Stage I", "Stage III"], count)
        clinical.to_csv(f"{stem}.clinical.tsv.gz", sep="\t", index=False)
        survival = pd.DataFrame({"sample": ids, "OS": 0, "_PATIENT": "", "OS.time": 100})
        survival.to_csv(f"{stem}.survival.tsv.gz", sep="\t", index=False)
        print(f"{project}: {count} samples", file=sys.stderr)
    slides = [i.rsplit("-", 1)[0] + "-01Z-00-DX1" for i in all_ids if i.endswith("01A")]
    vectors = rng.normal(size=(len(slides), WIDTH)).astype(np.float32)
    table = pd.DataFrame(vectors, columns=[str(i) for i in range(WIDTH)])
    table.insert(0, "slide_id", slides)
    table.to_parquet(folder / "slides.parquet")
    return start


def measure(command: list[str], limit_gb: float) -> dict:
    """Runs a command; its wall time, processor time and peak resident memory.

    The address space is limited as a guard for the machine, well above what is measured.
    """
    limit = int(limit_gb * 2**30)

    def guard() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=guard)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command[:6])} ... ended with status {status}")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
    }


def _size(folder: Path) -> float:
    return round(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e9, 2)


def main() -> None:
    """Simulates, measures, writes the JSON."""
    import argparse

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 11,000 samples")
    parser.add_argument("--folder", type=Path, help="work here and keep it; else a temporary one")
    parser.add_argument("--limit-gb", type=float, default=40.0, help="guard: address space")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="data_prep_benchmark_"))
    raw, out = folder / "raw", folder / "cohort"
    samples_file = folder / "samples.json"
    if not samples_file.exists():
        raw.mkdir(parents=True, exist_ok=True)
        samples_file.write_text(json.dumps(simulate(raw, args.scale)))
    shutil.rmtree(out, ignore_errors=True)
    slides = raw / "slides.parquet"
    settings = ["--out", str(out), "--offline", str(raw), "--slides", str(slides)]
    stages = {}
    for stage in STAGES:
        command = [sys.executable, "-m", "data_prep.tcga", stage, *settings]
        stages[stage] = measure(command, args.limit_gb)
        print(stage, stages[stage], file=sys.stderr)
    command = [sys.executable, "-c", LATENTS, str(out), str(raw), str(slides)]
    stages["imputation, latents, alignment"] = measure(command, args.limit_gb)
    command = [sys.executable, "-m", "data_prep.tcga", "all", *settings]
    stages["all, nothing to do"] = measure(command, args.limit_gb)
    shapes = {path.stem: [int(n) for n in _shape(path)] for path in sorted(out.glob("*.parquet"))}
    result = {
        "samples": json.loads(samples_file.read_text()),
        "genes": GENES,
        "projects": len(SAMPLES),
        "stages": stages,
        "peak_gb": max(s["peak_gb"] for s in stages.values()),
        "seconds": round(sum(s["seconds"] for s in stages.values()), 1),
        "tables": shapes,
        "disk_gb": {"raw": _size(raw), "prep": _size(out / "prep"), "cohort": _size(out)},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "load_average_at_end": [round(x, 1) for x in os.getloadavg()],
    }
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results[f"scale {args.scale:g}"] = result
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if args.folder is None:
        shutil.rmtree(folder)


def _shape(path: Path) -> tuple[int, int]:
    from pyarrow import parquet

    meta = parquet.read_metadata(path)
    return meta.num_rows, meta.num_columns - 1


if __name__ == "__main__":
    main()
