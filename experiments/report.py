"""`cohgen report` from a checkout: python experiments/report.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("report")
