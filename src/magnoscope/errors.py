"""What can go wrong, one class a cause; each message is one sentence that says what would be right."""


class MagnoscopeError(Exception):
    """Anything a user can mend; the command line prints it in one line and exits with 2."""


class StudyError(MagnoscopeError):
    """A study file, or a name or number given for a study, that cannot be used."""


class InstabilityError(MagnoscopeError):
    """A magnetic structure that is no minimum of the energy."""


class InstrumentError(MagnoscopeError):
    """A spectrometer setting that does not work."""


class SpectrumError(MagnoscopeError):
    """An image or spectrum that cannot be read or does not fit the study."""


class DataError(MagnoscopeError):
    """Data that cannot be had or used."""


class WeightsError(MagnoscopeError):
    """Weights that cannot be read or were made for something else."""
