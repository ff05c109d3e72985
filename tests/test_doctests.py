"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import cohgen_jax


def test_the_examples_are_true():
    ran = set()
    for module in pkgutil.walk_packages(cohgen_jax.__path__, "cohgen_jax."):
        if module.name.endswith("__main__"):
            continue
        found = importlib.import_module(module.name)
        for example in doctest.DocTestFinder(exclude_empty=True).find(found):
            assert doctest.DocTestRunner(verbose=False).run(example).failed == 0, example.name
            ran |= {module.name.split(".")[1]} if example.examples else set()
    assert ran >= {"sampling", "schedule", "solvers"}
