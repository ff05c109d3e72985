"""`cohgen explore` from a checkout: python experiments/explore.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("explore")
