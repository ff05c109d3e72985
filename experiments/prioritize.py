"""`cohgen prioritize` from a checkout: python experiments/prioritize.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("prioritize")
