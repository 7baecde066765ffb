"""Every mistake in a study file ends in one sentence that names the line, the key and what would be right."""

import re
from pathlib import Path

import pytest

from magnoscope.errors import StudyError
from magnoscope.studies import load_study, parse_study, study_text

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")
HERE = "@@"
"""Marks the line that the message must name."""


def changed(old: str, new: str) -> tuple[str, int | None]:
    """The tiny study with one piece of text changed, and the line of the mark."""
    assert SQUARE.count(old) >= 1, old
    text = SQUARE.replace(old, new, 1)
    line = text[: text.index(HERE)].count("\n") + 1 if HERE in text else None
    return text.replace(HERE, ""), line


def message(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        parse_study(text, "my.toml")
    return str(caught.value)


SITE = 'name = "Mn"\nion = "Mn2+"'
FAR = '[[models.far.bonds]]\nexchange = "J2"'
H = '{ name = "h", direction = [1, 0, 0], from = -0.9, to = 0.9, points = 12 }'
K = '{ name = "k", direction = [0, 1, 0], from = -0.9, to = 0.9, points = 12 }'
AXES = f"axes = [\n    {H},\n    {K},\n]"
GENERATORS = "[magnetic_cell]\ngenerators = [\n    {}\n]\n\n[[sites]]"

CASES: dict[str, tuple[str, str, str]] = {
    # unknown keys, everywhere
    "top level": ('title = "Sq', '@@colour = "red"\ntitle = "Sq', "colour: unknown key"),
    "table": ("c = 10.0", "c = 10.0\n@@d = 3.0", "lattice.d: unknown key"),
    "unknown table": ("[[runs]]", "@@[extra]\nx = 1\n\n[[runs]]", "extra: unknown key"),
    "unknown array of tables": ("[[runs]]", "@@[[extra]]\nx = 1\n\n[[runs]]", "extra: unknown key"),
    "array of tables": (SITE, f"{SITE}\n@@charge = 2", "sites.1.charge: unknown key"),
    "second of an array of tables": ("fraction = 0.25", "fraction = 0.25\n@@angle = 90", "twins.2.angle: unknown key"),
    "second bonds of the second model": (FAR, f"{FAR}\n@@colour = 1", "models.far.bonds.2.colour: unknown key"),
    "model": ("[models.far.parameters]", "[models.far]\n@@note = 1\n[models.far.parameters]", "models.far.note"),
    "parameter": ("J2 = { ref", "@@J2 = { unit = 1, ref", "models.far.parameters.J2.unit: unknown key"),
    "dotted key": ("c = 10.0", "c = 10.0\n@@lower.deep = 3.0", "lattice.lower: unknown key"),
    "inline table": ("{ from = 0.1", "{ step = 1, @@from = 0.1", "view.energy_fractions.step: unknown key"),
    "first of an array of inline tables": (H, "@@" + H[:-1] + ", unit = 1 }", "view.axes.1.unit: unknown key"),
    "second of an array of inline tables": (K, "@@" + K[:-1] + ", unit = 1 }", "view.axes.2.unit: unknown key"),
    "both on one line": (AXES, f"@@axes = [{H}, {K[:-1]}, unit = 1 }}]", "view.axes.2.unit: unknown key"),
    "quoted key": ("c = 10.0", "c = 10.0\n@@'d = [x]' = 3.0", "lattice.d = [x]: unknown key"),
    "behind a string with brackets": (
        "[lattice]",
        'citation = """\n[[sites]]\nspin = "x"\n# no comment ]\n"""\n\n[lattice]  # [not] a = table\n@@d = 1',
        "lattice.d: unknown key",
    ),
    # missing keys: the line of the table they belong in
    "key missing in a table": ("[lattice]\na = 4.0", "@@[lattice]", "lattice.a: this key is missing"),
    "key missing in a site": ('[[sites]]\nname = "Mn"', "@@[[sites]]", "sites.1.name: this key is missing"),
    "key missing inline": (K, "@@" + K.replace("from = -0.9, ", ""), "view.axes.2.from: this key is missing"),
    "table missing": ("[lattice]\na = 4.0\nb = 4.0\nc = 10.0\n", "", "lattice: this key is missing"),
    "exchange missing": (FAR, "@@[[models.far.bonds]]", "models.far.bonds.2.exchange: this key is missing"),
    # wrong types and sizes
    "text for a number": ("a = 4.0", '@@a = "4.0"', "lattice.a: must be a valid number"),
    "boolean for a number": ("a = 4.0", "@@a = true", "lattice.a: must be a valid number"),
    "date for a number": ("a = 4.0", "@@a = 2020-01-01", "lattice.a: must be a valid number"),
    "number for text": ('name = "Mn"', "@@name = 3", "sites.1.name: must be a valid string"),
    "table for a number": ("a = 4.0", "@@a = { b = 1 }", "lattice.a: must be a valid number"),
    "number for a table": ("[orientation]\nu = [0, 0, 1]\nv = [1, 0, 0]\n", "", "orientation: this key is missing"),
    "two numbers for three": ("u = [0, 0, 1]", "@@u = [0, 1]", "orientation.u: List should have at least 3 items"),
    "text in a vector": ("u = [0, 0, 1]", 'u = [0, 0,\n@@"1"]', "orientation.u.3: must be a valid number"),
    "key that starts like a type": (
        "sample_size_mm = [10, 10, 10]",
        "sample_size_mm = [10, 10, 10]\n@@intrinsic_width = -1",
        "instrument.intrinsic_width: must be greater than or equal to 0, not -1",
    ),
    "line of no known shape": (
        "[instrument]",
        '[instrument]\n@@line = "square"',
        "instrument.line: must be 'gaussian', 'lorentzian' or 'oscillator', not 'square'",
    ),
    "oscillator without damping": (
        "[instrument]",
        '@@[instrument]\nline = "oscillator"\nintrinsic_width = 0',
        'instrument: `line = "oscillator"` needs an `intrinsic_width` above 0',
    ),
    "half a pixel": ("points = 12", "@@points = 12.5", "view.axes.1.points: must be a valid integer"),
    "one pixel": ("points = 12", "@@points = 1", "view.axes.1.points: must be greater than or equal to 2"),
    "negative length": ("a = 4.0", "@@a = -4.0", "lattice.a: must be greater than or equal to 0.1, not -4.0"),
    "nan": ("a = 4.0", "@@a = nan", "lattice.a: must be a finite number"),
    "inf": ("ei = 50", "@@ei = inf", "runs.1.ei: must be a finite number"),
    "nan reference": ("reference = -4.0", "@@reference = nan", "models.near.parameters.J.reference: must be a finite"),
    "inf in a prior": (
        "prior = [-5, -3]",
        "@@prior = [-inf, -3]",
        "models.near.parameters.J.prior.1: must be a finite",
    ),
    "nan in a matrix": (
        "matrix = [[0, 1, 0], [1, 0, 0]",
        "matrix = [[0, 1, 0],\n@@[1, 0, nan]",
        "twins.2.matrix.2.3: must be a finite number",
    ),
    "nan exchange": ('exchange = "J2"', "@@exchange = nan", "models.far.bonds.2.exchange: must be a finite number"),
    "boolean exchange": ('exchange = "J2"', "@@exchange = true", "must be a number or an expression"),
    "matrix with two rows": ('exchange = "J2"', "@@exchange = [[1, 0, 0], [0, 1, 0]]", "must have three rows of three"),
    "ragged matrix": (
        'exchange = "J2"',
        "@@exchange = [[1, 0, 0], [0, 1], [0, 0, 1]]",
        "must have three rows of three",
    ),
    "number of 400 digits": ("a = 4.0", "@@a = 1" + "0" * 400, "lattice.a"),
    "number of 5000 digits": ("a = 4.0", "a = 1" + "0" * 5000, "is not a TOML file"),
    # names
    "name of the study": ('name = "square"', '@@name = "../x"', "name: String should match pattern"),
    "name of a model": ("[models.near.parameters]", '@@[models."a/b".parameters]', "models.a/b"),
    "reserved word": ("J = {", "@@lambda = {", 'models.near.parameters.lambda: "lambda" cannot be a parameter\'s name'),
    "True": ("J = {", "@@True = {", '"True" cannot be a parameter\'s name'),
    "argument of simulate": ("J = {", "@@model = {", '"model" cannot be a parameter\'s name'),
    "name with a space": ("J = {", '@@"J 1" = {', '"J 1" cannot be a parameter\'s name'),
    "name with a letter that Python changes": ("J = {", '@@"\u00b5" = {', "cannot be a parameter's name"),
    "kind of site twice": (
        "[[twins]]",
        '[[sites]]\n@@name = "Mn"\nion = "Mn2+"\nspin = 1\nmoment = [0, 0, 1]\npositions = [[0.5, 0, 0]]\n\n[[twins]]',
        "sites.2.name: there are sites Mn already",
    ),
    "axis named like a dataset": ('name = "h"', 'name = "signal"', "give them three names"),
    "axes of one name": ('name = "k"', 'name = "h"', "give them three names"),
    "axis with a slash": ('name = "h"', '@@name = "a/b"', "view.axes.1.name: String should match pattern"),
    # physics
    "zero moment": ("moment = [0, 0, 1]", "@@moment = [0, 0, 0]", "sites.1.moment: is zero; give it a direction"),
    "unknown ion": ('ion = "Mn2+"', '@@ion = "Qq2+"', "sites.1.ion: ion Qq2+ has no magnetic form factor"),
    "not an ion": ('ion = "Mn2+"', '@@ion = "iron"', 'sites.1.ion: ion "iron" is not understood'),
    "ion without form factor": ('ion = "Mn2+"', '@@ion = "Mn9+"', "known for Mn: "),
    "two sites on one position": (
        "positions = [[0, 0, 0]]",
        "positions = [\n[0, 0, 0],\n@@[1, 0, 0],\n]",
        "sites.1.positions.2: Mn at (1, 0, 0) sits on Mn.1",
    ),
    "spin of nothing": ("spin = 1.0", "@@spin = 0", "sites.1.spin: must be greater than 0"),
    "unknown parameter": (
        'exchange = "J2"',
        '@@exchange = "J3"',
        '"J3" is not a parameter of this model; it has J1, J2',
    ),
    "no expression": ('exchange = "J2"', '@@exchange = "J2 +"', "is not an expression"),
    "not linear": ('exchange = "J2"', '@@exchange = "J1*J2"', "is not linear in the parameters"),
    "function": ('exchange = "J2"', '@@exchange = "abs(J2)"', "is not a linear expression"),
    "division by zero": ('exchange = "J2"', '@@exchange = "J2/0"', "is not linear"),
    "overflow": ('exchange = "J2"', '@@exchange = "J2*1e300*1e300"', "not finite"),
    "boolean in an expression": ('exchange = "J2"', '@@exchange = "True"', "is not a linear expression"),
    "long expression": ('exchange = "J2"', '@@exchange = "' + "-" * 5000 + 'J2"', "too long"),
    "nested expression": ('exchange = "J2"', '@@exchange = "' + "(" * 250 + 'J2"', "is not an expression"),
    "unknown parameter in a matrix": (
        'exchange = "J2"',
        '@@exchange = [["J2", 0, 0], [0, "J9", 0], [0, 0, 1]]',
        '"J9" is not a parameter',
    ),
    "bond that reaches no site": (
        "vectors = [[1, 1, 0], [1, -1, 0]]",
        "vectors = [\n[1, 1, 0],\n@@[1.5, -1, 0],\n]",
        "models.far.bonds.2.vectors.2: (1.5, -1, 0) reaches no site",
    ),
    "bond onto itself": ("[1, -1, 0]]", "[0, 0, 0]]", "models.far.bonds.2.vectors.2: is zero"),
    "unknown kind of site": ('between = [["Mn", "Mn"]]', '@@between = [["Mn", "Fe"]]', "there is no site Fe"),
    "distance without a site": (
        "vectors = [[1, 1, 0], [1, -1, 0]]",
        "distance = 4.9",
        "models.far.bonds.2.between.1: no bond of this rule leads from Mn to Mn",
    ),
    "vectors and distance": ("vectors = [[1, 1, 0], [1, -1, 0]]", "vectors = [[1, 1, 0]]\ndistance = 4", "give either"),
    "neither vectors nor distance": ("vectors = [[1, 1, 0], [1, -1, 0]]\n", "", "models.far.bonds.2: give either"),
    "pair of an unknown site": (
        'between = [["Mn", "Mn"]]\nvectors = [[1, 1, 0], [1, -1, 0]]',
        'pairs = [\n{ from = "Mn.1", to = "Mn.1", vector = [1, 1, 0] },\n'
        '@@{ from = "Mn.1", to = "Mn.2", vector = [1, 1, 0] },\n]',
        "models.far.bonds.2.pairs.2: there is no site Mn.2; there are Mn.1",
    ),
    "pair that leads elsewhere": (
        'between = [["Mn", "Mn"]]\nvectors = [[1, 1, 0], [1, -1, 0]]',
        '@@pairs = [{ from = "Mn.1", to = "Mn.1", vector = [0.5, 1, 0] }]',
        "does not lead from Mn.1 to Mn.1",
    ),
    "asymmetric anisotropy": (
        'axis = [0, 0, 1]\nvalue = "D"',
        '@@matrix = [[0, "D", 0], [0, 0, 0], [0, 0, 0]]',
        "models.near.anisotropy.1.matrix: a single-ion anisotropy matrix must be symmetric",
    ),
    "anisotropy without a value": ('axis = [0, 0, 1]\nvalue = "D"', "axis = [0, 0, 1]", "give either `matrix`"),
    "anisotropy along nothing": ("axis = [0, 0, 1]", "@@axis = [0, 0, 0]", "anisotropy.1.axis: is zero"),
    "anisotropy of an unknown parameter": ('value = "D"', '@@value = "E"', '"E" is not a parameter'),
    "anisotropy of an unknown site": ('value = "D"', 'value = "D"\n@@sites = ["Fe"]', "there is no site Fe"),
    "fractions that do not sum to 1": ("fraction = 0.25", "@@fraction = 0.5", "twins sum to 1.25"),
    "twin that is none": ("matrix = [[0, 1, 0], [1, 0, 0]", "matrix = [[0, 1, 0], [0, 1, 0]", "determinant 0"),
    "prior upside down": ("prior = [-3, -1]", "@@prior = [-1, -3]", "prior [-1.0, -3.0] must rise"),
    "prior of a point": ("prior = [-3, -1]", "prior = [-1, -1]", "must rise"),
    "parallel orientation": ("v = [1, 0, 0]", "v = [0, 0, 2]", "orientation: u"),
    "zero orientation": ("v = [1, 0, 0]", "@@v = [0, 0, 0]", "orientation.v: is zero"),
    "angles that close no cell": (
        "c = 10.0",
        "c = 10.0\nalpha = 30\nbeta = 30\ngamma = 100",
        "lattice: lattice angles",
    ),
    "flat cell": ("c = 10.0", "c = 10.0\ngamma = 0.001", "lattice: "),
    "angle of 180": ("c = 10.0", "c = 10.0\n@@gamma = 180", "lattice.gamma: must be less than 180"),
    "dependent axes": (K, K.replace("[0, 1, 0]", "[2, 0, 0]"), "must be independent"),
    "axis upside down": (K, "@@" + K.replace("to = 0.9", "to = -1"), "view.axes.2: `from` must be below `to`"),
    "unknown instrument": (
        '"maps-v1"',
        '@@"let"',
        "instrument.preset: there is no instrument let; the package has arcs, maps",
    ),
    "instrument as a path": ('"maps-v1"', '@@"../presets/maps-v1"', "instrument.preset: there is no instrument"),
    "cylinder that is not round": (
        "sample_size_mm = [10, 10, 10]",
        '@@sample_size_mm = [10, 20, 10]\nshape = "cylinder"',
        "instrument.sample_size_mm: a cylinder has the same diameter in 2 directions",
    ),
    "parallel sample axes": (
        'package = "S"',
        'package = "S"\n@@sample_axes = [[0, 0, 1], [0, 0, 2]]',
        "instrument.sample_axes: the two directions are parallel",
    ),
    "wide mosaic": (
        'package = "S"',
        'package = "S"\n@@mosaic = 30.0',
        "instrument.mosaic: must be one width or three, each from 0 to 20 degrees",
    ),
    "unknown package": ('package = "S"', '@@package = "Z"', "instrument.package: instrument MAPS (before 2017) has no"),
    "chopper that transmits nothing": ("frequency = 200", "@@frequency = 2000", "transmits nothing at Ei = 50 meV"),
    "bin above Ei": ("energy_bin = 0.25", "energy_bin = 60", "runs.1: `energy_bin` 60 must be below `ei` 50"),
    "slices upside down": ("from = 0.1, to = 0.7", "from = 0.7, to = 0.1", "`from` must be below `to`"),
    "slices beyond Ei": ("to = 0.7", "@@to = 1.2", "view.energy_fractions.to: must be less than or equal to 0.97"),
    "unknown view": ('kind = "maps"', '@@kind = "cuts"', "view.kind: must be 'maps' or 'path', not 'cuts'"),
    "operation that is none": ("[[sites]]", GENERATORS.format('@@"x, y",'), "magnetic_cell.generators.1: "),
    "second operation": ("[[sites]]", GENERATORS.format('"x, y, -z",\n@@"2*x, y, z"'), "generators.2: "),
    "shear": ("[[sites]]", GENERATORS.format('@@"x+y, y, z",'), "is no symmetry of a lattice"),
    "operation of infinite sites": ("[[sites]]", GENERATORS.format('"x+0.001, y, z",'), "more than 256 sites"),
    "broken download": (
        "[instrument]",
        '[downloads]\nbase_url = "https://example.org"\n\n@@[[downloads.files]]\nname = "a"\nrole = "measured"\n'
        f'path = "a.txt"\nsha256 = "{"0" * 64}"\n\n[instrument]',
        "downloads.files.1: ",
    ),
    "download from nowhere": (
        "[instrument]",
        '@@[downloads]\nbase_url = "file:///etc"\nfiles = []\n\n[instrument]',
        "downloads: ",
    ),
    # more than fits into memory
    "huge number of points": ("points = 12", "@@points = 1000000", "view.axes.1.points: must be less than or equal to"),
    "huge number of slices": ("slices = 2", "@@slices = 1000000", "slices: must be less than or equal to 1000"),
    "narrow slices": ("from = 0.1, to = 0.7", "from = 0.1, to = 0.10001", "too narrow"),
    "many pixels": (
        AXES,
        AXES.replace("points = 12", "points = 2000"),
        "the tiles have 8000000 pixels together; at most 4000000",
    ),
    "axis out of reach": (K, "@@" + K.replace("-0.9", "-9999"), "view.axes.2.from: -9999 is out of reach even with"),
    "long axis of a tiny direction": (
        K,
        "@@" + K.replace("-0.9", "-6000").replace("[0, 1, 0]", "[0, 0.001, 0]"),
        "view.axes.2.to: the axes span 1.8 x 6e+03 magnetic zones",
    ),
    "huge supercell": ("[[sites]]", "[magnetic_cell]\n@@supercell = [1000000, 1, 1]\n\n[[sites]]", "supercell.1: must"),
    "huge distance": ("vectors = [[1, 1, 0], [1, -1, 0]]", "@@distance = 1e6", "distance: must be less than"),
    "tiny cell": ("a = 4.0", "@@a = 1e-9", "lattice.a: must be greater"),
    "huge reference": ("reference = -4.0", "@@reference = 1e300", "J.reference: must be"),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    old, new, expected = CASES[case]
    text, line = changed(old, new)
    said = message(text)
    assert expected in said
    assert said.startswith("my.toml")
    if line is not None:
        assert re.match(rf"my\.toml, line {line}: ", said), (line, said)
    assert len(said) < 1000


def test_line_within_an_array_over_several_lines() -> None:
    text, line = changed(K, K.replace("direction = [0, 1, 0]", "direction = [\n  0,  # first\n@@ true,\n  0,\n]"))
    assert f"line {line}: view.axes.2.direction.2: must be a valid number" in message(text)


def test_first_mistake_of_the_file_and_how_many_more() -> None:
    text, _ = changed("points = 12", "points = 0")
    text = text.replace("a = 4.0", 'a = "x"').replace("ei = 50", "ei = -1").replace("spin = 1.0", "spin = 'one'")
    assert re.match(r"my\.toml, line 6: lattice\.a: .* \(and 3 more\)$", message(text))


def test_exchange_of_a_bond_given_twice() -> None:
    text = SQUARE.replace("vectors = [[1, 1, 0], [1, -1, 0]]", "vectors = [[0, 1, 0], [1, -1, 0]]")
    line = text[: text.index(FAR)].count("\n") + 1
    assert f"line {line}: models.far.bonds.2: the bond from Mn.1 by (0, 1, 0) has an exchange already" in message(text)


def test_image_of_a_pair_that_reaches_no_site() -> None:
    text = SQUARE.replace("[[sites]]", '[magnetic_cell]\ngenerators = ["y, x, z"]\n\n[[sites]]')
    assert parse_study(text).models["near"].bonds
    for old, new in (
        ("positions = [[0, 0, 0]]", "positions = [[0, 0, 0], [0.5, 0, 0]]"),
        ('between = [["Mn", "Mn"]]\nvectors = [[1, 0, 0], [0, 1, 0]]', "pairs = []"),
    ):
        text = text.replace(old, new)
    assert "give either" in message(text)


def test_not_toml_says_line_and_column() -> None:
    assert re.search(r"is not a TOML file: .*line 3, column", message("a = 1\nb = 2\nc = = 3\n"))
    assert "is not a TOML file" in message(SQUARE + "\nname = 'twice'\n[lattice]\n")
    assert "is not a TOML file" in message("a = " + "[" * 100_000)


def test_empty_file() -> None:
    assert re.fullmatch(r"my\.toml: name: this key is missing \(and \d more\)", message(""))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def said(name: str) -> str:
        with pytest.raises(StudyError) as caught:
            load_study(tmp_path / name)
        return str(caught.value)

    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "latin.toml").write_bytes(b'name = "x"\n# \xe5ngstr\xf6m\n')
    (tmp_path / "zeros.toml").write_bytes(bytes(100))
    assert "there is no study file" in said("missing.toml")
    assert "must end in .toml" in said("missing.txt")
    assert "cannot be read: Is a directory" in said("folder.toml")
    assert "line 2: this is not UTF-8 text" in said("latin.toml")
    assert "is not a TOML file" in said("zeros.toml")


def test_file_of_a_windows_editor(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SQUARE.replace("\n", "\r\n").encode())
    assert load_study(path).physics_hash == parse_study(SQUARE).physics_hash
    path.write_bytes(b"\xef\xbb\xbf" + SQUARE.replace("a = 4.0", "a = true").replace("\n", "\r\n").encode())
    with pytest.raises(StudyError, match="line 6: lattice.a"):
        load_study(path)


STRANGE = ["nan", "inf", "-1e308", "1e308", "1e-308", "0", "-1", "true", '""', '"x"', "[]", "{}", "[[]]", "2020-01-01"]


def test_no_value_whatever_raises_anything_else() -> None:
    """Every value of the file in turn replaced by every strange one: a study, or a StudyError, within bounds."""
    whole = re.finditer(r"(?<== )(?:\{.*\}|\[.*\]|\"[^\"]*\"|[-\d.]+)", SQUARE)
    values = [*whole, *re.finditer(r"-?\d+(?:\.\d+)?|\[[^\[\]\n]+\]", SQUARE)]
    assert len(values) > 100
    for found in values:
        for strange in STRANGE:
            text = SQUARE[: found.start()] + strange + SQUARE[found.end() :]
            try:
                parse_study(text)
            except StudyError as error:
                assert "\n" not in str(error)


def test_no_missing_line_raises_anything_else() -> None:
    lines = SQUARE.splitlines()
    for number in range(len(lines)):
        try:
            parse_study("\n".join(lines[:number] + lines[number + 1 :]))
        except StudyError as error:
            assert str(error)


def test_a_misspelt_key_is_named_rather_than_the_one_it_leaves_missing():
    text = study_text("pcsmo")[0].replace("spin = 1.75", "spinn = 1.75", 1)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.startswith("spinn"))
    with pytest.raises(StudyError, match=rf"line {line}: sites.1.spinn: unknown key \(and 1 more\)"):
        parse_study(text, "study.toml")
