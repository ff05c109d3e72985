"""`cohgen audit` from a checkout: python experiments/audit.py --help"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main("audit")
