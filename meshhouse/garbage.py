"""How often Python looks for garbage in the mesh's own processes.

Belongs here: the settings. Not here: which processes need them; each calls the functions itself.
"""

from __future__ import annotations

import gc

_NEW_OBJECTS = 20_000
"""New objects after which Python looks through them; its default is 700."""


def look_seldom() -> None:
    """Lets this process look for garbage less often.

    A run loads modules, manifests and definitions, millions of objects that stay. Looking through
    them again and again took 15 % of a run, and a third of loading a code location. Peak memory
    stays the same.
    """
    _, second, third = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, second, third)


def look_no_more() -> None:
    """Spares a process that is about to end the search for garbage that Python makes at its end.

    The system takes the memory back anyway. The search took 1.5 s of the 8.8 CPU s of a `mesh run`
    with one changed model. Files are closed where they are used, so none waits for it.
    """
    gc.freeze()
