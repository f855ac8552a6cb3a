"""Makes a network lose less when it is quantized: what its grids waste and shift is corrected."""
