"""Write the simulated cohort as a folder: `python -m cohgen_jax.cohort.demo --out DIR`.

Apart from `simulate`, which the package imports, so that running this module imports nothing twice.
"""

import argparse

from cohgen_jax.cohort.load import save_cohort
from cohgen_jax.cohort.simulate import demo_cohort


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the demo cohort as a cohort directory.")
    parser.add_argument("--out", required=True, help="directory to write")
    parser.add_argument("--seed", type=int, default=0, help="draws the patients")
    parser.add_argument("--num-patients", type=int, default=600)
    args = parser.parse_args()
    cohort = demo_cohort(args.seed, args.num_patients)
    save_cohort(cohort, args.out)
    print(cohort.summary().to_string())


if __name__ == "__main__":
    main()
