"""What a study file says of where its candidate models are the same Hamiltonian."""

from pathlib import Path

import numpy as np
import pytest

from magnoscope.errors import StudyError
from magnoscope.studies import parse_study
from magnoscope.study import Study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")
OVERLAP = """
[[overlaps]]
near = { J = "a", D = "-0.1" }
far = { J1 = "a", J2 = 0 }
"""
ISING = """
[[models.far.anisotropy]]
axis = [0, 0, 1]
value = -0.1
"""
JOINED = SQUARE.replace("prior = [-2, -1]", "prior = [-2, 1]").replace("[instrument]", ISING + OVERLAP + "[instrument]")


def mistake(old: str, new: str) -> str:
    assert old in JOINED
    with pytest.raises(StudyError) as caught:
        parse_study(JOINED.replace(old, new), "my.toml")
    return str(caught.value)


def test_parameters_and_range_of_the_shared_numbers() -> None:
    study = parse_study(JOINED.replace("prior = [-5, -3]", "prior = [-5, -2]"))
    (overlap,) = study.overlaps
    assert overlap.models == ("near", "far") and overlap.shared == ("a",)
    np.testing.assert_array_equal(overlap.ranges, [[-3, -2]])  # far's prior is [-3, -1]
    shared = np.array([-2.5])
    np.testing.assert_allclose(overlap.values("near", shared), [-2.5, -0.1])
    np.testing.assert_allclose(overlap.values("far", shared), [-2.5, 0])
    assert overlap.allows(shared) and not overlap.allows(np.array([-4.0]))


def test_not_part_of_the_physics() -> None:
    with_prior = JOINED.replace("prior = [-5, -3]", "prior = [-5, -2]")
    assert parse_study(with_prior).physics_hash == parse_study(with_prior.replace(OVERLAP, "")).physics_hash


def test_the_worked_study_names_both_where_they_coincide(pcsmo: Study) -> None:
    assert [set(o.models) for o in pcsmo.overlaps] == [set(pcsmo.classes)]


def test_mistakes() -> None:
    wide = ("prior = [-5, -3]", "prior = [-5, -2]")
    assert 'the priors leave "a" no range: -3 to -3' in mistake('"-0.1"', '"-0.1"')
    assert "there is no model nothing; the study has near, far" in mistake("far = {", "nothing = {")
    assert "joins two models or more" in mistake('far = { J1 = "a", J2 = 0 }', "")
    assert "parameter J2 is left out" in mistake(", J2 = 0 }", " }")
    assert "model far has no such parameter; it has J1, J2" in mistake("J2 = 0 }", "J2 = 0, J3 = 0 }")
    assert "no number is shared" in mistake(
        'near = { J = "a", D = "-0.1" }\nfar = { J1 = "a"', "near = { J = -3, D = 0 }\nfar = { J1 = -3"
    )
    assert 'no parameter equals "a" itself' in mistake(
        'J = "a", D = "-0.1" }\nfar = { J1 = "a"', 'J = "2*a", D = 0 }\nfar = { J1 = "2*a"'
    )
    joined = JOINED.replace(*wide)
    with pytest.raises(StudyError, match="models near and far are not the same Hamiltonian there"):
        parse_study(joined.replace('D = "-0.1"', 'D = "-0.15"'))
    with pytest.raises(StudyError, match="the priors of these models do not allow the parameters anywhere there"):
        parse_study(joined.replace('D = "-0.1"', 'D = "-0.3"'))
