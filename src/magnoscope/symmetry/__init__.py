"""What the symmetry of a crystal says of its sites, its bonds and the tensors on them; crystal files."""

from .cif import CifAtom, CifCrystal, read_cif
from .crystal import Crystal, CrystalBond, Orbit
from .space_group import SpaceGroup
from .tensors import AllowedForm

__all__ = ["AllowedForm", "CifAtom", "CifCrystal", "Crystal", "CrystalBond", "Orbit", "SpaceGroup", "read_cif"]
