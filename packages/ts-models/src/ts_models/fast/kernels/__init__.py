"""Kernels compiled by Numba. `arrays` alone imports without it."""
