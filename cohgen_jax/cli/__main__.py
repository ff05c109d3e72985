"""python -m cohgen_jax.cli COMMAND"""

from cohgen_jax.cli import main

if __name__ == "__main__":
    main()
