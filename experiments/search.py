"""`cohgen search` from a checkout: python experiments/search.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("search")
