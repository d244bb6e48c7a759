"""Files of the catalog for programs: the documents as JSON, and the field's exchange formats.

Belongs here: what programs read. Not here: what people read (pages/), or the facts (gather/).
"""
