"""The README's Python runs as it stands, but for the run directory."""

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_examples_generate_what_they_say(run_dir, new_tables):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL))
    assert 'open_run("runs/demo")' in code
    names = {"cna": new_tables["cna"], "rppa": new_tables["rppa"]}
    exec(code.replace("runs/demo", str(run_dir)), names)
    run, draws = names["run"], names["draws"]
    test = run.samples.index[run.rows("test")]
    assert draws.index.tolist() == np.repeat(test, 10).tolist()
    # Of new patients: values about where those of each gene are, wider than nothing.
    expression, sd, genes = names["expression"], names["sd"], new_tables["rnaseq"]
    assert expression.index.tolist() == [f"N{i:02d}" for i in range(6)]
    error = (expression - genes.mean()).abs().mean(axis=None)
    assert 0 < error < 2 * genes.std().mean()
    assert (sd > 0).all(axis=None)
    assert names["latents"].shape == (10, len(test), run.latents.z.shape[2])
    assert np.isfinite(names["latents"]).all()


def test_every_public_name_can_be_imported():
    import cohgen_jax

    for name in cohgen_jax.__all__:
        assert getattr(cohgen_jax, name) is not None
