"""Reading and writing of spectra."""
