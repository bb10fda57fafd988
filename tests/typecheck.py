"""The run-time type checker that the import hook of conftest.py applies to all of dreamkit."""

from beartype import BeartypeConf, beartype

# The numeric tower: an int is welcome where a float is asked for, as everywhere in Python.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
