"""`cohgen check` from a checkout: python experiments/check.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("check")
