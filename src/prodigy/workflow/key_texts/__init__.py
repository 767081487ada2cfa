"""What every key of the language means: the data behind the reference and the JSON Schema.

Which keys there are is said in `workflow/keys.py`; a test holds the two together.
"""

from __future__ import annotations

from prodigy.workflow.key_texts import checks, composition, errors, maps, parts, steps, top, workspaces
from prodigy.workflow.key_texts.shapes import Place

# In the order of the reference.
PLACES: tuple[Place, ...] = (
    *(place for place in top.ALL if place.name in ("workflow", "settings")),
    *maps.ALL,
    *errors.ALL,
    *workspaces.ALL,
    *(place for place in top.ALL if place.name not in ("workflow", "settings")),
    *steps.ALL,
    *parts.ALL,
    *checks.ALL,
    *composition.ALL,
)
BY_NAME = {place.name: place for place in PLACES}
