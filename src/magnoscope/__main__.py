"""Run the command line with ``python -m magnoscope``."""

from .cli import main

if __name__ == "__main__":
    main()
