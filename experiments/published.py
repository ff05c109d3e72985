"""`cohgen published` from a checkout: python experiments/published.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("published")
