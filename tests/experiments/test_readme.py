"""The README's Python runs as it stands, but for the run directory."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_example_generates_what_it_says(run_dir):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert 'open_run("runs/demo")' in code
    names = {}
    exec(code.replace("runs/demo", str(run_dir)), names)
    assert names["expression"].shape == (10, len(names["rows"]), len(names["codec"].features))


def test_every_public_name_can_be_imported():
    import cohgen_jax

    for name in cohgen_jax.__all__:
        assert getattr(cohgen_jax, name) is not None
