"""What is there at once: the version, the help, and the page's shell; PyTorch is imported by what needs it."""

import subprocess
import sys

import pytest
import typer

import magnoscope as mg
from magnoscope.cli.commands import COMMANDS, load


def test_version(run) -> None:
    assert run("--version").out == f"magnoscope {mg.__version__}\n"


def test_the_list_of_commands_says_what_they_say() -> None:
    found = typer.main.get_command(load()).commands  # type: ignore[attr-defined]
    assert found.keys() == COMMANDS.keys()
    for name, (_, sentence) in COMMANDS.items():
        assert " ".join(found[name].help.split("\n\n")[0].split()) == sentence


def test_help_names_every_command(run) -> None:
    said = run("--help").out
    assert all(f"  {name} " in said for name in COMMANDS)
    assert said == run().out


def test_a_command_that_is_misspelt(refuse) -> None:
    assert "No such command 'clasify'. Did you mean 'classify'?" in refuse("clasify")


SLOW = ("torch", "matplotlib", "zarr", "dask", "scipy.stats", "scipy.special", "scipy.optimize")
AT_ONCE = {
    "help": (
        "from magnoscope.cli import main\nsys.argv = ['magnoscope', '--help']\ntry: main()\nexcept SystemExit: pass"
    ),
    "a study": "import magnoscope as mg\nmg.load_study('pcsmo')",
    "the page's shell": (
        "import magnoscope as mg, magnoscope.cli.page, magnoscope.app.serve\n"
        "from magnoscope.app.service import Service\nfrom magnoscope.app.shell import Shell\n"
        "Shell(Service(mg.load_study('pcsmo'), 'pcsmo'))"
    ),
}


@pytest.mark.parametrize("what", AT_ONCE)
def test_what_is_there_before_anything_slow_is_imported(what: str) -> None:
    if "page" in what:
        pytest.importorskip("panel")
    code = f"import sys\n{AT_ONCE[what]}\nprint(*sorted(sys.modules.keys() & set({SLOW})), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr.strip() == "", done.stderr


def test_names_of_the_package_are_functions_though_modules_are_called_so() -> None:
    import magnoscope.explain
    import magnoscope.simulate  # noqa: F401

    assert mg.simulate.__module__ == "magnoscope.simulate" and callable(mg.simulate)
    assert callable(mg.explain) and set(mg.__all__) <= set(dir(mg))
    assert all(getattr(mg, name).__name__ == name for name in mg.__all__)
    with pytest.raises(AttributeError):
        _ = mg.no_such_name


def test_a_name_can_be_exchanged_for_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    before = mg.classify
    with monkeypatch.context() as patch:
        patch.setattr(mg, "classify", len)
        assert mg.classify is len
    assert mg.classify is before
