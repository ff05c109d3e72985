"""`cohgen publish` from a checkout: python experiments/publish.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("publish")
