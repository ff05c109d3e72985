"""`cohgen downstream` from a checkout: python experiments/downstream.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("downstream")
