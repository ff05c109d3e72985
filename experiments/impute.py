"""`cohgen impute` from a checkout: python experiments/impute.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("impute")
