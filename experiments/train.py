"""`cohgen train` from a checkout: python experiments/train.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("train")
