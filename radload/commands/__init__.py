"""Commands of the `radload` program, one module each. They import what they run when they run, so that `--help` is quick."""
