"""Resolution of direct-geometry spectrometers: kinematics, deviations, and how modes are spread by them."""
