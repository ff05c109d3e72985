"""`cohgen evaluate` from a checkout: python experiments/evaluate.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("evaluate")
