"""`cohgen export` from a checkout: python experiments/export.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("export")
